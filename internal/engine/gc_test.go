package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// add registers a shard of n blocks and waits until it is indexed.
func (r *watchRig) add(key shard.Key, seed uint64, n int) {
	r.t.Helper()
	r.cars.Put(string(key), cartest.RandomV1(seed, n, 100))
	if err := r.register(key, "mem:"+string(key), false); err != nil {
		r.t.Fatal(err)
	}
}

func (r *watchRig) gc() Collected {
	r.t.Helper()
	did, err := r.e.GC(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return did
}

// count is how many files of a kind there are.
func (r *watchRig) count(kind segment.Kind) (n int) {
	r.t.Helper()
	for _, err := range r.e.cfg.Segments.List(r.t.Context(), kind) {
		if err != nil {
			r.t.Fatal(err)
		}
		n++
	}
	return n
}

// A gatedCatalog holds up batches, if it is told to.
type gatedCatalog struct {
	catalog.Catalog
	holds func(b *catalog.Batch) bool
	there chan struct{} // one for each that is held up
	pass  chan struct{} // one for each that may go on

	asked func() // before somebody asks whose an index is
}

func (g *gatedCatalog) Owner(ctx context.Context, id index.ID) (shard.Key, error) {
	if g.asked != nil {
		g.asked()
	}
	return g.Catalog.Owner(ctx, id)
}

// newGate makes one that holds up what holds selects from the next opening on.
func (r *watchRig) newGate(holds func(b *catalog.Batch) bool) *gatedCatalog {
	r.gate = &gatedCatalog{holds: holds, there: make(chan struct{}, 10), pass: make(chan struct{})}
	r.reopen()
	return r.gate
}

func (g *gatedCatalog) Apply(ctx context.Context, b *catalog.Batch) error {
	if g.holds(b) {
		g.there <- struct{}{}
		<-g.pass
	}
	return g.Catalog.Apply(ctx, b)
}

// What is on its way belongs to somebody: an index whose record is not on disk
// yet, and a layer that is not in the list yet.
func TestGCSparesWhatIsOnItsWay(t *testing.T) {
	for name, holds := range map[string]func(b *catalog.Batch) bool{
		"index": func(b *catalog.Batch) bool { return len(b.Puts) > 0 && b.Puts[0].Record.Index.ID != 0 },
		"layer": func(b *catalog.Batch) bool { return len(b.AddLayers) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newWatchRig(t, false)
			gate := r.newGate(holds)
			r.gc()
			r.cars.Put("a", cartest.RandomV1(1, 20, 100))
			registered := make(chan error, 1)
			go func() {
				err := r.register("a", "mem:a", false)
				if err == nil {
					err = r.e.inverted.Flush(t.Context())
				}
				registered <- err
			}()
			<-gate.there
			g := &collection{e: r.e}
			if err := errors.Join(g.strays(t.Context()), g.strayLayers(t.Context())); err != nil || g.did != (Collected{}) {
				t.Errorf("%+v, %v", g.did, err)
			}
			gate.pass <- struct{}{}
			if err := <-registered; err != nil {
				t.Fatal(err)
			}
			if did := r.gc(); did != (Collected{}) || r.count(segment.Index) != 1 || r.count(segment.Layer) != 1 {
				t.Errorf("after the commit: %+v", did)
			}
		})
	}
}

// An index that is replaced while it is looked at is left to the loop, which
// removes it after its last holder.
func TestGCSparesWhatIsReplaced(t *testing.T) {
	r := newWatchRig(t, false)
	gate := r.newGate(func(*catalog.Batch) bool { return false })
	r.gc() // so that what a start does of this is over
	r.add("a", 1, 20)
	h, err := r.e.Acquire(t.Context(), "a", AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.cars.Put("b", cartest.RandomV1(2, 20, 100))
	g := &collection{e: r.e, owned: roaring.New()}
	gate.asked = sync.OnceFunc(func() {
		if _, err := r.e.Wait(NewReplace(t.Context(), "a", "mem:b", nil, nil)); err != nil {
			t.Error(err)
		}
	})
	err = g.look(t.Context(), stray{id: h.Record().Index.ID, file: true})
	if err != nil || len(g.bury) > 0 || g.did != (Collected{}) || r.count(segment.Index) != 2 {
		t.Errorf("%+v, %v, %d to be given up, %d files", g.did, err, len(g.bury), r.count(segment.Index))
	}
	h.Close()
	r.until("the old index is removed", func() bool { return r.count(segment.Index) == 1 })
}

// A file that the system would not remove stays remembered, and is tried again.
func TestGCTriesAgain(t *testing.T) {
	r := newWatchRig(t, false)
	r.add("a", 1, 20)
	r.add("b", 2, 20)
	if err := r.e.inverted.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.gc()
	isIndex := func(op vfstest.Op) bool { return op.Changes() && op.Touches(".idx") }
	r.faults.FailAt(0, true, isIndex, syscall.EBUSY)
	if err := r.destroy("a", lifecycle.DestroyRefuse); err != nil {
		t.Fatal(err)
	}
	r.until("it cannot be removed", func() bool { return r.e.ids.stuckNow() == 1 })
	for range 2 {
		if did := r.gc(); did.Files != 0 || did.Left != 1 || did.Forgotten != 0 || r.count(segment.Index) != 2 {
			t.Errorf("%+v, %d files", did, r.count(segment.Index))
		}
	}
	r.faults.Disarm()
	if did := r.gc(); did.Files != 1 || did.Left != 0 || did.Forgotten != 1 || r.count(segment.Index) != 1 {
		t.Errorf("%+v, %d files", did, r.count(segment.Index))
	}
	if ids := slices.Collect(r.e.inverted.IDs()); len(ids) != 1 {
		t.Errorf("ids with postings: %v", ids)
	}
}

func (s *ids) stuckNow() uint64 {
	s.way.Lock()
	defer s.way.Unlock()
	return s.stuck.GetCardinality()
}

// Close waits for visits, ends them, and lets nobody in after that.
func TestVisit(t *testing.T) {
	r := newWatchRig(t, false)
	ctx, leave, err := r.e.Visit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); r.close() }()
	<-ctx.Done()
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	if err := r.e.giveUp(ctx, []index.ID{7}); !errors.Is(err, context.Canceled) {
		t.Errorf("what is asked of a loop that has ended: %v", err)
	}
	leave()
	<-closed
	if _, _, err := r.e.Visit(t.Context()); !errors.Is(err, errShut) {
		t.Errorf("after Close: %v", err)
	}
}

// Layers of which much is dead are rewritten in a store in which nothing else
// happens: the tick has the layers looked after.
func TestIdleStoreForgetsItsDead(t *testing.T) {
	r := newWatchRig(t, false)
	for i := range 3 {
		r.add(shard.Key(rune('a'+i)), uint64(i), 20)
	}
	if err := r.e.inverted.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []shard.Key{"a", "b"} {
		if err := r.destroy(key, lifecycle.DestroyRefuse); err != nil {
			t.Fatal(err)
		}
	}
	if !r.e.inverted.MergeDue() {
		t.Fatal("no merge is due")
	}
	tick := &ticking{}
	tick.node.what, tick.node.of = whatDone, tick
	r.e.box.complete(&tick.node)
	r.until("the layer is rewritten", func() bool { return !r.e.inverted.MergeDue() })
	if s := r.e.inverted.Stats(); s.Layers != 1 || s.Entries != 20 {
		t.Errorf("%+v", s)
	}
}

// ticking does what the loop does at a tick.
type ticking struct{ node node }

func (x *ticking) finish(e *Engine) { e.tend() }
func (x *ticking) abandon(*Engine)  {}
