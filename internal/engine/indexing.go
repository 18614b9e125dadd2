package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
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

	parking parking
	fill    atomic.Pointer[copies.Fill] // the copy that is made on the way
	unkept  bool                        // the copy that the record names is not to be read
	resumed bool                        // part of it was here

	fromKept bool // it is being read
	copies   bool // what is read is copied
	pinned   bool // and is of one version, so that nobody has to be asked afterwards

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
	data    []byte   // the index, if it is small; nil: it is a file
	settled bool     // a layer holds it already
	verify  bool

	claim  catalog.Claim // how far the index is one that came with the CAR
	lie    *shard.Fault  // what is wrong with that one
	listed *listing      // what one lists that is to be held against the CAR
	pinned bool          // all that was read was of the version of source

	kept  catalog.Kept // the copy that the shard has then
	fresh bool         // it was made on the way
}

// newIndexing makes an attempt at indexing en, as its record is now.
func (e *Engine) newIndexing(en *entry) *indexing {
	w := &indexing{entry: en, record: en.record}
	w.ctx, w.cancel = context.WithCancelCause(e.work)
	w.total.Store(-1)
	w.node.what, w.node.of = whatDone, w
	w.ticket.work, w.ticket.host = w, mount.Host(en.record.URL)
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
		} else if w.parking.leave(e) {
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
	defer e.startFetching()
	if w.moved(e) {
		return
	}
	w.parking.giveRoom()
	w.ended(e)
	en := w.entry
	why := cause{found: w.found, err: w.err, drop: func() { e.discard(w.found) }}
	switch {
	case en.indexing != w:
		if w.copies {
			e.dropRemnant(en.key)
		}
		e.event(en, lifecycle.Stale, why)
	case w.err != nil && e.shut.Load():
		// Not a failure of the shard: the intent stays, the next start goes on.
		en.indexing = nil
	case w.beside != nil:
		en.indexing = nil
		w.inherit(en.record)
		e.besideEnded(en, w.beside, why)
	case w.err == nil:
		en.indexing = nil
		e.event(en, lifecycle.Indexed, why)
		if w.found.claim == catalog.ClaimAdopted {
			e.confirmSoon(en.key)
		}
	default:
		en.indexing = nil
		ev := lifecycle.Failed
		if en.record.Discard && errors.Is(w.err, shard.ErrCAR) {
			ev = lifecycle.FailedBad
		}
		e.missed(en, w.err)
		e.event(en, ev, why)
	}
	e.settleDown(en)
	e.startIndexing()
	e.flush()
}

// abandon removes an index that came too late to be named.
func (w *indexing) abandon(e *Engine) {
	w.line.end(context.Canceled)
	if w.found != nil && w.found.fresh {
		e.removeCopies([]uint32{w.found.kept.ID})
	}
	if w.found == nil || w.found.id == 0 {
		return
	}
	defer e.removeIndex(w.found.ref())
	if err := e.inverted.Drop(w.found.id); err != nil {
		e.trouble("an abandoned index is still in the inverted index", fmt.Errorf("index %d: %w", w.found.id, err))
	}
}

// discard gets rid of an index that nobody wants any more.
func (e *Engine) discard(f *found) {
	if f != nil && f.fresh {
		e.removeCopy(f.kept.ID)
	}
	if f == nil || f.id == 0 {
		return
	}
	if e.loop.broken == nil {
		e.bury(f.id, f.ref().InFile())
	}
}

// index reads a CAR from end to end and makes its index. A panic of a mount
// is an error of the shard. It leaves the mount alone from when it begins to
// write on: work that hangs in a mount, and is given up, has nothing on disk but
// the beginning of a copy, which is dropped for it.
func (e *Engine) index(w *indexing, g *guard) (f *found, err error) {
	key := w.record.Key
	defer func() {
		if fill := w.fill.Load(); fill != nil {
			e.fetched(fill, err)
			if err != nil {
				err = e.crowded(err, fill.Size())
				e.dropFill(fill, err)
				w.fill.Store(nil)
			}
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			e.cfg.Log.Warn("a mount panicked", "key", string(key), "op", string(w.op()), "panic", r, "stack", string(debug.Stack()))
			f, err = nil, fail(key, shard.OpIndex, fmt.Errorf("%w: panic: %v", shard.ErrSource, r))
		}
	}()
	if w.beside != nil && w.beside.op == shard.OpRemount {
		return e.compare(w, g)
	}
	f, err = e.read(w, g)
	if w.fromKept && err != nil && w.ctx.Err() == nil && !g.lost() && !goesOn(err) && !errors.Is(err, e.cfg.NoSpace) {
		e.cfg.Log.Warn("the copy of a shard cannot be indexed, its source is read", "key", string(key), "err", err)
		w.unkept = true
		if again, aerr := e.read(w, g); aerr == nil || errors.Is(err, shard.ErrCAR) || goesOn(aerr) {
			return again, aerr
		}
	}
	if fill := w.fill.Load(); w.resumed && errors.Is(err, shard.ErrCAR) && w.ctx.Err() == nil && !g.lost() {
		// What was here from before may be to blame, and nothing tells.
		e.cfg.Log.Warn("a CAR of which a part was fetched before is bad, all of it is fetched again", "key", string(key), "err", err)
		e.fetched(fill, err)
		e.dropFill(fill, err)
		w.fill.Store(nil)
		return e.read(w, g)
	}
	return f, err
}

// awaitsSurvey reports whether w is going to make a copy and that cannot begin yet.
func (e *Engine) awaitsSurvey(w *indexing) bool {
	return w.beside == nil && e.copiesFirst(w.record) && !e.cfg.Copies.Restored()
}

// copiesFirst reports whether a shard is to be copied when it is read.
func (e *Engine) copiesFirst(r *catalog.Record) bool {
	return e.copying() && r.Serve == shard.Copy && r.Copy == "" && !r.Kept.Complete()
}

// read reads what w is to read, and makes its index.
func (e *Engine) read(w *indexing, g *guard) (f *found, err error) {
	key := w.record.Key
	if e.awaitsSurvey(w) {
		return nil, roomless{} // as in beginCopy, before the source is asked for the first time
	}
	fetched := e.fetching(w.ctx)
	defer func() { fetched(err) }()
	o, err := e.origin(w, g)
	if err != nil {
		return nil, fail(key, shard.OpFetch, err)
	}
	w.fromKept = o.kept.ID != 0
	w.pinned = false
	w.copies = !o.copied && e.wantsCopy(w.record, o.stat.Ranges, w.kind == onDisk) &&
		(w.record.Policy != catalog.PolicyHop || w.record.Serve == shard.Copy) // else a download of all is what is to be avoided
	st := o.stat
	w.total.Store(st.Size)
	fetched(nil)
	bytes := e.memory.take(wantedMemory(st.Size))
	defer e.memory.give(bytes)
	f = &found{source: st, kept: o.kept, verify: w.record.Verify && w.record.Indexer == ""}
	in, err := e.gather(w, g, &o, bytes, f)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := in.end(); err != nil {
		return nil, fail(key, shard.OpIndex, e.noSpace(err))
	}
	if !f.pinned && !w.pinned {
		if err := unchanged(w.ctx, o.mount, o.before); err != nil {
			return nil, fail(key, shard.OpFetch, err)
		}
	}
	if g.lost() {
		return nil, errGivenUp
	}
	if err := e.write(w.ctx, in, f); err != nil {
		return nil, fail(key, shard.OpIndex, e.noSpace(err))
	}
	e.judgeListed(w, f)
	return f, nil
}

// gather makes the records of the index, of one that came with the CAR or of
// the CAR. The intake is the caller's to close.
func (e *Engine) gather(w *indexing, g *guard, o *origin, memory int64, f *found) (*intake, error) {
	if f.claim = w.record.Claim; f.claim != catalog.ClaimRefuted {
		f.claim = catalog.NoClaim
	}
	if w.beside != nil && w.beside.confirm {
		f.listed = e.believed(w)
	}
	in, err := e.takeIn(w, g, o, memory, f)
	if err != nil {
		return nil, fail(w.record.Key, shard.OpFetch, e.noSpace(err))
	}
	if in != nil {
		return in, nil
	}
	hashers, left := 0, memory
	if f.verify {
		hashers, left = hashersFor(memory)
	}
	t, err := e.copyBeside(w, o)
	if err != nil {
		return nil, fail(w.record.Key, shard.OpFetch, err)
	}
	if t != nil {
		defer func() { _ = t.Close() }() // what was to be read is read, or that it was not is known
	}
	return e.newIntake(w.ctx, left).filled(func(in *intake) (err error) {
		in.hashers = hashers
		f.result, err = e.scan(w, g, *o, in, t)
		if err == nil && w.resumed && f.result.Faults > 0 {
			err = fail(w.record.Key, shard.OpIndex, fmt.Errorf("%w: %d of its blocks are", shard.ErrCAR, f.result.Faults))
		}
		if t != nil {
			err = e.endCopy(w, g, t, f, err)
		}
		return err
	})
}

// filled has fill add to in, which it returns, or closes if that fails or
// panics.
func (in *intake) filled(fill func(*intake) error) (*intake, error) {
	good := false
	defer func() {
		if !good {
			in.close()
		}
	}()
	if err := fill(in); err != nil {
		return nil, err
	}
	good = true
	return in, nil
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
func (e *Engine) write(ctx context.Context, in *intake, f *found) error {
	if err := e.roomy(); err != nil {
		return err
	}
	id, err := e.ids.index(ctx)
	if err != nil {
		return err
	}
	f.id = id
	if err := e.writeBoth(ctx, in, f); err != nil {
		e.ids.written(id) // what could not be removed is nobody's
		return err
	}
	return nil
}

// fewKeys are not worth a goroutine.
const fewKeys = 16 << 10

// writeBoth writes the index and what the inverted index has of it, side by
// side. The latter counts only once the index is on disk, or, if it is small,
// where its record will be made.
func (e *Engine) writeBoth(ctx context.Context, in *intake, f *found) error {
	if in.keys.Len() < fewKeys {
		if err := e.writeIndex(ctx, in, f); err != nil {
			return err
		}
		onDisk := func(context.Context) error { return nil }
		return e.added(ctx, f, e.inverted.AddKeys(ctx, f.id, in.keys, onDisk))
	}
	both, stop := context.WithCancelCause(ctx)
	written := make(chan struct{})
	var side sync.WaitGroup
	var err error // of the keys
	side.Go(func() {
		if err = e.addBeside(both, in, f, written); err != nil {
			stop(err)
		}
	})
	defer side.Wait() // also if writing panics: in is used until then
	defer stop(nil)
	if err := e.writeIndex(both, in, f); err != nil {
		stop(err)
		side.Wait()
		return context.Cause(both) // whichever of the two failed first
	}
	close(written)
	side.Wait()
	return e.added(ctx, f, err)
}

// addBeside adds the keys of an index that is being written, until written is closed.
func (e *Engine) addBeside(ctx context.Context, in *intake, f *found, written <-chan struct{}) (err error) {
	defer caught(e.cfg.Log, &err)
	return e.inverted.AddKeys(ctx, f.id, in.keys, func(ctx context.Context) error {
		select {
		case <-written:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// added goes on after the keys of an index that is on disk were added, or undoes that.
func (e *Engine) added(ctx context.Context, f *found, err error) error {
	if err != nil {
		err = errors.Join(err, e.inverted.Drop(f.id))
		if f.data == nil {
			err = errors.Join(err, e.cfg.Segments.Remove(context.WithoutCancel(ctx), indexName(f.id)))
		}
		return err
	}
	f.settled = e.inverted.Settled(f.id)
	return nil
}

// writeIndex writes the index to where it belongs: a small one into f, any
// other to disk.
func (e *Engine) writeIndex(ctx context.Context, in *intake, f *found) (err error) {
	to := indexSink{ctx: ctx, place: e.cfg.Segments, name: indexName(f.id), room: e.cfg.Inline}
	if f.stats, err = in.index.WriteTo(ctx, &to, identity(f)); err != nil {
		return errors.Join(err, to.abort())
	}
	f.data, err = to.commit()
	return err
}

// addInverted makes the index that a shard has under id found in the inverted
// index.
func (e *Engine) addInverted(ctx context.Context, id index.ID) error {
	ix, err := e.openOwned(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = ix.Close() }() // it was only read
	return e.inverted.Add(ctx, id, multihashes(ix))
}

// ref is how a record names the index.
func (f *found) ref() catalog.IndexRef {
	return catalog.IndexRef{ID: f.id, Length: f.stats.Length, CRC: f.stats.CRC, Data: f.data}
}

// install takes over into r what an indexing found.
func (f *found) install(r *catalog.Record, now time.Time) {
	res := &f.result
	r.Index, r.Kept = f.ref(), f.kept
	r.Version = res.Version
	r.RootCount, r.Roots = res.RootCount, res.Roots
	r.Bytes = f.source.Size
	r.Payload = shard.Extent{Offset: res.DataOffset, Size: res.PayloadSize}
	r.Sections = res.Sections
	r.Multihashes = f.stats.Multihashes
	r.SourceVersion, r.SourceTime = f.source.Version, f.source.ModTime
	r.Verified, r.VerifiedAt, r.Claim = shard.Unverified, time.Time{}, f.claim
	switch {
	case f.verify:
		r.Verified, r.VerifiedAt = shard.Full, now
	case f.claim == catalog.ClaimSampled:
		r.Verified, r.VerifiedAt = shard.Sampled, now
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
