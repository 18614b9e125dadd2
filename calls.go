package dagstore

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A ShardResult is the outcome of one call of RegisterShard, AcquireShard,
// RecoverShard or DestroyShard.
//
// A call that returns nil sends exactly one result on its channel. A call
// that returns an error sends none. If the call's context ends, or the store
// is closed, before there is room for the result, it is taken back: none is
// sent, and its Accessor is closed. The store never closes a channel.
//
// A channel may serve any number of calls and may be unbuffered; one that
// nobody reads holds up no other channel. A nil channel means that the caller
// does not care.
type ShardResult struct {
	Key      shard.Key
	Op       shard.Op
	Accessor *Accessor // of AcquireShard, if Err is nil; its receiver closes it
	Err      error
}

// sink is a caller's channel as the engine sees it.
type sink struct {
	out   chan<- ShardResult
	store *Store
}

// Try implements [engine.Sink].
func (s sink) Try(o engine.Outcome) bool {
	select {
	case s.out <- s.result(o):
		return true
	default:
		return false
	}
}

// Send implements [engine.Sink].
func (s sink) Send(o engine.Outcome, left, stop <-chan struct{}) bool {
	select {
	case s.out <- s.result(o):
		return true
	case <-left:
	case <-stop:
	}
	return false
}

func (s sink) result(o engine.Outcome) ShardResult {
	r := ShardResult{Key: o.Key, Op: o.Op, Err: o.Err}
	if o.Hold != nil {
		r.Accessor = newAccessor(s.store, o.Hold)
	}
	return r
}

// sink makes the sink of a channel; a nil channel has none.
func (s *Store) sink(out chan<- ShardResult) engine.Sink {
	if out == nil {
		return nil
	}
	return sink{out, s}
}

// RegisterShard makes m known under key. It waits only for room in the queue;
// its result comes when the shard is indexed, or, if lazy, durably recorded.
// The shard may be acquired at once: that waits for the index by itself.
//
// It returns an error for an invalid key, for a mount that the store's
// registry cannot open again from its URL ([mount.ErrScheme]), and when ctx
// ends first. Its result wraps [shard.ErrExists] if key has this source
// already, [shard.ErrKeyUsed] if it has another. After a failure to index the
// shard is kept as Errored, unless opts says otherwise.
func (s *Store) RegisterShard(ctx context.Context, key shard.Key, m mount.Mount, out chan<- ShardResult, opts *RegisterOptions) error {
	c, err := s.register(ctx, key, m, opts, s.sink(out))
	if err != nil {
		return err
	}
	return s.engine.Submit(c)
}

// AcquireShard asks to hold a shard. With a nil channel it has the shard
// indexed and opened, and holds nothing.
//
// Its result wraps [shard.ErrUnknown], [shard.ErrFailed] together with the
// failure, [shard.ErrDestroying], or [shard.ErrRemote]. A source that cannot
// be reached for a shard that is indexed fails this call alone: the shard
// stays available.
func (s *Store) AcquireShard(ctx context.Context, key shard.Key, out chan<- ShardResult, opts *AcquireOptions) error {
	return s.engine.Submit(engine.NewAcquire(ctx, key, opts.engine(), s.sink(out)))
}

// RecoverShard reads and indexes a failed shard again, or joins the work if
// that is under way. Its result has no error for a shard that has not failed,
// and wraps [shard.ErrHeld] while there are holders from before the failure.
func (s *Store) RecoverShard(ctx context.Context, key shard.Key, out chan<- ShardResult, opts *RecoverOptions) error {
	return s.engine.Submit(recovery(ctx, key, opts, s.sink(out)))
}

// DestroyShard removes a shard with its record and its index, never its
// source. Once it is accepted with anything but [Refuse], it happens even if
// ctx ends or the process does.
func (s *Store) DestroyShard(ctx context.Context, key shard.Key, out chan<- ShardResult, opts *DestroyOptions) error {
	c, err := destroy(ctx, key, opts, s.sink(out))
	if err != nil {
		return err
	}
	return s.engine.Submit(c)
}

// Register is [Store.RegisterShard] that waits for its result. If ctx ends
// meanwhile it returns the context's error, and the shard may be registered.
func (s *Store) Register(ctx context.Context, key shard.Key, m mount.Mount, opts *RegisterOptions) error {
	c, err := s.register(ctx, key, m, opts, nil)
	if err != nil {
		return err
	}
	_, err = s.engine.Wait(c)
	return err
}

// Acquire is [Store.AcquireShard] that waits for its result. The caller closes
// the Accessor. If ctx ends meanwhile nothing is held.
func (s *Store) Acquire(ctx context.Context, key shard.Key, opts *AcquireOptions) (*Accessor, error) {
	hold, err := s.engine.Acquire(ctx, key, opts.engine())
	if err != nil {
		return nil, err
	}
	return newAccessor(s, hold), nil
}

// Recover is [Store.RecoverShard] that waits for its result.
func (s *Store) Recover(ctx context.Context, key shard.Key, opts *RecoverOptions) error {
	_, err := s.engine.Wait(recovery(ctx, key, opts, nil))
	return err
}

// Destroy is [Store.DestroyShard] that waits for its result.
func (s *Store) Destroy(ctx context.Context, key shard.Key, opts *DestroyOptions) error {
	c, err := destroy(ctx, key, opts, nil)
	if err != nil {
		return err
	}
	_, err = s.engine.Wait(c)
	return err
}

// register checks what can be checked without the engine, and makes the call.
func (s *Store) register(ctx context.Context, key shard.Key, m mount.Mount, opts *RegisterOptions, out engine.Sink) (*engine.Call, error) {
	if opts == nil {
		opts = &RegisterOptions{}
	}
	r, err := s.given(key, m, opts)
	if err != nil {
		return nil, &shard.Error{Key: key, Op: shard.OpRegister, Err: err}
	}
	c := engine.NewRegister(ctx, r, opts.Lazy, out)
	if opts.Background {
		return c.InBackground(), nil
	}
	return c, nil
}

// given is what is to be remembered of a shard that m and opts describe, once
// it has shown that it can be, and that there is room for more work.
func (s *Store) given(key shard.Key, m mount.Mount, opts *RegisterOptions) (*catalog.Record, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("%w: there is no mount", mount.ErrURL)
	}
	url, err := s.lasting(m)
	if err == nil && !opts.Serve.Known() {
		err = fmt.Errorf("dagstore: no shard.Mode has the number %d", opts.Serve)
	}
	if err == nil {
		err = s.indexable(opts)
	}
	var copied, indexURL string
	if err == nil {
		copied, err = existing(opts.Copy)
	}
	if err == nil && opts.IndexURL != "" {
		indexURL, err = s.canonical(opts.IndexURL)
	}
	if err != nil {
		return nil, err
	}
	if err := s.space(); err != nil {
		return nil, err
	}
	r := &catalog.Record{
		Key:     key,
		URL:     url,
		Verify:  opts.Verify,
		Discard: opts.Discard,
		Pin:     opts.Pin,
		Serve:   opts.Serve,
		Copy:    copied,
		Policy:  catalog.Policy(opts.Index),
		Indexer: opts.Indexer,
		Piece:   opts.Piece,
		Labels:  maps.Clone(opts.Labels),

		IndexURL: indexURL,
	}
	if err := r.CheckGiven(); err != nil {
		return nil, err
	}
	return r, nil
}

// existing returns the path of a copy as it is remembered: absolute.
func existing(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(abs); err != nil {
		return "", fmt.Errorf("%w: its copy: %w", shard.ErrSource, err)
	} else if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%w: its copy %s is no file", shard.ErrSource, abs)
	}
	return abs, nil
}

// indexable returns an error unless a CAR can be indexed as opts say.
func (s *Store) indexable(opts *RegisterOptions) error {
	switch {
	case opts.Index > Adopt:
		return fmt.Errorf("dagstore: no IndexPolicy has the number %d", opts.Index)
	case opts.Indexer == "":
		return nil
	case s.cfg.Indexers[opts.Indexer] == nil:
		return fmt.Errorf("%w: no indexer is called %q", shard.ErrIndex, opts.Indexer)
	case opts.Verify || opts.Index != AutoIndex || opts.IndexURL != "":
		return fmt.Errorf("%w: indexer %q reads the CAR as it likes: Verify, Index and IndexURL are for the default one", shard.ErrIndex, opts.Indexer)
	}
	return nil
}

// canonical returns the URL of the mount that the registry makes of url. A
// panic of the opener is an error of this call.
func (s *Store) canonical(url string) (string, error) {
	var m mount.Mount
	err := guarded(func() (err error) {
		m, err = s.cfg.Mounts.Open(url)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("its index: %w", err)
	}
	return s.lasting(m)
}

// guarded makes an error of a panic in a mount or in its opener.
func guarded(ask func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", shard.ErrSource, p)
		}
	}()
	return ask()
}

// lasting returns the URL of m, once it has shown that the registry makes the
// same mount of it again: after a restart nothing else is left of m. A panic of
// the mount or of its opener is an error of this call.
func (s *Store) lasting(m mount.Mount) (url string, err error) {
	err = guarded(func() error {
		url = m.URL()
		again, err := s.cfg.Mounts.Open(url)
		switch {
		case err != nil:
			return err
		case again == nil || again.URL() != url:
			return fmt.Errorf("%w: %q does not open as itself", mount.ErrURL, url)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return url, nil
}

func (o *AcquireOptions) engine() engine.AcquireOptions {
	if o == nil {
		return engine.AcquireOptions{}
	}
	return engine.AcquireOptions{Near: o.LocalOnly, Background: o.Background}
}

func recovery(ctx context.Context, key shard.Key, opts *RecoverOptions, out engine.Sink) *engine.Call {
	c := engine.NewRecover(ctx, key, out)
	if opts != nil && opts.Background {
		return c.InBackground()
	}
	return c
}

func destroy(ctx context.Context, key shard.Key, opts *DestroyOptions, out engine.Sink) (*engine.Call, error) {
	manner := lifecycle.DestroyRefuse
	if opts != nil {
		switch opts.Held {
		case Refuse:
		case Wait:
			manner = lifecycle.DestroyWait
		case Force:
			manner = lifecycle.DestroyForce
		default:
			return nil, &shard.Error{Key: key, Op: shard.OpDestroy, Err: fmt.Errorf("dagstore: no HeldPolicy has the number %d", opts.Held)}
		}
	}
	return engine.NewDestroy(ctx, key, manner, out), nil
}
