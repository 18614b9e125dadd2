package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An indexing is one attempt at reading and indexing one shard. It ends in
// exactly one message to the loop.
type indexing struct {
	node   node
	ticket ticket[*indexing]
	kind   kind  // of the pool in which it waits or runs
	class  class // in which it waits
	entry  *entry
	record *catalog.Record
	ctx    context.Context //nolint:containedctx // of this one attempt
	cancel context.CancelCauseFunc
	line   lineage

	started time.Time
	done    atomic.Int64 // bytes read
	total   atomic.Int64 // bytes to read; -1 while unknown

	beside *beside // nil: the indexing of the shard itself
	found  *found
	err    error
}

// found is what an indexing found.
type found struct {
	result  car.Result
	stats   index.Stats
	source  mount.Stat
	id      index.ID // 0: it made no index
	settled bool     // a layer holds it already
	verify  bool
}

// newIndexing makes an attempt at indexing en, as its record is now.
func (e *Engine) newIndexing(en *entry) *indexing {
	w := &indexing{entry: en, record: en.record}
	w.ctx, w.cancel = context.WithCancelCause(e.work)
	w.total.Store(-1)
	w.node.what, w.node.of = whatDone, w
	w.ticket.work, w.ticket.host = w, hostOf(en.record.URL)
	return w
}

// cutWork ends the indexing of a shard. If the shard waits for its end, that
// comes as a failure; otherwise it is stale.
func (e *Engine) cutWork(en *entry) {
	w := en.indexing
	waits := en.machine.Work == lifecycle.Index && (w == nil || w.beside == nil) // work beside makes way for its own
	switch {
	case w == nil && en.deferred:
		en.deferred = false
		w = &indexing{entry: en, err: context.Canceled}
		w.node.what, w.node.of = whatDone, w
		en.indexing = w
		e.loop.sources[w.kind].running++ // as if it ran: its end is counted
		e.box.complete(&w.node)
	case w == nil:
		return
	default:
		w.cancel(nil)
		if p := &e.loop.sources[w.kind]; p.remove(&w.ticket) {
			w.err = context.Canceled
			p.running++
			e.box.complete(&w.node)
		}
	}
	if !waits {
		en.indexing = nil
	}
}

// finish is the end of an indexing.
func (w *indexing) finish(e *Engine) {
	e.loop.sources[w.kind].done()
	if w.moved(e) {
		return
	}
	w.ended(e)
	en := w.entry
	why := cause{found: w.found, err: w.err, drop: func() { e.discard(w.found) }}
	switch {
	case en.indexing != w:
		e.event(en, lifecycle.Stale, why)
	case w.err != nil && e.shut.Load():
		// Not a failure of the shard: the intent stays, the next start goes on.
		en.indexing = nil
	case w.beside != nil:
		en.indexing = nil
		e.besideEnded(en, w.beside, why)
	case w.err == nil:
		en.indexing = nil
		e.event(en, lifecycle.Indexed, why)
	default:
		en.indexing = nil
		ev := lifecycle.Failed
		if en.record.Discard && errors.Is(w.err, shard.ErrCAR) {
			ev = lifecycle.FailedBad
		}
		e.event(en, ev, why)
	}
	e.settleDown(en)
	e.startIndexing()
	e.flush()
}

// abandon removes an index that came too late to be named.
func (w *indexing) abandon(e *Engine) {
	w.line.end(context.Canceled)
	if w.found == nil || w.found.id == 0 {
		return
	}
	if err := e.inverted.Drop(w.found.id); err != nil {
		e.trouble("an abandoned index is still in the inverted index", fmt.Errorf("index %d: %w", w.found.id, err))
	}
	e.removeFiles([]index.ID{w.found.id})
}

// discard gets rid of an index that nobody wants any more.
func (e *Engine) discard(f *found) {
	if f == nil || f.id == 0 {
		return
	}
	if e.loop.broken == nil {
		e.bury(f.id)
	}
}

// index reads a CAR from end to end and makes its index. A panic of a mount
// is an error of the shard. It leaves the mount alone from when it begins to
// write on: work that hangs in a mount, and is given up, has nothing on disk.
func (e *Engine) index(w *indexing, g *guard) (f *found, err error) {
	key := w.record.Key
	defer func() {
		if r := recover(); r != nil {
			e.cfg.Log.Warn("a mount panicked", "key", string(key), "op", string(w.op()), "panic", r, "stack", string(debug.Stack()))
			f, err = nil, fail(key, shard.OpIndex, fmt.Errorf("%w: panic: %v", shard.ErrSource, r))
		}
	}()
	if w.beside != nil && w.beside.op == shard.OpRemount {
		return e.compare(w, g)
	}
	fetched := e.fetching(w.ctx)
	defer func() { fetched(err) }()
	o, err := e.origin(w, g)
	if err != nil {
		return nil, fail(key, shard.OpFetch, err)
	}
	st := o.stat
	w.total.Store(st.Size)
	fetched(nil)
	bytes := e.memory.take(wantedMemory(st.Size))
	defer e.memory.give(bytes)
	b := index.NewBuilder(&index.WriteOptions{Memory: bytes, Spill: e.cfg.Spill})
	defer func() { _ = b.Close() }() // what was spilled is removed if it can be
	f = &found{source: st, verify: w.record.Verify && w.record.Indexer == ""}
	if f.result, err = e.scan(w, g, o, b); err != nil {
		return nil, err
	}
	if err := unchanged(w.ctx, o.mount, o.before); err != nil {
		return nil, fail(key, shard.OpFetch, err)
	}
	if g.lost() {
		return nil, errGivenUp
	}
	if err := e.write(w.ctx, b, f); err != nil {
		return nil, fail(key, shard.OpIndex, e.noSpace(err))
	}
	return f, nil
}

// told is [indexing.watched] until the end of the work is told.
func (w *indexing) told(e *Engine, g *guard) func(done int64) {
	moved := w.watched(e)
	return func(done int64) {
		if !g.lost() {
			moved(done)
		}
	}
}

// write puts the index on disk and into the inverted index.
func (e *Engine) write(ctx context.Context, b *index.Builder, f *found) error {
	if err := e.roomy(); err != nil {
		return err
	}
	id, err := e.ids.index(ctx)
	if err != nil {
		return err
	}
	f.id = id
	if err := e.writeIndex(ctx, b, f); err != nil {
		e.ids.written(id) // what could not be removed is nobody's
		return err
	}
	return nil
}

func (e *Engine) writeIndex(ctx context.Context, b *index.Builder, f *found) error {
	file, err := e.cfg.Segments.Create(ctx, indexName(f.id))
	if err != nil {
		return err
	}
	if f.stats, err = b.WriteTo(ctx, file, identity(f)); err != nil {
		return errors.Join(err, file.Abort())
	}
	if err := file.Commit(ctx); err != nil {
		return err
	}
	if err := e.addInverted(ctx, f.id); err != nil {
		return errors.Join(err, e.inverted.Drop(f.id), e.cfg.Segments.Remove(context.WithoutCancel(ctx), indexName(f.id)))
	}
	f.settled = e.inverted.Settled(f.id)
	return nil
}

// addInverted makes an index that is on disk found in the inverted index.
func (e *Engine) addInverted(ctx context.Context, id index.ID) error {
	ix, err := e.openIndex(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = ix.Close() }() // it was only read
	return e.inverted.Add(ctx, id, multihashes(ix))
}

// install takes over into r what an indexing found.
func (f *found) install(r *catalog.Record, now time.Time) {
	res := &f.result
	r.Index = catalog.IndexRef{ID: f.id, Length: f.stats.Length, CRC: f.stats.CRC}
	r.Version = res.Version
	r.RootCount, r.Roots = res.RootCount, res.Roots
	r.Bytes = f.source.Size
	r.Payload = shard.Extent{Offset: res.DataOffset, Size: res.PayloadSize}
	r.Sections = res.Sections
	r.Multihashes = f.stats.Multihashes
	r.SourceVersion, r.SourceTime = f.source.Version, f.source.ModTime
	r.Verified, r.VerifiedAt = shard.Unverified, time.Time{}
	if f.verify {
		r.Verified, r.VerifiedAt = shard.Full, now
	}
	r.Faults, r.Faulty = res.Faults, res.Faulty
	r.Trailing = res.Trailing
}

// identity is what the footer of an index tells of its CAR.
func identity(f *found) [16]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %s", f.source.Size, f.result.DataOffset, f.result.Sections, f.source.Version)
	for _, root := range f.result.Roots {
		h.Write(root.Bytes())
	}
	return [16]byte(h.Sum(nil))
}

func indexName(id index.ID) segment.Name { return segment.Name{Kind: segment.Index, N: uint32(id)} }
