package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

const (
	mostTries   = 5 // in a row without a byte
	firstPause  = 100 * time.Millisecond
	longestWait = 2 * time.Minute // that a source may ask us to wait
	lookForRoom = 16 << 20        // bytes between two looks at the disk
)

// A download is a source as one stream from its first byte. One that breaks off
// is opened again where it did, if the source can do that and has a version, so
// that the bytes are of one and the same. A source that is busy is asked again.
type download struct {
	ctx   context.Context //nolint:containedctx // of the one reading
	mount mount.Mount
	stat  mount.Stat
	r     io.ReadCloser
	off   int64
	end   int64 // where it ends; 0: where the source does
	tries int

	pinned bool   // what it gives is of one version, or it gives an error
	busy   func() // told when the source has too much to do; nil: nobody is
}

// downloadOf opens a download, and says whether it is pinned.
func downloadOf(ctx context.Context, m mount.Mount, st mount.Stat) (io.ReadCloser, bool, error) {
	d := &download{ctx: ctx, mount: m, stat: st}
	if err := d.open(); err != nil {
		return nil, false, err
	}
	return d, d.pinned, nil
}

// open opens the source, or opens it again.
func (d *download) open() (err error) {
	for {
		switch {
		case d.end > 0:
			d.r, err = mount.OpenRange(d.ctx, d.mount, mount.Range{Offset: d.off, Length: d.end - d.off, Version: d.stat.Version})
		case d.off > 0:
			d.r, err = mount.OpenRange(d.ctx, d.mount, mount.Range{Offset: d.off, Length: -1, Version: d.stat.Version})
		default:
			d.r, d.pinned, err = openWhole(d.ctx, d.mount, d.stat)
		}
		var busy *mount.BusyError
		if err == nil || d.off == 0 && !errors.As(err, &busy) || !d.again(err) {
			return err
		}
	}
}

// again waits before another try, and reports whether there is to be one.
func (d *download) again(err error) bool {
	d.tries++
	if d.tries > mostTries || d.ctx.Err() != nil || errors.Is(err, mount.ErrChanged) || errors.Is(err, errGivenUp) {
		return false
	}
	pause := firstPause << (d.tries - 1)
	var busy *mount.BusyError
	if errors.As(err, &busy) {
		if d.busy != nil {
			d.busy()
		}
		if busy.After > longestWait {
			return false // to ask before that is in vain, and others want the place
		}
		pause = max(pause, busy.After)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.ctx.Done():
		return false
	}
}

// Read implements [io.Reader].
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.r == nil {
			if err := d.open(); err != nil {
				return 0, sourceError(err)
			}
		}
		n, err := d.r.Read(p)
		d.off += int64(n)
		if n > 0 {
			d.tries = 0
		}
		if end := cmp.Or(d.end, d.stat.Size); errors.Is(err, io.EOF) && end >= 0 && d.off < end {
			err = fmt.Errorf("%w: it ends after %d of %d bytes", io.ErrUnexpectedEOF, d.off, end)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return n, err
		case !d.stat.Ranges || d.stat.Version == "" || d.off == 0:
			return n, sourceError(err)
		}
		_ = d.Close() // it has failed already
		if !d.again(err) {
			return n, sourceError(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Close implements [io.Closer].
func (d *download) Close() error {
	if d.r == nil {
		return nil
	}
	r := d.r
	d.r = nil
	return r.Close()
}

// beginCopy begins a copy of what is about to be read from m for the shard key, or
// goes on with what there is of one. The error of a disk without space for it has
// the sentinel for that.
func (e *Engine) beginCopy(ctx context.Context, p *parking, key shard.Key, m mount.Mount, st mount.Stat) (*tee, error) {
	if !e.cfg.Copies.Restored() {
		return nil, roomless{} // a start that looks at the copies it has found; until then there is no space
	}
	of := copies.Origin{Key: string(key), URL: m.URL()}
	if st.Ranges {
		of.Version = st.Version
	}
	if id := e.cfg.Copies.DropRemnant(of.Key, of, st.Size); id != 0 {
		e.removeCopies([]uint32{id}) // it is of another version, or place
	}
	for {
		have, need := e.cfg.Copies.Remnant(of, st.Size)
		s, err := e.takeRoom(p, need)
		if err != nil {
			return nil, err
		}
		fill, err := e.beginFill(ctx, of, st.Size, have, s)
		if err != nil {
			return nil, e.noSpace(err)
		}
		if fill != nil {
			return e.newTee(ctx, m, st, fill), nil
		}
	}
}

// beginFill begins a copy in the space s, or goes on with the have bytes that there
// are of one; nil says that these have gone meanwhile.
func (e *Engine) beginFill(ctx context.Context, of copies.Origin, size, have int64, s *copies.Space) (*copies.Fill, error) {
	if have > 0 {
		return e.cfg.Copies.Resume(of, size, s)
	}
	id, err := e.ids.next(ctx)
	if err != nil {
		s.Give()
		return nil, err
	}
	return e.cfg.Copies.Begin(id, of, size, s)
}

// copyBeside begins a copy of what is about to be read for w from end to end, or
// returns nil if none is to be kept.
func (e *Engine) copyBeside(w *indexing, o *origin) (*tee, error) {
	if !w.copies {
		return nil, nil //nolint:nilnil // none is to be kept, and nothing wrong
	}
	t, err := e.beginCopy(w.ctx, &w.parking, w.record.Key, o.mount, o.stat)
	if w.beside != nil && w.beside.confirm && (goesOn(err) || errors.Is(err, shard.ErrQuota)) {
		return nil, nil //nolint:nilnil // who confirms is about to read it anyway, and no other copy goes for that
	}
	if err == nil {
		w.fill.Store(t.fill)
		w.resumed = t.begun > 0
	}
	return t, err
}

// endCopy completes the copy of what was read for w, which ended in err.
func (e *Engine) endCopy(w *indexing, g *guard, t *tee, f *found, err error) error {
	key := w.record.Key
	switch {
	case t.err != nil: // whatever the reader made of it
		return fail(key, shard.OpFetch, e.noSpace(t.err))
	case err != nil:
		return err
	}
	// The reader may have stopped before the end: behind padding, say.
	if err := t.rest(w.told(e, g)); err != nil {
		return fail(key, shard.OpFetch, err)
	}
	if g.lost() {
		return errGivenUp
	}
	w.pinned = t.from.pinned
	f.kept = catalog.Kept{ID: t.fill.ID(), Size: t.fill.Size(), At: e.cfg.Now()}
	f.fresh, f.source.Size = true, t.fill.Size()
	return nil
}

// fetched tells of the end of making a copy.
func (e *Engine) fetched(f *copies.Fill, err error) {
	if told := e.cfg.Watch.Fetched; told != nil {
		told(f.Size(), err)
	}
}

// dropFill ends the making of a copy that came to err. What was fetched is kept, if
// the next attempt may go on with it.
func (e *Engine) dropFill(f *copies.Fill, err error) {
	if f == nil {
		return
	}
	end := f.Drop
	if e.goesOnLater(err) {
		end = f.Keep
	}
	if err := end(); err != nil {
		e.cfg.Log.Warn("a copy could not be removed", "copy", fmt.Sprintf("%08x", f.ID()), "err", err)
	}
}

// goesOnLater reports whether err says nothing against what was fetched before.
func (e *Engine) goesOnLater(err error) bool {
	switch {
	case errors.Is(err, shard.ErrCAR), errors.Is(err, shard.ErrChanged), errors.Is(err, mount.ErrNoRanges):
		return false
	case errors.Is(err, context.Canceled):
		return e.shut.Load() // else the shard is something else by now
	default:
		return errors.Is(err, shard.ErrSource) || errors.Is(err, shard.ErrStalled)
	}
}

// dropRemnant gives up what there is of a copy that the shard is not going to need.
func (e *Engine) dropRemnant(key shard.Key) {
	if e.cfg.Copies == nil {
		return
	}
	if id := e.cfg.Copies.DropRemnant(string(key), copies.Origin{}, 0); id != 0 {
		e.removeCopy(id)
	}
}

// dropOldRemnants gives up what nobody has gone on with for long.
func (e *Engine) dropOldRemnants() {
	if e.cfg.Copies == nil {
		return
	}
	for _, id := range e.cfg.Copies.OldRemnants() {
		e.removeCopy(id)
	}
}

// sameLength returns an error unless a source of size bytes (-1: unknown) may be the
// CAR that was indexed.
func sameLength(r *catalog.Record, size int64) error {
	if size < 0 || r.Bytes < 0 || size == r.Bytes {
		return nil
	}
	return &local.LostError{Err: fmt.Errorf("%w: it has %d bytes and had %d when it was indexed", shard.ErrChanged, size, r.Bytes)}
}

// fetch copies the source of a shard that is indexed, and opens the copy.
func (e *Engine) fetch(o *opening, g *guard, m mount.Mount) (h *local.Handle, err error) {
	if !e.cfg.Copies.Restored() {
		return nil, roomless{} // as in beginCopy, before the source is asked for the first time
	}
	st, err := m.Stat(o.ctx)
	switch {
	case err != nil:
		return nil, sourceError(err)
	case st.Waits && o.kind != slow:
		return nil, elsewhere{slow}
	}
	if err := sameLength(o.record, st.Size); err != nil {
		return nil, err
	}
	o.total.Store(st.Size)
	t, err := e.beginCopy(o.ctx, &o.parking, o.record.Key, m, st)
	if err != nil {
		return nil, err
	}
	o.fill.Store(t.fill)
	defer func() {
		e.fetched(t.fill, err)
		if err != nil {
			err = e.crowded(err, t.fill.Size())
			e.dropFill(t.fill, err)
		}
	}()
	defer func() { _ = t.Close() }() // before the copy is dropped, whatever happens
	t.skip()
	err = t.rest(o.done.Store)
	_ = t.Close()
	if err == nil {
		err = sameLength(o.record, t.fill.Size())
	}
	if err == nil && !t.from.pinned {
		err = unchanged(o.ctx, m, st)
	}
	if err == nil && g.lost() {
		err = errGivenUp
	}
	if err != nil {
		return nil, err
	}
	st.Size = t.fill.Size()
	h, err = e.openFetched(o, keptMount{e.cfg.Copies, t.fill.ID(), st})
	if err != nil {
		return nil, err
	}
	o.kept = catalog.Kept{ID: t.fill.ID(), Size: st.Size, At: e.cfg.Now()}
	return h, nil
}
