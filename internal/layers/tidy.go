package layers

import (
	"context"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// used remembers that the file of layer n is in use, before there is one.
func (inv *Inverted) used(n uint32) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.using[n] = struct{}{}
}

func (inv *Inverted) unused(n uint32) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	delete(inv.using, n)
}

// Uses says whether the file of layer n is in use: written just now, looked
// up in, still read, or waiting to be removed. One that is there, is not in use
// when this is asked, and is after that not in the list either, belongs to
// nobody. One whose commit failed is in use until the end, since the list may
// name it. Uses waits for nothing.
func (inv *Inverted) Uses(n uint32) bool {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	_, ok := inv.using[n]
	return ok
}

// IDs yields every id that memory or a layer holds, rising, but those that are
// dead. It is of the moment at which it begins, and holds up nobody.
func (inv *Inverted) IDs() iter.Seq[index.ID] {
	return func(yield func(index.ID) bool) {
		v, err := inv.acquire()
		if err != nil {
			return
		}
		ids := roaring.New()
		for _, l := range v.layers {
			ids.Or(l.ids)
		}
		for _, t := range [...]*table{v.active, v.frozen} {
			if t != nil {
				t.with(ids)
			}
		}
		v.release()
		dead, err := inv.deadNow()
		if err != nil {
			return
		}
		ids.AndNot(dead)
		for it := ids.Iterator(); it.HasNext(); {
			if !yield(index.ID(it.Next())) {
				return
			}
		}
	}
}

// Dead says whether id is dead and not yet forgotten.
func (inv *Inverted) Dead(id index.ID) bool {
	v := inv.view.Load()
	return v != nil && v.dead.Load().Contains(uint32(id))
}

// Purge tells the catalogue which dead ids it may forget, and removes the
// layers that nobody reads any more. A flush does the same by the way.
func (inv *Inverted) Purge(ctx context.Context) error {
	if err := inv.flushing.lock(ctx); err != nil {
		return err
	}
	defer inv.flushing.unlock()
	if err := inv.purge(ctx); err != nil {
		return err
	}
	return inv.sweep(ctx)
}
