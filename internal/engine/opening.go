package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An opening is one attempt at opening one shard, for all who wait for it.
type opening struct {
	node   node
	ticket ticket[*opening]
	entry  *entry
	record *catalog.Record
	ctx    context.Context //nolint:containedctx // of this one attempt
	cancel context.CancelCauseFunc
	near   bool // the source is not to be reached
	handle *local.Handle
	err    error

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
			e.loop.opens.promote(&en.opening.ticket)
		}
		return
	}
	o := &opening{entry: en, record: en.record, near: en.allNear()}
	o.ctx, o.cancel = context.WithCancelCause(e.work)
	o.node.what, o.node.of = whatDone, o
	o.ticket.work, o.ticket.host = o, hostOf(en.record.URL)
	en.opening = o
	o.line.descend(en.waiting[inOpeners].last)
	e.watchOpeners(en)
	c := foreground
	if en.urgent == 0 {
		c = background
	}
	e.loop.opens.add(&o.ticket, c)
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
		o.started = e.cfg.Now()
		o.ctx = o.line.begin(o.ctx, e.cfg.Tracer, "dagstore.open", o.record.Key, o.record.URL)
		do(e, task[*local.Handle]{
			ctx: o.ctx, cancel: o.cancel,
			do: func(g *guard) (*local.Handle, error) { return e.openShard(o, g) },
			end: func(h *local.Handle, err error) {
				o.handle, o.err = h, err
				if err != nil {
					o.err = fail(o.record.Key, shard.OpAcquire, err)
				}
				o.cancel(nil)
				o.took = e.cfg.Now().Sub(o.started)
				e.box.complete(&o.node)
			},
			lost: func() { e.adrift.add(o.anchorage(), 1) },
			late: func(h *local.Handle) {
				if h != nil {
					h.Drop()
				}
				e.adrift.add(o.anchorage(), -1)
			},
		})
	}
}

// cutOpening ends the opening of a shard; what it still brings is stale.
func (e *Engine) cutOpening(en *entry) {
	o := en.opening
	if o == nil {
		return
	}
	en.opening = nil
	o.cancel(nil)
	if e.loop.opens.remove(&o.ticket) {
		return // it never ran, so it has no end
	}
}

// finish is the end of an opening.
func (o *opening) finish(e *Engine) {
	e.loop.opens.done()
	o.ended(e)
	en := o.entry
	defer e.startOpening()
	if en.opening != o {
		if o.handle != nil {
			o.handle.Drop()
		}
		return
	}
	en.opening = nil
	if o.err != nil && e.shut.Load() {
		return // finish answers who waits
	}
	var lost *local.LostError
	switch {
	case o.err == nil:
		if now, doubted := o.handle.Confirmed(); doubted {
			e.event(en, lifecycle.Confirmed, cause{revise: e.confirmed(now)})
		}
		h, ok := e.cache.Put(o.handle)
		e.event(en, lifecycle.Opened, cause{})
		if ok {
			e.cache.Release(h)
		}
	case errors.As(o.err, &lost) && e.loop.broken != nil:
		e.event(en, lifecycle.OpenFailed, cause{err: errors.Join(e.readOnly(), o.err)})
	case errors.As(o.err, &lost):
		e.cfg.Log.Warn("a shard has to be indexed again", "key", string(en.key), "op", string(shard.OpAcquire), "err", o.err)
		e.event(en, lifecycle.Lost, cause{err: o.err, lost: true})
	default:
		e.event(en, lifecycle.OpenFailed, cause{err: o.err})
	}
	e.settleDown(en)
}

func (o *opening) abandon(*Engine) {
	o.line.end(context.Canceled)
	if o.handle != nil {
		o.handle.Drop()
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
	if o.near && !e.near(r.URL) {
		return nil, fail(r.Key, shard.OpAcquire, shard.ErrRemote)
	}
	m, err := e.mount(r.URL, g)
	if err != nil {
		return nil, fail(r.Key, shard.OpAcquire, fmt.Errorf("%w: %w", shard.ErrSource, err))
	}
	h, err = local.Open(o.ctx, e.spec(r, m))
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

// openRecorded opens an index and holds it against what the catalogue says.
func (e *Engine) openRecorded(ctx context.Context, ref catalog.IndexRef) (indexFile, error) {
	ix, err := e.openIndex(ctx, ref.ID)
	if err != nil {
		return indexFile{}, err
	}
	if ix.length != ref.Length || ix.CRC() != ref.CRC {
		return indexFile{}, errors.Join(fmt.Errorf("%w: it is not the one that the catalogue names", index.ErrDamaged), ix.Close())
	}
	return ix, nil
}

// An indexFile is an index with the segment it lies in.
type indexFile struct {
	*index.File
	segment segment.Reader
	length  int64
}

// Close closes both.
func (f indexFile) Close() error { return errors.Join(f.File.Close(), f.segment.Close()) }

func (e *Engine) openIndex(ctx context.Context, id index.ID) (indexFile, error) {
	r, err := e.cfg.Segments.Open(ctx, indexName(id))
	if err != nil {
		return indexFile{}, err
	}
	f, err := index.NewFile(r, r.Size())
	if err != nil {
		return indexFile{}, errors.Join(err, r.Close())
	}
	return indexFile{f, r, r.Size()}, nil
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
	return indexed && en.record.Copy != "" || e.near(en.record.URL) // whether the copy is there, the opening finds out
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
