package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An opening is one attempt at opening one shard, for all who wait for it.
type opening struct {
	node   node
	ticket ticket[*opening]
	class  class
	entry  *entry
	record *catalog.Record
	ctx    context.Context //nolint:containedctx // of this one attempt
	cancel context.CancelCauseFunc
	near   bool // the source is not to be reached
	handle *local.Handle
	err    error

	copies  bool // it makes a copy first, in the pool for that
	kind    kind // of that pool
	parking parking
	fill    atomic.Pointer[copies.Fill]
	kept    catalog.Kept // the copy that it has made
	lost    bool         // the copy that the record names is not there, or not whole
	done    atomic.Int64 // bytes copied
	total   atomic.Int64 // bytes to copy; -1 while unknown

	line    lineage
	started time.Time
	took    time.Duration
}

// open has the shard opened, unless it is open or about to be.
func (e *Engine) open(en *entry) {
	if h, ok := e.cache.Hold(en.id()); ok {
		e.event(en, lifecycle.Opened, cause{})
		e.cache.Release(h)
		return
	}
	if o := en.opening; o != nil && o.near && !en.waiting[inOpeners].last.near {
		e.cutOpening(en) // somebody wants more than a copy
	}
	if en.opening != nil {
		e.watchOpeners(en)
		en.opening.line.join(en.waiting[inOpeners].last)
		if en.urgent > 0 {
			en.opening.class = foreground
			en.opening.pool(e).promote(&en.opening.ticket)
		}
		return
	}
	o := &opening{entry: en, record: en.record, near: en.allNear()}
	o.ctx, o.cancel = context.WithCancelCause(e.work)
	o.node.what, o.node.of = whatDone, o
	o.ticket.work, o.ticket.host = o, mount.Host(en.record.URL)
	en.opening = o
	o.line.descend(en.waiting[inOpeners].last)
	e.watchOpeners(en)
	o.total.Store(-1)
	if en.urgent == 0 {
		o.class = background
	}
	e.loop.opens.add(&o.ticket, o.class)
	e.startOpening()
}

// watchOpeners watches over the newest of those who wait for the opening.
func (e *Engine) watchOpeners(en *entry) {
	if c := en.waiting[inOpeners].last; c != nil {
		e.watch(c)
	}
}

func (e *Engine) startOpening() {
	for {
		o, ok := e.loop.opens.next()
		if !ok {
			return
		}
		o.run(e)
	}
}

// startFetching begins what makes a copy first, as far as it may run.
func (e *Engine) startFetching() {
	for k := range e.loop.fetches {
		for {
			o, ok := e.loop.fetches[k].next()
			if !ok {
				break
			}
			o.run(e)
		}
	}
}

// pool is where the opening waits or runs.
func (o *opening) pool(e *Engine) *pool[*opening] {
	if o.copies {
		return &e.loop.fetches[o.kind]
	}
	return &e.loop.opens
}

// run does o in a goroutine of its own.
func (o *opening) run(e *Engine) {
	if o.started.IsZero() {
		o.started = e.cfg.Now()
		o.ctx = o.line.begin(o.ctx, e.cfg.Tracer, "dagstore.open", o.record.Key, o.record.URL)
	}
	do(e, task[*local.Handle]{
		ctx: o.ctx, cancel: o.cancel,
		do: func(g *guard) (*local.Handle, error) { return e.openShard(o, g) },
		end: func(h *local.Handle, err error) {
			o.handle, o.err = h, err
			if err != nil {
				o.err = fail(o.record.Key, shard.OpAcquire, err)
			}
			if !goesOn(err) {
				o.cancel(nil)
				o.took = e.cfg.Now().Sub(o.started)
			}
			e.box.complete(&o.node)
		},
		lost: func() {
			e.adrift.add(o.anchorage(), 1)
			e.dropFill(o.fill.Load(), context.Cause(o.ctx))
		},
		late: func(h *local.Handle) {
			if h != nil {
				h.Drop()
			}
			e.adrift.add(o.anchorage(), -1)
		},
	})
}

// moved has o go on in the pool where it belongs, or once there is space for its
// copy, and reports whether it does. One that was cut meanwhile goes nowhere.
func (o *opening) moved(e *Engine) bool {
	if !goesOn(o.err) {
		return false
	}
	if o.entry.opening != o {
		o.err = context.Canceled
		return false
	}
	if e.loop.broken != nil {
		o.err = fail(o.record.Key, shard.OpAcquire, e.readOnly())
		return false
	}
	var to elsewhere
	var no roomless
	switch {
	case errors.As(o.err, &to):
		o.copies, o.kind = true, to.kind
		o.pool(e).add(&o.ticket, o.class)
	case errors.As(o.err, &no):
		e.park(&o.parking, no.bytes, o.unpark)
	}
	o.err = nil
	return true
}

// unpark goes on with an opening that has waited for space.
func (o *opening) unpark(e *Engine) {
	if err := o.parking.err; err != nil {
		o.err = fail(o.record.Key, shard.OpAcquire, err)
		o.cancel(nil)
		o.pool(e).running++ // as if it ran: its end is counted
		o.finish(e)
		return
	}
	o.pool(e).add(&o.ticket, o.class)
	e.startFetching()
}

// cutOpening ends the opening of a shard; what it still brings is stale.
func (e *Engine) cutOpening(en *entry) {
	o := en.opening
	if o == nil {
		return
	}
	en.opening = nil
	o.cancel(nil)
	if o.pool(e).remove(&o.ticket) || o.parking.leave(e) { // it does not run, so it has no end
		o.parking.giveRoom()
		if !o.started.IsZero() {
			o.line.end(context.Canceled)
		}
	}
}

// finish is the end of an opening.
func (o *opening) finish(e *Engine) {
	o.pool(e).done()
	defer e.startOpening()
	defer e.startFetching()
	defer e.startIndexing()
	if o.moved(e) {
		return
	}
	o.parking.giveRoom()
	o.ended(e)
	en := o.entry
	if en.opening != o {
		if o.handle != nil {
			o.handle.Drop()
		}
		e.unnamed(en, o.kept.ID)
		if o.copies {
			e.dropRemnant(en.key)
		}
		return
	}
	en.opening = nil
	if o.err != nil && e.shut.Load() {
		return // finish answers who waits
	}
	e.noteCopy(en, o)
	var lost *local.LostError
	switch {
	case o.err == nil:
		en.mends = 0
		h, ok := e.cache.Put(o.handle)
		e.event(en, lifecycle.Opened, cause{})
		if ok {
			e.cache.Release(h)
		}
	case errors.As(o.err, &lost) && e.loop.broken != nil:
		e.event(en, lifecycle.OpenFailed, cause{err: errors.Join(e.readOnly(), o.err)})
	case errors.As(o.err, &lost) && !e.mends(en):
		e.event(en, lifecycle.OpenFailed, cause{err: o.err})
	case errors.As(o.err, &lost):
		e.cfg.Log.Warn("a shard has to be indexed again", "key", string(en.key), "op", string(shard.OpAcquire), "err", o.err)
		e.event(en, lifecycle.Lost, cause{err: o.err, lost: true})
	default:
		e.event(en, lifecycle.OpenFailed, cause{err: o.err})
	}
	e.settleDown(en)
}

func (o *opening) abandon(e *Engine) {
	o.line.end(context.Canceled)
	if o.handle != nil {
		o.handle.Drop()
	}
	if o.kept.ID != 0 {
		e.removeCopies([]uint32{o.kept.ID})
	}
}

// openShard opens source and index. A panic of a mount is an error of the call.
func (e *Engine) openShard(o *opening, g *guard) (h *local.Handle, err error) {
	r := o.record
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Log.Warn("a mount panicked", "key", string(r.Key), "op", string(shard.OpAcquire), "panic", p, "stack", string(debug.Stack()))
			h, err = nil, fail(r.Key, shard.OpAcquire, fmt.Errorf("%w: panic: %v", shard.ErrSource, p))
		}
	}()
	if e.adrift.has(o.anchorage()) {
		return nil, fail(r.Key, shard.OpAcquire, fmt.Errorf("%w: an opening that was given up has not returned", shard.ErrStalled))
	}
	if h := e.openCopy(o, g); h != nil {
		return h, nil
	}
	again := !o.near && r.Kept.Complete() && e.damaged.has(r.Kept.ID)
	if !again {
		if h, err := e.openKept(o); h != nil || err != nil {
			return h, err
		}
	}
	if o.near && !e.near(r.URL) {
		return nil, fail(r.Key, shard.OpAcquire, shard.ErrRemote)
	}
	m, err := e.mount(r.URL, g)
	if err != nil {
		return nil, fail(r.Key, shard.OpAcquire, fmt.Errorf("%w: %w", shard.ErrSource, err))
	}
	if again {
		h, err = e.openInstead(o, func() (*local.Handle, error) { return e.openSource(o, g, m) })
	} else {
		h, err = e.openSource(o, g, m)
	}
	if err != nil {
		return nil, fail(r.Key, shard.OpAcquire, err)
	}
	if now, doubted := h.Confirmed(); doubted {
		if err := rememberable(now); err != nil {
			h.Drop()
			return nil, fail(r.Key, shard.OpAcquire, err)
		}
	}
	return h, nil
}

// openSource opens the source of a shard in place, or a copy of it, which is
// made first.
func (e *Engine) openSource(o *opening, g *guard, m mount.Mount) (*local.Handle, error) {
	r := o.record
	if o.copies {
		return e.fetch(o, g, m)
	}
	if r.Serve == shard.Copy && e.copying() {
		return nil, elsewhere{e.kindOf(r.URL)}
	}
	h, err := e.openThrough(o, m)
	switch {
	case !errors.Is(err, mount.ErrNoRanges) || r.Serve == shard.InPlace:
		return h, err
	case e.wantsCopy(r, false, false):
		return nil, elsewhere{remote}
	default:
		return nil, fmt.Errorf("%w: no copies are kept: %w", shard.ErrQuota, err)
	}
}

// kindOf is of which kind a source seems to be.
func (e *Engine) kindOf(url string) kind {
	if e.near(url) {
		return onDisk
	}
	return remote
}

// spec is what is known of a shard that is to be opened at m.
func (e *Engine) spec(r *catalog.Record, m mount.Mount) local.Spec {
	return local.Spec{
		Key:       r.Key,
		ID:        r.Index.ID,
		URL:       r.URL,
		Mount:     m,
		Source:    mount.Stat{Size: r.Bytes, Version: r.SourceVersion, ModTime: r.SourceTime},
		Payload:   r.Payload,
		Roots:     r.Roots,
		RootCount: r.RootCount,
		Limits:    e.cfg.Limits,
		Count:     e.cfg.Watch.Read,
		OpenIndex: func(ctx context.Context) (local.IndexFile, error) {
			ix, err := e.openRecorded(ctx, r.Index)
			if err != nil {
				return nil, err
			}
			return ix, nil
		},
	}
}

// multihashes yields what an index holds, for the inverted index.
func multihashes(ix index.Index) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for r, err := range ix.All() {
			if !yield(r.Multihash, err) || err != nil {
				return
			}
		}
	}
}

// local reports whether the bytes of a shard lie on this machine.
func (e *Engine) local(en *entry) bool {
	if id := en.id(); id != 0 {
		if h, ok := e.cache.Lookup(id); ok {
			defer h.Unpin()
			return h.Local()
		}
	}
	indexed := en.machine.State == shard.Available || en.machine.State == shard.Serving
	return indexed && (en.record.Copy != "" || en.record.Kept.Complete()) || e.near(en.record.URL) // whether the copy is there, the opening finds out
}

// near reports whether the mount of a URL is one of this machine.
func (e *Engine) near(url string) (is bool) {
	defer func() {
		if recover() != nil {
			is = false
		}
	}()
	m, err := e.cfg.Mounts.Open(url)
	if err != nil {
		return false
	}
	_, ok := m.(mount.FileOpener)
	return ok
}
