package layers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// Due says whether memory wants a [Inverted.Flush]: it holds MemEntries or
// MemShards, or its oldest shard is MaxAge old. For MaxAge after a flush that
// failed it is false, so that a failing disk is not tried without a pause.
func (inv *Inverted) Due() bool {
	now := inv.cfg.Now()
	inv.mu.Lock()
	defer inv.mu.Unlock()
	v := inv.view.Load()
	if v == nil || !inv.failedAt.IsZero() && now.Sub(inv.failedAt) < inv.cfg.MaxAge {
		return false
	}
	return v.frozen != nil || v.active.due(&inv.cfg, now)
}

// Sync is [Inverted.Flush].
func (inv *Inverted) Sync(ctx context.Context) error { return inv.Flush(ctx) }

// Flush makes durable what was added before it was called: it writes the table
// in memory out as a layer and commits it. Everything stays found meanwhile,
// and adding goes on. Flushes wait for each other. After an error nothing is
// lost or forgotten, and the next flush tries again.
func (inv *Inverted) Flush(ctx context.Context) error {
	if err := inv.flushing.lock(ctx); err != nil {
		return err
	}
	defer inv.flushing.unlock()
	err := inv.flushTables(ctx)
	inv.mu.Lock()
	inv.failedAt = time.Time{}
	if err != nil {
		inv.failedAt = inv.cfg.Now()
	}
	inv.mu.Unlock()
	// What cannot be removed now is tried again, and told by Stats and Close:
	// what was added is durable nevertheless.
	_ = inv.sweep(ctx)
	return err
}

// flushTables flushes what an earlier flush left, and then the active table.
// What comes meanwhile waits for the next flush, so that it is no layer of its own.
func (inv *Inverted) flushTables(ctx context.Context) error {
	for left := true; left; {
		var t *table
		var err error
		if t, left, err = inv.freeze(); err != nil {
			return err
		}
		if t == nil {
			break
		}
		if err := inv.flushTable(ctx, t); err != nil {
			return err
		}
	}
	return inv.purge(ctx)
}

// freeze returns the table to flush: the one that an earlier flush left, or the
// active one, for which there is a new one then; or nil if both are empty.
func (inv *Inverted) freeze() (t *table, left bool, err error) {
	inv.gate.Lock()
	defer inv.gate.Unlock()
	v, err := inv.acquire()
	if err != nil {
		return nil, false, err
	}
	defer v.release()
	if v.frozen != nil {
		return v.frozen, true, nil
	}
	if v.active.empty() {
		return nil, false, nil
	}
	return v.active, false, inv.swap(func(old *view) *view {
		return inv.newView(inv.newTable(old.active), old.active, slices.Clone(old.layers), old.dead.Load())
	})
}

func (inv *Inverted) flushTable(ctx context.Context, t *table) error {
	dead, err := inv.deadNow()
	if err != nil {
		return err
	}
	ids := roaring.New()
	for id := range t.shards {
		if !dead.Contains(uint32(id)) {
			ids.Add(uint32(id))
		}
	}
	settled := slices.AppendSeq(slices.Collect(maps.Keys(t.shards)), maps.Keys(t.settled))
	var l *layer
	if !ids.IsEmpty() {
		l, err = inv.writeLayer(ctx, ids, func(w *writer) error { return writeTable(ctx, w, t, dead) })
		if err != nil {
			return err
		}
	}
	if err := inv.commit(ctx, replacement{add: l, flushed: t, settled: settled}); err != nil {
		return err
	}
	inv.unreserve(t.charge)
	return nil
}

func writeTable(ctx context.Context, w *writer, t *table, dead *roaring.Bitmap) error {
	var ids []index.ID
	for key, ref := range t.sorted() {
		ids = t.ids(ids[:0], ref)
		for _, id := range ids {
			if dead.Contains(uint32(id)) {
				continue
			}
			if w.used == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := w.add(key, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// deadNow returns a copy of the dead ids that is the caller's. Only under mu
// may a bitmap that readers have be copied.
func (inv *Inverted) deadNow() (*roaring.Bitmap, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	v := inv.view.Load()
	if v == nil {
		return nil, ErrClosed
	}
	return v.dead.Load().Clone(), nil
}

// writeLayer writes, syncs and opens a new layer that rows fills and that holds
// ids. It is nil if there were no rows. It is in no list yet.
func (inv *Inverted) writeLayer(ctx context.Context, ids *roaring.Bitmap, rows func(*writer) error) (*layer, error) {
	n, err := inv.cfg.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("layers: a number for a new layer: %w", err)
	}
	inv.used(n)
	l, err := inv.writeNumber(ctx, n, ids, rows)
	if l == nil {
		inv.unused(n)
	}
	return l, err
}

func (inv *Inverted) writeNumber(ctx context.Context, n uint32, ids *roaring.Bitmap, rows func(*writer) error) (*layer, error) {
	sink, err := inv.cfg.Files.Create(ctx, n)
	if err != nil {
		return nil, &Error{OpWrite, n, err}
	}
	want, err := inv.fillLayer(ctx, sink, ids, rows)
	if err != nil || want.Entries == 0 {
		_ = sink.Abort() // the first error says more
		var source *Error
		if err != nil && !errors.As(err, &source) { // else it is of a layer that was read
			err = &Error{OpWrite, n, err}
		}
		return nil, err
	}
	want.N = n
	l, err := openLayer(ctx, inv.cfg.Files, n, inv.keyCheck)
	if err != nil {
		return nil, err
	}
	if l.Layer != want {
		_ = l.file.Close() // nothing was written
		return nil, &Error{OpOpen, n, damaged("its footer is %+v, written was %+v", l.Layer, want)}
	}
	return l, nil
}

func (inv *Inverted) fillLayer(ctx context.Context, sink Sink, ids *roaring.Bitmap, rows func(*writer) error) (Layer, error) {
	w := newWriter(sink, inv.cfg.partKeys, inv.keyCheck)
	defer w.close()
	if err := rows(w); err != nil || w.rows == 0 {
		return Layer{}, err
	}
	done, err := w.finish(ids)
	if err != nil {
		return Layer{}, err
	}
	return done, sink.Commit(ctx)
}

// A replacement is a change of the view that is committed first.
type replacement struct {
	add     *layer   // or nil
	remove  []*layer // or none
	flushed *table   // frozen no longer, or nil
	settled []index.ID
}

// apply returns the layers after r.
func (r *replacement) apply(old []*layer) []*layer {
	layers := slices.Clone(old)
	layers = slices.DeleteFunc(layers, func(l *layer) bool { return slices.Contains(r.remove, l) })
	if r.add != nil {
		layers = append(layers, r.add)
	}
	return layers
}

// commit commits r and then makes it seen. If it cannot be committed, the new
// file stays: whether the catalogue names it is not known until it is read
// again, and then it is either found or swept away.
func (inv *Inverted) commit(ctx context.Context, r replacement) error {
	c, err := inv.change(&r)
	if err == nil {
		err = inv.cfg.Commit(ctx, c)
		if err != nil {
			err = r.commitError(err)
		}
	}
	if err == nil {
		err = inv.swap(func(old *view) *view {
			active, frozen := old.active, old.frozen
			if r.flushed != nil {
				frozen = nil
			}
			for _, l := range r.remove {
				l.obsolete = true
			}
			return inv.newView(active, frozen, r.apply(old.layers), forget(old.dead.Load(), c.Purged))
		})
	}
	if err != nil && r.add != nil {
		_ = r.add.file.Close() // nothing was written; its number counts as used, since the list may name it
	}
	return err
}

func (r *replacement) commitError(err error) error {
	if r.add != nil {
		return &Error{OpCommit, r.add.N, err}
	}
	return fmt.Errorf("layers: committing a change: %w", err)
}

// change returns r for the catalogue, with the ids that nothing holds after it.
func (inv *Inverted) change(r *replacement) (Change, error) {
	var c Change
	if r.add != nil {
		c.Add = []Layer{r.add.Layer}
	}
	for _, l := range r.remove {
		c.Remove = append(c.Remove, l.N)
	}
	inv.mu.Lock()
	v := inv.view.Load()
	if v == nil {
		inv.mu.Unlock()
		return c, ErrClosed
	}
	c.Purged = inv.unheld(v, r)
	inv.mu.Unlock()
	// Were a dead id forgotten and still pending, a restart would add it again.
	c.Settled = slices.Concat(r.settled, c.Purged)
	slices.Sort(c.Settled)
	c.Settled = slices.Compact(c.Settled)
	return c, nil
}

// unheld returns the dead ids that nothing holds once r is done. The caller
// holds mu. None of them can come back before r is done: an Add finds it dead.
func (inv *Inverted) unheld(v *view, r *replacement) []index.ID {
	dead := v.dead.Load()
	if dead.IsEmpty() {
		return nil
	}
	rest := dead.Clone()
	for _, l := range r.apply(v.layers) {
		rest.AndNot(l.ids)
	}
	for _, t := range [...]*table{v.active, v.frozen} {
		if t != nil && t != r.flushed {
			t.without(rest)
		}
	}
	for id := range inv.adding {
		rest.Remove(uint32(id))
	}
	var ids []index.ID
	for it := rest.Iterator(); it.HasNext(); {
		if id := index.ID(it.Next()); inv.cfg.Keep == nil || !inv.cfg.Keep(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// forget returns dead without ids. The caller holds mu.
func forget(dead *roaring.Bitmap, ids []index.ID) *roaring.Bitmap {
	if len(ids) == 0 {
		return dead
	}
	rest := dead.Clone()
	for _, id := range ids {
		rest.Remove(uint32(id))
	}
	return rest
}

// purge tells the catalogue which dead ids it may forget, if there are any.
func (inv *Inverted) purge(ctx context.Context) error {
	c, err := inv.change(&replacement{})
	if err != nil || len(c.Purged) == 0 {
		return err
	}
	return inv.commit(ctx, replacement{})
}
