package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An outcome is how one item went.
type outcome struct {
	item    item
	plan    string       // new, unchanged, changed, colliding or failed
	info    shard.Info   // of the shard, as it is now; zero if there is none
	size    int64        // of the source; -1 if unknown
	version string       // likewise; "" if unknown
	read    int64        // bytes that a dry run would read; -1 if unknown
	asks    int64        // about how many requests of servers it would take
	notes   []string     // what the person should know although nothing failed
	lies    []wire.Fault // what proved wrong in an index that came with it
	err     error
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
	store  storage
	opts   addOptions
	report func(outcome) // called one at a time
	size   func(int64)   // told the size of each source that [survey] does not see, before it is added
	begin  func(shard.Key)

	planned map[shard.Key]string // by a dry run: the URL for each key so far
	hub     *admin.Hub           // knows what was told of an index that came with a CAR; nil: somebody else hears it
}

// run adds every item and returns how they went. It ends early when ctx ends
// or when an item shows that the store as a whole cannot go on; then it
// returns that error. Items that were cut off count neither as done nor as
// failed. piped, which may be nil, comes last: a pipe may stay silent, so what
// would have come out of it is never counted.
func (ad *adder) run(parent context.Context, items, piped iter.Seq[item]) (tally, error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		t       = tally{dry: ad.opts.dryRun}
	)
	queue, left := produce(parent, ctx, items, piped)
	for range ad.width() {
		workers.Go(func() {
			for it := range receive(ctx, queue) {
				tried := ctx.Err() == nil // the last items are handed over beside the end
				var o outcome
				if tried {
					o = ad.add(ctx, it)
				}
				mu.Lock()
				switch {
				case !tried:
					t.untried++
				case o.err != nil && ctx.Err() != nil:
					t.cutOff++
				default:
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
	if t.stopped = errors.Is(context.Cause(ctx), errStopped); t.stopped {
		t.piped = piped != nil
		select {
		case n := <-left:
			t.untried += n
		case <-parent.Done():
		}
	}
	if parent.Err() != nil {
		return t, parent.Err()
	}
	return t, context.Cause(ctx)
}

// produce sends items, and then piped, on queue until ctx ends. If that was at
// the first failure, left has the number of items that were not taken. It has a
// goroutine of its own, which nobody waits for but for that number: an
// interrupt must not wait for the next line of a silent pipe.
func produce(parent, ctx context.Context, items, piped iter.Seq[item]) (queue <-chan item, left <-chan int) {
	out, count := make(chan item), make(chan int, 1)
	go func() {
		defer close(out)
		defer close(count)
		untaken := 0
		for it := range items {
			if offer(ctx, out, it) {
				continue
			}
			if parent.Err() != nil || !errors.Is(context.Cause(ctx), errStopped) {
				return
			}
			untaken++
		}
		count <- untaken
		if piped == nil || ctx.Err() != nil {
			return
		}
		for it := range piped {
			if !offer(ctx, out, it) {
				return
			}
		}
	}()
	return out, count
}

// offer sends it unless ctx ends before somebody takes it.
func offer(ctx context.Context, queue chan<- item, it item) bool {
	select {
	case queue <- it:
		return true
	case <-ctx.Done():
		return false
	}
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
	ad.carry(ctx, &o)
	if o.err == nil {
		o.notes = append(o.notes, notesOn(o.info)...)
	} else if o.info.Key == "" && ad.store != nil && it.key.Validate() == nil {
		// What was refused or has failed may be known all the same.
		if info, err := ad.store.Info(context.WithoutCancel(ctx), it.key); err == nil {
			o.info = info
		}
	}
	return o
}

// carry does the work of add and leaves in o how it went.
func (ad *adder) carry(ctx context.Context, o *outcome) {
	if o.err == nil {
		o.err = o.item.key.Validate()
	}
	if o.err != nil {
		return
	}
	var stat mount.Stat
	stat, o.err = o.item.check(ctx)
	o.size, o.version = stat.Size, stat.Version
	if o.err != nil {
		return
	}
	if o.item.unseen {
		ad.size(o.size)
	}
	if ad.opts.dryRun {
		ad.foresee(ctx, o)
		return
	}
	ad.begin(o.item.key)
	if ad.hub == nil {
		ad.register(ctx, o)
		return
	}
	mark := ad.hub.Mark()
	if ad.register(ctx, o); o.err == nil && o.info.Version != 0 && (o.plan == planNew || o.plan == planChanged) {
		o.lies = ad.hub.Lies(ctx, o.item.key, mark)
	}
}

// lazy reports whether a CAR is only recorded.
func (ad *adder) lazy(o *outcome) bool {
	return ad.opts.lazy || o.item.lazy || o.item.archived()
}

// notesOn is what is worth saying of a shard that has been added.
func notesOn(info shard.Info) (notes []string) {
	if info.Faults > 0 {
		note := badBlocks(info.Faults) + ": not served"
		if len(info.Faulty) > 0 {
			note += fmt.Sprintf("; the first: %v at offset %d", info.Faulty[0].Kind, info.Faulty[0].Offset)
		}
		notes = append(notes, note)
	}
	if info.Trailing {
		notes = append(notes, "bytes follow the null padding at which the CAR ends; they are not read")
	}
	return notes
}

// check asks the source how it is, and holds that against what the list says.
func (it *item) check(ctx context.Context) (mount.Stat, error) {
	if it.known != nil {
		return *it.known, nil
	}
	stat, err := it.mount.Stat(ctx)
	if err != nil {
		return mount.Stat{Size: -1}, err
	}
	if it.size != nil && stat.Size >= 0 && *it.size != stat.Size {
		return stat, fmt.Errorf("%w: the list says %d bytes, it has %d", shard.ErrChanged, *it.size, stat.Size)
	}
	if it.etag != "" && stat.Version != "" && it.etag != stat.Version {
		return stat, fmt.Errorf("%w: the list says version %q, it is %q", shard.ErrChanged, it.etag, stat.Version)
	}
	return stat, nil
}

// register adds the item to the store and fills in the outcome.
func (ad *adder) register(ctx context.Context, o *outcome) {
	key := o.item.key
	o.plan = planNew
	lazy := ad.lazy(o)
	mode := o.item.mode
	if mode == shard.Auto {
		mode = ad.opts.mode
	}
	if o.item.archived() {
		o.notes = append(o.notes, "it is archived: it is read once its owner has restored it and somebody asks for it")
	}
	piece := o.item.piece
	if ad.opts.piece != "" {
		piece, _ = pieceCID(ad.opts.piece) // it was looked at when the command began
	}
	err := ad.store.Register(ctx, key, o.item.mount, &dagstore.RegisterOptions{
		Lazy:    lazy,
		Verify:  ad.opts.verify,
		Discard: !lazy, // of a lazy one, the failure would come when nobody looks
		Pin:     o.item.pin,
		Serve:   mode,
		Piece:   piece,
		Labels:  o.item.labels,

		Index:    ad.opts.policy,
		IndexURL: o.item.index,
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
		o.notes = append(o.notes, "it was indexed without --verify; to have its blocks hashed now, remove it and add it again")
	}
	o.err = err
	if err != nil && o.plan == planNew {
		o.plan = planFailed
	}
}

// resume brings a shard that is registered already to where this command
// would have brought it: what was cut off or put off is indexed now, what
// failed is tried again, and a source that has changed is indexed again. With
// --lazy no CAR is read, whatever has become of it.
func (ad *adder) resume(ctx context.Context, o *outcome) error {
	info, err := ad.store.Info(ctx, o.item.key)
	if err != nil {
		return err
	}
	if ad.lazy(o) {
		ad.putOff(o, info)
		return nil
	}
	switch info.State {
	case shard.Errored, shard.Draining:
		o.plan = planNew
		err = ad.store.Recover(ctx, o.item.key, nil)
	case shard.Registered, shard.Initializing, shard.Recovering:
		o.plan = planNew
		err = ad.await(ctx, o.item.key)
	default:
		if o.differs(info) {
			o.plan = planChanged
			return ad.update(ctx, o)
		}
	}
	if errors.Is(err, shard.ErrCAR) && info.Version == 0 {
		// It has never been of use, so it goes as if it were added now.
		if gone := ad.store.Destroy(ctx, o.item.key, nil); gone != nil {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// putOff notes what "add" without --lazy would do about a shard.
func (ad *adder) putOff(o *outcome, info shard.Info) {
	switch {
	case info.State == shard.Errored || info.State == shard.Draining:
		o.notes = append(o.notes, "it has failed before; to try it again, add it without --lazy")
	case o.differs(info):
		o.plan = planChanged
		o.notes = append(o.notes, "the source has changed since; it is indexed again when it is next used")
	}
}

// update has a shard indexed again whose source has changed, which acquiring
// it finds out by itself.
func (ad *adder) update(ctx context.Context, o *outcome) error {
	if err := ad.await(ctx, o.item.key); err != nil {
		return err
	}
	info, err := ad.store.Info(ctx, o.item.key)
	if err == nil && o.differs(info) {
		err = fmt.Errorf("%w, and the store still has the index of what it was; remove it and add it again", shard.ErrChanged)
	}
	return err
}

// await waits until a shard is indexed, and has it indexed if need be.
func (ad *adder) await(ctx context.Context, key shard.Key) error {
	return ad.store.Await(ctx, key)
}

// differs reports whether the source is not what the shard was indexed from.
func (o *outcome) differs(info shard.Info) bool {
	if info.Version == 0 {
		return false // it has not been indexed yet
	}
	return o.size >= 0 && info.Bytes != o.size ||
		o.version != "" && info.Source != "" && info.Source != o.version
}

// foresee says what register would do, without doing it.
func (ad *adder) foresee(ctx context.Context, o *outcome) {
	o.asks = ad.requests(o, false)
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
		o.info = info
		o.err = fmt.Errorf("%w: it belongs to %s", shard.ErrKeyUsed, info.URL)
	case o.differs(info):
		o.plan = planChanged
		o.info = info
		o.read = o.size
	default:
		o.plan = planUnchanged
		o.info = info
		if info.Version == 0 || wire.StatusOf(info.State) != "ready" { // it has not been read, or not well
			o.read = o.size
		}
	}
	if ad.lazy(o) {
		o.read = 0
	}
	o.asks = ad.requests(o, o.read != 0)
}
