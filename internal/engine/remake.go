package engine

import (
	"context"
	"errors"
	"io/fs"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
)

// An upkeep tells the loop that the layers have to be looked after.
type upkeep struct{ node node }

// spoiled is called by whoever met the damage, once for each layer.
func (e *Engine) spoiled(n uint32) {
	e.cfg.Log.Warn("a layer of the inverted index is damaged and is made anew", "layer", n)
	e.unread() // at the end of all, the next start meets it again
}

// unread is called by the last reader of a layer that is out of use: its file
// need not wait for the next flush or tick to go.
func (e *Engine) unread() {
	if !e.enter() {
		return
	}
	defer e.exit()
	x := &upkeep{}
	x.node.what, x.node.of = whatDone, x
	e.box.complete(&x.node)
}

func (x *upkeep) finish(e *Engine) { e.tend() }
func (x *upkeep) abandon(*Engine)  {}

// tend looks after the inverted index: it has the memory table written and
// layers merged if that is due, damaged layers made anew, and files removed that
// nobody reads any more. The tick calls it, so that a store in which nothing is
// added is looked after, too.
func (e *Engine) tend() {
	e.flush()
	l := &e.loop
	if l.tending || l.broken != nil || e.shut.Load() || Space(e.space.Load()) == Full {
		return
	}
	if len(e.inverted.Spoiled()) == 0 && !e.inverted.MergeDue() && !e.inverted.SweepDue() {
		return
	}
	l.tending = true
	w := &tending{}
	w.node.what, w.node.of = whatDone, w
	e.workers.Go(func() {
		w.err = errors.Join(e.remake(e.work), e.merge(e.work), e.inverted.Sweep(e.work))
		e.box.complete(&w.node)
	})
}

// A tending is the end of looking after the layers.
type tending struct {
	node node
	err  error
}

func (w *tending) finish(e *Engine) {
	e.loop.tending = false
	if w.err != nil && e.work.Err() == nil {
		e.trouble("the layers of the inverted index could not be looked after: it is tried again", w.err)
		return // at the next tick, not at once
	}
	if e.inverted.SweepDue() { // it was left meanwhile
		e.tend()
	}
}

func (w *tending) abandon(*Engine) {}

// pendingAtOnce is how many ids are made pending in one batch.
const pendingAtOnce = 4096

// remake makes anew what damaged layers hold, from the indices of the shards.
// One at a time does. It may be called beside the loop.
func (e *Engine) remake(ctx context.Context) error {
	select {
	case e.remaking <- struct{}{}:
		defer func() { <-e.remaking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, n := range e.inverted.Spoiled() {
		if err := e.remakeLayer(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// remakeLayer has the shards of layer n pending durably and the layer off the
// list; then it adds them, and last takes the layer out of use. Until then it
// answers with what can be read of it. A crash before the layer is off the
// list changes nothing; after it the next start adds what is pending.
func (e *Engine) remakeLayer(ctx context.Context, n uint32) error {
	owned, err := e.owned(ctx)
	if err != nil {
		return err
	}
	ids := e.inverted.Content(n)
	ids.And(owned)
	if err := e.makePending(ctx, ids); err != nil {
		return err
	}
	if err := e.cfg.Catalog.Apply(ctx, &catalog.Batch{DelLayers: []uint32{n}}); err != nil {
		return err
	}
	for it := ids.Iterator(); it.HasNext(); {
		id := index.ID(it.Next())
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.addInverted(ctx, id)
		if isLoss(err) {
			e.lostIndex(ctx, id, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return e.inverted.Abandon(ctx, n)
}

// makePending remembers that ids have to be added to the inverted index again.
func (e *Engine) makePending(ctx context.Context, ids *roaring.Bitmap) error {
	page := make([]uint32, pendingAtOnce)
	for it := ids.ManyIterator(); ; {
		k := it.NextMany(page)
		if k == 0 {
			return nil
		}
		b := &catalog.Batch{}
		for _, id := range page[:k] {
			b.AddPending = append(b.AddPending, index.ID(id))
		}
		if err := e.cfg.Catalog.Apply(ctx, b); err != nil {
			return err
		}
	}
}

// isLoss reports whether err says that an index file is not there or damaged.
func isLoss(err error) bool {
	return errors.Is(err, index.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

// lostIndex tells the loop that the index of a shard proved to be lost. It
// reports whether there is such a shard.
func (e *Engine) lostIndex(ctx context.Context, id index.ID, why error) bool {
	key, err := e.cfg.Catalog.Owner(ctx, id)
	if err != nil {
		return !errors.Is(err, catalog.ErrNotFound)
	}
	w := &loss{key: key, id: id, err: why}
	w.node.what, w.node.of = whatDone, w
	e.box.complete(&w.node)
	return true
}
