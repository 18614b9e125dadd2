package local

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// put opens a handle of id, puts it into c, and releases it.
func put(t *testing.T, c *Cache, id index.ID) (*Handle, *fakeIndex) {
	t.Helper()
	h, idx := opened(t, id)
	got, ok := c.Put(h)
	if !ok || got != h {
		t.Fatalf("Put of %d: %v, %v", id, got, ok)
	}
	c.Release(h)
	return h, idx
}

func TestCacheLookupPins(t *testing.T) {
	c := NewCache(CacheConfig{})
	_, idx := put(t, c, 7)
	h, ok := c.Lookup(7)
	if !ok || h.ID() != 7 {
		t.Fatal(h, ok)
	}
	if _, ok := c.Lookup(8); ok {
		t.Fatal("found what was never put")
	}
	c.Close()
	idx.check(t, 0)
	h.Unpin()
	idx.check(t, 1)
}

func TestCachePutOfAnIDThatIsThere(t *testing.T) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	first, _ := put(t, c, 7)
	second, idx := opened(t, 7)
	got, ok := c.Put(second)
	if !ok || got != first {
		t.Fatal("the second handle took the place of the first")
	}
	idx.check(t, 1)
	c.Release(got)

	first.Sever()
	third, _ := opened(t, 7)
	if got, ok := c.Put(third); !ok || got != third {
		t.Fatal("a severed handle stands in the way of a new one")
	}
	c.Release(third)
	if c.Len() != 1 {
		t.Fatalf("Len = %d", c.Len())
	}
}

func TestCacheEvictsWhatWasNotUsed(t *testing.T) {
	c := NewCache(CacheConfig{Idle: 3})
	defer c.Close()
	var idx [6]*fakeIndex
	for id := range index.ID(3) {
		_, idx[id] = put(t, c, id)
	}
	_, idx[3] = put(t, c, 3) // the hand clears every bit on its way, and takes the oldest
	idx[0].check(t, 1)
	// None has its bit now, and 1 is next; but it is used.
	h, ok := c.Lookup(1)
	if !ok {
		t.Fatal("1 is gone")
	}
	h.Unpin()
	_, idx[4] = put(t, c, 4)
	idx[1].check(t, 0)
	idx[2].check(t, 1)
	if c.Len() != 3 {
		t.Fatalf("Len = %d", c.Len())
	}
}

func TestCacheEvictsNothingThatIsReadIfItCan(t *testing.T) {
	c := NewCache(CacheConfig{Idle: 2})
	defer c.Close()
	_, first := put(t, c, 1)
	_, second := put(t, c, 2)
	one, _ := c.Lookup(1)
	put(t, c, 3)
	second.check(t, 1)
	three, _ := c.Lookup(3)
	put(t, c, 4)
	_, ok := c.Lookup(4)
	if c.Len() != 2 || ok {
		t.Fatalf("Len = %d, and 4, which nobody reads, is there: %v", c.Len(), ok)
	}
	// Where all of them are read, the bound holds all the same.
	fourth, _ := opened(t, 4)
	four, _ := c.Put(fourth)
	if !four.Pin() {
		t.Fatal("cannot pin")
	}
	c.Release(four)
	if c.Len() != 2 {
		t.Fatalf("Len = %d", c.Len())
	}
	first.check(t, 0)
	one.Unpin()
	three.Unpin()
	four.Unpin()
}

func TestCacheNeverClosesUnderAPinOrAHold(t *testing.T) {
	c := NewCache(CacheConfig{Idle: 1})
	defer c.Close()
	_, heldIdx := put(t, c, 1)
	held, ok := c.Hold(1)
	if !ok {
		t.Fatal("cannot hold")
	}
	_, pinnedIdx := put(t, c, 2)
	pinned, ok := c.Lookup(2)
	if !ok {
		t.Fatal("cannot pin")
	}
	for id := index.ID(3); id < 10; id++ {
		put(t, c, id)
	}
	heldIdx.check(t, 0)
	pinnedIdx.check(t, 0)
	if _, ok := c.Lookup(1); !ok {
		t.Fatal("what is held was evicted")
	}
	held.Unpin()
	pinned.Unpin()
	c.Release(held)
	put(t, c, 10)
	put(t, c, 11)
	put(t, c, 12)
	heldIdx.check(t, 1)
	pinnedIdx.check(t, 1)
}

func TestCacheKeepsToItsDescriptors(t *testing.T) {
	c := NewCache(CacheConfig{Idle: 100, Files: 4})
	defer c.Close()
	for id := range index.ID(20) {
		put(t, c, id)
		if s := c.Stats(); s.Files > 4 {
			t.Fatalf("%d descriptors", s.Files)
		}
	}
	if c.Len() != 4 {
		t.Fatalf("Len = %d", c.Len())
	}
}

func TestCacheWithoutIdleOnes(t *testing.T) {
	c := NewCache(CacheConfig{Idle: -1})
	defer c.Close()
	_, idx := put(t, c, 1)
	idx.check(t, 1)
	if c.Len() != 0 {
		t.Fatalf("Len = %d", c.Len())
	}
}

func TestCacheRemoveWaitsForNobodyAndTellsWhenClosed(t *testing.T) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	put(t, c, 1)
	held, _ := c.Hold(1)
	pinned, _ := c.Lookup(1)
	told := 0
	c.Remove(1, func() { told++ })
	if _, ok := c.Lookup(1); ok {
		t.Fatal("found after Remove")
	}
	if _, ok := c.Hold(1); ok {
		t.Fatal("held after Remove")
	}
	c.Remove(1, nil)
	c.Remove(1, func() { told++ }) // it is gone from the cache, and open all the same
	pinned.Unpin()
	if told != 0 {
		t.Fatal("told of a close under a hold")
	}
	if !held.Pin() {
		t.Fatal("who holds it may not read it any more")
	}
	held.Unpin()
	c.Release(held)
	if told != 2 {
		t.Fatalf("told %d times, want 2", told)
	}
	c.Remove(1, func() { told++ })
	if told != 3 {
		t.Fatal("not told at once of what is not open")
	}
	if s := c.Stats(); s != (Stats{}) {
		t.Fatalf("%+v", s)
	}
}

func TestCacheSeverReachesWhatWasRemoved(t *testing.T) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	_, idx := put(t, c, 1)
	held, _ := c.Hold(1)
	c.Remove(1, nil)
	c.Sever(1)
	if held.Pin() || !errors.Is(held.Err(), shard.ErrDestroyed) {
		t.Fatalf("a severed handle can be read: %v", held.Err())
	}
	idx.check(t, 0) // nothing is closed under a holder
	c.Release(held)
	idx.check(t, 1)

	_, idx = put(t, c, 2)
	held, _ = c.Hold(2)
	c.Sever(2)
	if _, ok := c.Lookup(2); ok || held.Pin() {
		t.Fatal("found after Sever")
	}
	c.Release(held)
	idx.check(t, 1)
}

func TestCacheCloseTakesBackEveryHold(t *testing.T) {
	c := NewCache(CacheConfig{})
	_, idx := put(t, c, 1)
	h, _ := c.Hold(1)
	_, removedIdx := put(t, c, 2)
	removed, _ := c.Hold(2)
	c.Remove(2, nil)
	reader, ok := c.Lookup(1)
	if !ok {
		t.Fatal("cannot pin")
	}
	c.Close()
	c.Close()
	removedIdx.check(t, 1)
	idx.check(t, 0)
	if h.Pin() || !errors.Is(h.Err(), ErrClosed) {
		t.Fatalf("a read after Close: %v", h.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Wait did not wait for a read: %v", err)
	}
	reader.Unpin()
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	idx.check(t, 1)
	c.Release(h) // by an accessor that is closed later
	c.Release(removed)
	idx.check(t, 1)
	late, lateIdx := opened(t, 3)
	if _, ok := c.Put(late); ok {
		t.Fatal("Put into a closed cache")
	}
	lateIdx.check(t, 1)
	if _, ok := c.Hold(1); ok {
		t.Fatal("Hold after Close")
	}
}

func TestCacheReleaseWithoutHoldPanics(t *testing.T) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	h, _ := put(t, c, 1)
	defer func() {
		if recover() == nil {
			t.Fatal("a hold was released that nobody had")
		}
	}()
	c.Release(h)
}

// TestCacheTableAgainstAMap puts and removes ids in the patterns that a table
// with tombstones finds hard.
func TestCacheTableAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tab := newTable(0)
	want := map[index.ID]*Handle{}
	for range 50_000 {
		id := index.ID(rng.Uint32N(500)) << (rng.Uint32N(3) * 8)
		switch h := want[id]; {
		case tab.get(id) != h:
			t.Fatalf("get(%d) = %p, want %p", id, tab.get(id), h)
		case h == nil:
			if tab.full() {
				tab = tab.grown()
			}
			want[id] = &Handle{id: id}
			tab.put(want[id])
		default:
			tab.remove(h)
			delete(want, id)
		}
	}
	if tab.live != len(want) || len(tab.all()) != len(want) {
		t.Fatalf("live %d, all %d, want %d", tab.live, len(tab.all()), len(want))
	}
}

// TestCacheFromManyGoroutines has 64 goroutines do everything at once to a
// cache that is far too small. No index may be used after it was closed, each
// is closed once, and in the end nothing is open.
func TestCacheFromManyGoroutines(t *testing.T) {
	c := NewCache(CacheConfig{Idle: 4})
	var mu sync.Mutex
	var made []*fakeIndex
	var wg sync.WaitGroup
	for g := range uint64(64) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 1))
			for range 300 {
				id := index.ID(rng.Uint32N(16))
				switch rng.Uint32N(8) {
				case 0:
					c.Remove(id, func() {})
				case 1:
					c.Sever(id)
				case 2:
					if h, ok := c.Hold(id); ok {
						_, _ = h.Index().Find(nil, nil, 0)
						c.Release(h)
					}
				case 3, 4:
					h, idx := opened(t, id)
					mu.Lock()
					made = append(made, idx)
					mu.Unlock()
					if h, ok := c.Put(h); ok {
						if h.Pin() {
							_, _ = h.Find(nil, nil, 0)
							h.Unpin()
						}
						c.Release(h)
					}
				default:
					if h, ok := c.Lookup(id); ok {
						if h.ID() != id {
							t.Errorf("Lookup(%d) gave %d", id, h.ID())
						}
						_, _ = h.Find(nil, nil, 0)
						h.Unpin()
					}
				}
			}
		})
	}
	wg.Wait()
	c.Close()
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, idx := range made {
		idx.check(t, 1)
	}
}

func TestCacheLookupAllocatesNothing(t *testing.T) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	put(t, c, 1)
	if n := testing.AllocsPerRun(100, func() {
		h, _ := c.Lookup(1)
		h.Unpin()
		h, _ = c.Hold(1)
		c.Release(h)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func benchmarkCache(b *testing.B, n index.ID) *Cache {
	c := NewCache(CacheConfig{Idle: int(n)})
	b.Cleanup(c.Close)
	for id := range n {
		h, _ := opened(b, id)
		h, _ = c.Put(h)
		c.Release(h)
	}
	return c
}

func BenchmarkLookup(b *testing.B) {
	c := benchmarkCache(b, 1024)
	for i := 0; b.Loop(); i++ {
		h, _ := c.Lookup(index.ID(i) % 1024)
		h.Unpin()
	}
}

func BenchmarkLookupParallel(b *testing.B) {
	c := benchmarkCache(b, 1024)
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.Uint32N(1024); pb.Next(); i++ {
			h, _ := c.Lookup(index.ID(i) % 1024)
			h.Unpin()
		}
	})
}

func BenchmarkHoldRelease(b *testing.B) {
	c := benchmarkCache(b, 1024)
	for i := 0; b.Loop(); i++ {
		h, _ := c.Hold(index.ID(i) % 1024)
		c.Release(h)
	}
}
