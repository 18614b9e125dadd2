package main

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/shard"
)

// A deed is what a command does with each of some shards, or of what else it
// names.
type deed struct {
	do func(store storage, name string) error
	// was finds out, with the next process that holds the store, whether what may
	// have been done was done, and then says so as do does; nil: do may be called
	// again.
	was func(store storage, name string) (bool, error)
}

// eachKey carries out d for each key, one after the other, and tells of those that
// failed.
func (a *app) eachKey(ctx context.Context, cfg *dagstore.Config, keys []string, d deed) error {
	do := d.do
	d.do = func(store storage, key string) error {
		if err := shard.Key(key).Validate(); err != nil {
			return err
		}
		return do(store, key)
	}
	return a.each(ctx, cfg, keys, d)
}

// each carries out d for each name, one after the other, and tells of those that
// failed. If the process that holds the store ends meanwhile it goes on with the
// next one, or with the store itself.
func (a *app) each(ctx context.Context, cfg *dagstore.Config, names []string, d deed) error {
	var t tally
	unsure := false // whether the first of names was done
	return a.withStore(ctx, false, cfg, func(store storage) error {
		for ; len(names) > 0; names = names[1:] {
			err := d.one(store, names[0], unsure)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, client.ErrGone) {
				unsure = d.was != nil && (unsure || errors.Is(err, client.ErrUnsure))
				a.notef("%s: the process that held the store has ended: going on without it", showText(names[0]))
				return &againError{err}
			}
			if unsure = false; err != nil {
				a.notef("%s: %v", showText(names[0]), err)
			}
			t.add(err)
		}
		return t.err()
	})
}

// one carries it out for one name, unless it proves to have been done.
func (d *deed) one(store storage, name string, unsure bool) error {
	if unsure {
		if done, err := d.was(store, name); done || err != nil {
			return err
		}
	}
	return d.do(store, name)
}

// eachShard carries something out for many shards at once. If the process that
// holds the store ends meanwhile, run can be called again with what is left.
type eachShard struct {
	jobs int
	do   func(context.Context, shard.Info) error
	told func(shard.Info, error) error // called one at a time; its error ends all

	dry bool // nothing is changed by it

	mu     sync.Mutex // of what follows, while it runs
	t      tally
	tried  map[shard.Key]bool // those that would come again with what is left, and are not to
	unsure []shard.Info       // that may have been done when the process ended
}

// A chosen is one shard of a listing, or why it cannot be listed.
type chosen struct {
	info  shard.Info
	err   error
	begun bool // it was tried
}

// run carries it out for all that shards yields, and returns how it went. A
// record that cannot be read is one failure; another error of shards ends it.
func (e *eachShard) run(parent context.Context, shards iter.Seq2[shard.Info, error]) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	var (
		workers sync.WaitGroup
		queue   = make(chan chosen)
	)
	for range e.jobs {
		workers.Go(func() {
			for c := range queue {
				if c.err == nil {
					c.begun, c.err = true, e.do(ctx, c.info)
				}
				e.heard(ctx, c, stop)
			}
		})
	}
	feed(ctx, stop, e.left(shards), queue)
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// heard notes how it went with one shard.
func (e *eachShard) heard(ctx context.Context, c chosen, stop context.CancelCauseFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := errors.Is(c.err, client.ErrGone)
	if gone {
		stop(&againError{c.err})
	}
	// An item that was done counts, also if another one has ended all meanwhile. One
	// that was cut off by that may have been done.
	if gone || ctx.Err() != nil && c.err != nil {
		if c.begun {
			e.unsure = append(e.unsure, c.info)
		}
		return
	}
	if err := e.ended(c.info, c.err); err != nil {
		stop(err)
	}
}

// ended counts and tells how it went.
func (e *eachShard) ended(info shard.Info, err error) error {
	if err != nil || e.dry {
		if e.tried == nil {
			e.tried = make(map[shard.Key]bool)
		}
		e.tried[info.Key] = true
	}
	e.t.add(err)
	return e.told(info, err)
}

// settle has was find out, with the next process, for each of those that may have been
// done whether it was, and how that went. The others come again.
func (e *eachShard) settle(ctx context.Context, was func(shard.Info) (done bool, err error)) error {
	for ; len(e.unsure) > 0; e.unsure = e.unsure[1:] {
		done, err := was(e.unsure[0])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, client.ErrGone):
			return &againError{err}
		case !done && err == nil:
			continue
		}
		if err := e.ended(e.unsure[0], err); err != nil {
			return err
		}
	}
	return nil
}

// left yields those that have not been tried before.
func (e *eachShard) left(shards iter.Seq2[shard.Info, error]) iter.Seq2[shard.Info, error] {
	return func(yield func(shard.Info, error) bool) {
		for info, err := range shards {
			key := info.Key
			if one, ok := errors.AsType[*shard.Error](err); ok {
				key = one.Key
			}
			e.mu.Lock()
			tried := e.tried[key]
			e.mu.Unlock()
			if !tried && !yield(info, err) {
				return
			}
		}
	}
}

// feed hands over what shards yields, until ctx ends.
func feed(ctx context.Context, stop context.CancelCauseFunc, shards iter.Seq2[shard.Info, error], queue chan<- chosen) {
	for info, err := range shards {
		if one, ok := errors.AsType[*shard.Error](err); ok {
			info.Key = one.Key
		} else if errors.Is(err, client.ErrGone) {
			stop(&againError{err})
			return
		} else if err != nil {
			stop(err)
			return
		}
		select {
		case queue <- chosen{info: info, err: err}:
		case <-ctx.Done():
			return
		}
	}
}
