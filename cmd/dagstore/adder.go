package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// An outcome is how one item went.
type outcome struct {
	item item
	plan string     // new, unchanged, changed, colliding or failed
	info shard.Info // of the shard, as it is now; zero if there is none
	size int64      // of the source; -1 if unknown
	read int64      // bytes that a dry run would read
	note string     // something that the person should know although nothing failed
	err  error
}

const (
	planNew       = "new"
	planUnchanged = "unchanged"
	planChanged   = "changed"
	planColliding = "colliding"
	planFailed    = "failed"
)

// An adder adds many items at once. A nil store, of a dry run where there is
// none yet, knows no shard.
type adder struct {
	store  *dagstore.Store
	opts   addOptions
	report func(outcome) // called one at a time
	size   func(int64)   // told the size of each source before it is added
	begin  func(shard.Key)

	planned map[shard.Key]string // by a dry run: the URL for each key so far
}

// run adds every item and returns how they went. It ends early when ctx ends
// or when an item shows that the store as a whole cannot go on; then it
// returns that error. Items that were cut off are not counted.
func (ad *adder) run(ctx context.Context, items iter.Seq[item]) (tally, error) {
	parent := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		t       = tally{dry: ad.opts.dryRun}
	)
	queue := produce(ctx, items)
	for range ad.width() {
		workers.Go(func() {
			for it := range receive(ctx, queue) {
				o := ad.add(ctx, it)
				mu.Lock()
				if o.err == nil || ctx.Err() == nil {
					t.add(itemError(o.err))
					ad.report(o)
				}
				if err := ad.fatal(o.err); err != nil {
					stop(err) // only the first one counts
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if parent.Err() != nil {
		return t, parent.Err()
	}
	return t, context.Cause(ctx)
}

// produce sends items on a channel until ctx ends. It has a goroutine of its
// own, which nobody waits for: a list may come through a pipe that stays
// silent, and an interrupt must not wait for its next line.
func produce(ctx context.Context, items iter.Seq[item]) <-chan item {
	queue := make(chan item)
	go func() {
		defer close(queue)
		for it := range items {
			select {
			case queue <- it:
			case <-ctx.Done():
				return
			}
		}
	}()
	return queue
}

// receive yields what comes from queue until it is closed or ctx ends.
func receive(ctx context.Context, queue <-chan item) iter.Seq[item] {
	return func(yield func(item) bool) {
		for {
			select {
			case it, ok := <-queue:
				if !ok || !yield(it) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// width is how many items are under way at once: more than are read at once,
// so that the commits of small CARs share their syncs.
func (ad *adder) width() int {
	switch {
	case ad.opts.jobs == 1, ad.opts.dryRun:
		return 1
	case ad.opts.lazy:
		return 64 * ad.opts.jobs
	}
	return 4 * ad.opts.jobs
}

// errStopped ends a run that was to end at the first failure.
var errStopped = errors.New("stopped at the first failure (--fail-fast)")

// fatal is the error with which err ends the whole run, or nil.
func (ad *adder) fatal(err error) error {
	switch {
	case err == nil:
		return nil
	case exitCode(err) >= exitNoStore, errors.Is(err, dagstore.ErrReadOnly), errors.Is(err, dagstore.ErrClosed):
		return err
	case ad.opts.failFast:
		return errStopped
	}
	return nil
}

// itemError is err with the exit code that it has as one item among many:
// that one source is missing is a failure, not an empty answer.
func itemError(err error) error {
	if code := exitCode(err); code == exitNotFound || code == exitUsage {
		return exitError(exitFailed, err)
	}
	return err
}

// add adds one item.
func (ad *adder) add(ctx context.Context, it item) outcome {
	o := outcome{item: it, plan: planFailed, size: -1, err: it.err}
	if o.err == nil {
		o.err = it.key.Validate()
	}
	if o.err != nil {
		return o
	}
	if o.size, o.err = it.check(ctx); o.err != nil {
		return o
	}
	ad.size(o.size)
	if ad.opts.dryRun {
		ad.foresee(ctx, &o)
		return o
	}
	ad.begin(it.key)
	ad.register(ctx, &o)
	return o
}

// check asks the source how it is, and holds that against what the list says.
func (it *item) check(ctx context.Context) (size int64, err error) {
	stat, err := it.mount.Stat(ctx)
	if err != nil {
		return -1, err
	}
	if it.size != nil && stat.Size >= 0 && *it.size != stat.Size {
		return stat.Size, fmt.Errorf("%w: the list says %d bytes, it has %d", shard.ErrChanged, *it.size, stat.Size)
	}
	if it.etag != "" && stat.Version != "" && it.etag != stat.Version {
		return stat.Size, fmt.Errorf("%w: the list says version %q, it is %q", shard.ErrChanged, it.etag, stat.Version)
	}
	return stat.Size, nil
}

// register adds the item to the store and fills in the outcome.
func (ad *adder) register(ctx context.Context, o *outcome) {
	key := o.item.key
	o.plan = planNew
	err := ad.store.Register(ctx, key, o.item.mount, &dagstore.RegisterOptions{
		Lazy:    ad.opts.lazy,
		Verify:  ad.opts.verify,
		Discard: !ad.opts.lazy, // of a lazy one, the failure would come when nobody looks
		Pin:     o.item.pin,
		Piece:   o.item.piece,
		Labels:  o.item.labels,
	})
	switch {
	case errors.Is(err, shard.ErrExists):
		o.plan = planUnchanged
		err = ad.resume(ctx, o)
	case errors.Is(err, shard.ErrKeyUsed):
		o.plan = planColliding
		if info, infoErr := ad.store.Info(ctx, key); infoErr == nil {
			err = fmt.Errorf("%w: key %s belongs to %s; choose another by --key or --prefix", err, showKey(key), info.URL)
		}
	}
	if err == nil {
		o.info, err = ad.store.Info(ctx, key)
	}
	if err == nil && ad.opts.verify && o.info.Verified != shard.Full {
		o.note = "it was indexed without --verify; to have its blocks hashed now, remove it and add it again"
	}
	o.err = err
	if err != nil && o.plan == planNew {
		o.plan = planFailed
	}
}

// resume brings a shard that is registered already to where this command
// would have brought it: what was cut off or put off is indexed now, what
// failed is tried again. A source that has changed is an error.
func (ad *adder) resume(ctx context.Context, o *outcome) error {
	info, err := ad.store.Info(ctx, o.item.key)
	if err != nil {
		return err
	}
	switch info.State {
	case shard.Errored, shard.Draining:
		o.plan = planNew
		err = ad.store.Recover(ctx, o.item.key, nil)
	case shard.Registered, shard.Initializing, shard.Recovering:
		if ad.opts.lazy {
			return nil
		}
		o.plan = planNew
		err = ad.await(ctx, o.item.key)
	default:
		if changed(info, o.size) {
			o.plan = planChanged
			err = fmt.Errorf("%w: it was indexed with %d bytes and has %d now; remove it and add it again", shard.ErrChanged, info.Bytes, o.size)
		}
	}
	return err
}

// await waits until a shard is indexed, and has it indexed if need be.
func (ad *adder) await(ctx context.Context, key shard.Key) error {
	accessor, err := ad.store.Acquire(ctx, key, nil)
	if err != nil {
		return err
	}
	return accessor.Close()
}

// changed reports whether the source of an indexed shard has another size now.
func changed(info shard.Info, size int64) bool {
	return info.Version != 0 && size >= 0 && info.Bytes != size
}

// foresee says what register would do, without doing it.
func (ad *adder) foresee(ctx context.Context, o *outcome) {
	var info shard.Info
	err := shard.ErrUnknown
	if ad.store != nil {
		info, err = ad.store.Info(ctx, o.item.key)
	}
	switch {
	case errors.Is(err, shard.ErrUnknown):
		if url, used := ad.planned[o.item.key]; used && url != o.item.mount.URL() {
			o.plan = planColliding
			o.err = fmt.Errorf("%w: it would belong to %s by then", shard.ErrKeyUsed, url)
			return
		}
		ad.planned[o.item.key] = o.item.mount.URL()
		o.plan = planNew
		o.read = o.size
	case err != nil:
		o.err = err
	case info.URL != o.item.mount.URL():
		o.plan = planColliding
		o.err = fmt.Errorf("%w: it belongs to %s", shard.ErrKeyUsed, info.URL)
	case changed(info, o.size):
		o.plan = planChanged
		o.info = info
		o.err = fmt.Errorf("%w: it was indexed with %d bytes and has %d now", shard.ErrChanged, info.Bytes, o.size)
	default:
		o.plan = planUnchanged
		if info.Version == 0 {
			o.read = o.size
		}
		o.info = info
	}
	if ad.opts.lazy {
		o.read = 0
	}
}
