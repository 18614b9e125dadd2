package layers

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
)

// A view is what readers see: it never changes but by more ids being dead.
// It is counted, so that no layer is closed under a reader.
type view struct {
	inv    *Inverted
	active *table   // takes what is added
	frozen *table   // being flushed, or nil
	layers []*layer // by falling highest id

	// dead is replaced with a bitmap that has more, never with one that has
	// less: an id is forgotten only together with the layers that held it,
	// in the next view.
	dead atomic.Pointer[roaring.Bitmap]

	refs atomic.Int64 // its readers, and one while it is the current view
}

// retired is added to refs of a view that has none left, so that a reader who
// has only just read the pointer can tell.
const retired = math.MinInt64 / 2

// newView returns a view with one reference, which holds each layer. The
// caller holds inv.mu, or the index is not in use yet.
func (inv *Inverted) newView(active, frozen *table, layers []*layer, dead *roaring.Bitmap) *view {
	v := &view{inv: inv, active: active, frozen: frozen, layers: layers}
	slices.SortFunc(v.layers, func(a, b *layer) int {
		return cmp.Or(-cmp.Compare(a.Last, b.Last), -cmp.Compare(a.N, b.N))
	})
	for _, l := range layers {
		l.refs.Add(1)
	}
	v.dead.Store(dead)
	v.refs.Store(1)
	return v
}

// acquire returns the current view; the caller releases it.
func (inv *Inverted) acquire() (*view, error) {
	for {
		v := inv.view.Load()
		if v == nil {
			return nil, ErrClosed
		}
		if v.refs.Add(1) > 0 {
			return v, nil
		}
		v.refs.Add(-1)
	}
}

// release gives up one reference. With the last one of a view that is not
// current any more, its layers go where [Inverted.sweep] finds them: a reader
// neither unmaps nor removes a file.
func (v *view) release() {
	if v.refs.Add(-1) != 0 || !v.refs.CompareAndSwap(0, retired) {
		return
	}
	for _, l := range v.layers {
		if l.refs.Add(-1) == 0 {
			v.inv.discard(l)
		}
	}
}

// swap makes the view that change returns the current one. It fails when the
// index is closed.
func (inv *Inverted) swap(change func(old *view) *view) error {
	inv.mu.Lock()
	old := inv.view.Load()
	if old == nil {
		inv.mu.Unlock()
		return ErrClosed
	}
	inv.view.Store(change(old))
	inv.mu.Unlock()
	old.release()
	return nil
}
