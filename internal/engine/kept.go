package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// The copies that the store keeps are no matter of a shard's state. A record
// names one from the batch on that follows its last byte, and until the batch
// before its first is removed. An opening reads it in place; without one it goes
// to the source, or fetches a new one, as the mode of the shard has it.

// copying reports whether the store keeps any copies.
func (e *Engine) copying() bool { return e.cfg.Copies != nil && e.cfg.Copies.Quota() > 0 }

// copyURL is what takes the place of a shard's URL where its copy is read.
func copyURL(id uint32) string { return fmt.Sprintf("copy:%08x", id) }

// A keptMount is a copy that is complete. What it says of itself is what its
// source has said.
type keptMount struct {
	keeper *copies.Keeper
	id     uint32
	stat   mount.Stat
}

var _ mount.FileOpener = keptMount{}

// URL implements [mount.Mount].
func (m keptMount) URL() string { return copyURL(m.id) }

// Stat implements [mount.Mount].
func (m keptMount) Stat(ctx context.Context) (mount.Stat, error) { return m.stat, ctx.Err() }

// Open implements [mount.Mount].
func (m keptMount) Open(ctx context.Context) (io.ReadCloser, error) {
	f, err := m.OpenFile(ctx)
	if err != nil {
		return nil, err
	}
	return fileSource{io.NewSectionReader(f, 0, m.stat.Size), f}, nil
}

// OpenFile implements [mount.FileOpener].
func (m keptMount) OpenFile(context.Context) (mount.File, error) {
	path, ok := m.keeper.Native(m.id)
	if !ok {
		return m.keeper.Open(m.id)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return keptFile{f}, nil
}

// A keptFile is a file and no more: it may be read past its ReadAt.
type keptFile struct{ *os.File }

// Plain returns the file.
func (f keptFile) Plain() *os.File { return f.File }

// keptCopy looks for the copy that a record names. lost says that it is not
// there, or not whole; any other error is of our disk, and may end.
func (e *Engine) keptCopy(r *catalog.Record) (m keptMount, lost bool, err error) {
	if e.cfg.Copies == nil {
		return m, false, nil
	}
	if !r.Kept.Complete() {
		is, err := e.cfg.Copies.IsSparse(r.Kept.ID)
		return m, err == nil && !is, err
	}
	size, err := e.cfg.Copies.Size(r.Kept.ID)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && size != r.Kept.Size:
		return m, true, nil
	case err != nil:
		return m, false, fmt.Errorf("%w: its copy: %w", shard.ErrSource, err)
	}
	return keptMount{e.cfg.Copies, r.Kept.ID, mount.Stat{Size: size, Ranges: true}}, false, nil
}

// openKept opens the copy of a shard. It returns nil and no error if there is
// none.
func (e *Engine) openKept(o *opening) (*local.Handle, error) {
	r := o.record
	if !r.Kept.Complete() {
		return nil, nil //nolint:nilnil // there is no copy, and nothing wrong
	}
	m, lost, err := e.keptCopy(r)
	if lost || err != nil || m.keeper == nil {
		o.lost = lost
		return nil, err
	}
	h, err := e.openFetched(o, m)
	if err != nil && errors.Is(err, shard.ErrChanged) { // whatever lies there, it is not what was copied
		o.lost = true
		return nil, nil //nolint:nilnil // as if it were not there
	}
	return h, err
}

// openFetched opens the index of a shard over a complete copy.
func (e *Engine) openFetched(o *opening, m keptMount) (*local.Handle, error) {
	spec := e.spec(o.record, m)
	spec.URL = m.URL()
	if m.stat.Version == "" && m.stat.ModTime.IsZero() {
		spec.Source = mount.Stat{Size: m.stat.Size} // version and time are those of the source, which was not asked
	}
	return local.Open(o.ctx, spec)
}

// kept gives the copy that the store keeps as what is read for w, if its source
// has not got something else by now.
func (e *Engine) kept(w *indexing, now mount.Stat, asked error) (o origin, ok bool) {
	r := w.record
	if !r.Kept.Complete() || w.unkept || e.damaged.has(r.Kept.ID) || asked == nil && !sameSource(r, now) {
		return o, false
	}
	m, lost, err := e.keptCopy(r)
	if lost || err != nil || m.keeper == nil {
		return o, false
	}
	if asked != nil {
		now = mount.Stat{Size: m.stat.Size, Version: r.SourceVersion, ModTime: r.SourceTime}
	}
	now.Size = m.stat.Size
	return origin{mount: m, stat: now, before: m.stat, copied: true, kept: r.Kept}, true
}

// sameSource reports whether a source calls itself what it did when it was
// indexed, or copied.
func sameSource(r *catalog.Record, now mount.Stat) bool {
	switch {
	case now.Size >= 0 && now.Size != r.Bytes:
		return false
	case r.SourceVersion != "" || now.Version != "":
		return r.SourceVersion == now.Version
	default:
		return r.SourceTime.Equal(now.ModTime)
	}
}

// wantsCopy reports whether a copy of a source is to be kept. near says that it
// lies on this machine.
func (e *Engine) wantsCopy(r *catalog.Record, ranges, near bool) bool {
	switch {
	case !e.copying():
		return false
	case r.Serve == shard.Copy:
		return true
	case r.Serve == shard.InPlace, near:
		return false
	default:
		return !ranges // else nothing of it could be read
	}
}

// A farewell is a copy that no record is going to name. Its files go once that
// is on disk and nobody reads them.
type farewell struct {
	node node
	id   uint32
	left atomic.Int32 // of the two that have to happen
}

// forsake gives up the copy id, of which the shard with index ix may have
// handles open: nobody new gets at those. It is removed with the batch that
// gathers.
func (e *Engine) forsake(id uint32, en *entry) {
	if id == 0 || e.cfg.Copies == nil {
		return
	}
	e.cfg.Copies.Leaving(id)
	x := &farewell{id: id}
	x.left.Store(2)
	x.node.what, x.node.of = whatDone, x
	b := e.loop.gather
	b.farewells = append(b.farewells, x)
	e.cache.Remove(en.id(), func() { x.one(e) })
}

// one is called when nobody reads the copy, and when no record names it.
func (x *farewell) one(e *Engine) {
	if x.left.Add(-1) == 0 {
		e.box.complete(&x.node)
	}
}

// nobodyLeaves says that the copies stay that batches were to forget which the disk
// has refused. No other will go either: who waits for that gets err.
func (e *Engine) nobodyLeaves(err error, refused ...*batch) {
	if e.cfg.Copies == nil {
		return
	}
	for _, b := range refused {
		for _, x := range b.farewells {
			e.cfg.Copies.Stays(x.id)
		}
	}
	e.cfg.Copies.NoMore(err)
}

func (x *farewell) finish(e *Engine) { e.removeCopy(x.id) }

func (x *farewell) abandon(e *Engine) { e.removeCopies([]uint32{x.id}) }

// removeCopy has the files of a copy removed that nobody needs.
func (e *Engine) removeCopy(id uint32) {
	e.loop.copies = append(e.loop.copies, id)
	e.startCopyRemovals()
}

// startCopyRemovals removes copies, one worker at a time. What cannot be removed
// goes on counting against the quota, until GC or the next start.
func (e *Engine) startCopyRemovals() {
	l := &e.loop
	if l.clearing || len(l.copies) == 0 || e.shut.Load() {
		return
	}
	ids := l.copies
	l.copies, l.clearing = nil, true
	x := &clearing{}
	x.node.what, x.node.of = whatDone, x
	e.workers.Go(func() {
		e.removeCopies(ids)
		e.box.complete(&x.node)
	})
}

func (e *Engine) removeCopies(ids []uint32) {
	for _, id := range ids {
		if err := e.cfg.Copies.Remove(id); err != nil {
			e.cfg.Log.Warn("a copy could not be removed", "copy", fmt.Sprintf("%08x", id), "err", err)
		}
	}
}

// A clearing is the end of a piece of removing copies.
type clearing struct{ node node }

func (x *clearing) finish(e *Engine) {
	e.loop.clearing = false
	e.startCopyRemovals()
}

func (x *clearing) abandon(*Engine) {}

// holdCopy tells the keeper which copy the holders of a shard may read.
func (e *Engine) holdCopy(en *entry) {
	want := uint32(0)
	if en.record != nil && en.machine.Holders > 0 {
		want = en.record.Kept.ID
	}
	if want == en.heldCopy || e.cfg.Copies == nil {
		return
	}
	if en.heldCopy != 0 {
		e.cfg.Copies.Rest(en.heldCopy)
	}
	if want != 0 {
		e.cfg.Copies.Hold(want)
	}
	en.heldCopy = want
}

// namedCopy tells the keeper what a batch that is on disk says of copies.
func (e *Engine) namedCopy(before, now *catalog.Record) {
	if e.cfg.Copies == nil || now == nil || now.Kept.ID == 0 {
		return
	}
	switch {
	case before == nil || before.Kept.ID != now.Kept.ID:
		e.cfg.Copies.Named(now.Kept.ID, now.Pin, now.Kept.At)
		e.dropRemnant(now.Key)
	case before.Pin != now.Pin:
		e.cfg.Copies.Pin(now.Kept.ID, now.Pin)
	}
}

// dropCopy has a shard give its copy back, if it has one.
func (e *Engine) dropCopy(en *entry) {
	e.dropRemnant(en.key)
	if en.record.Kept.ID != 0 {
		e.revise(en, cause{revise: func(r *catalog.Record) bool {
			r.Kept = catalog.Kept{}
			return true
		}})
	}
}

// noteCopy writes down what an opening has found out about copies.
func (e *Engine) noteCopy(en *entry, o *opening) {
	now, doubted := mount.Stat{}, false
	if o.handle != nil {
		now, doubted = o.handle.Confirmed()
	}
	if !doubted && o.kept.ID == 0 && !o.lost {
		return
	}
	if o.lost && en.record != nil && en.record.Kept.ID == o.record.Kept.ID {
		e.cfg.Log.Warn("the copy of a shard is gone or damaged, and forgotten", "key", string(en.key), "copy", fmt.Sprintf("%08x", o.record.Kept.ID))
	}
	e.event(en, lifecycle.Confirmed, cause{revise: func(r *catalog.Record) bool {
		changed := false
		if o.lost && r.Kept.ID == o.record.Kept.ID {
			r.Kept, changed = catalog.Kept{}, true
		}
		if o.kept.ID != 0 && r.Index.ID == o.record.Index.ID {
			r.Kept, changed = o.kept, true
		}
		if doubted {
			changed = e.confirmed(now)(r) || changed
		}
		return changed
	}})
	if e.loop.broken == nil { // else it is read, and goes with the next start
		e.unnamed(en, o.kept.ID)
	}
}

// unnamed has a copy removed that was just made, unless the shard has it now.
func (e *Engine) unnamed(en *entry, id uint32) {
	if id != 0 && (en.record == nil || en.record.Kept.ID != id) {
		e.removeCopy(id)
	}
}
