package layers

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

func TestFindInTableAndLayers(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, span(0, 10)))
	must(t, d.register(inv, 3, span(5, 15)))
	must(t, d.register(inv, 2, span(5, 6)))
	mustFind(t, inv, 5, 3, 2, 1)
	must(t, inv.Sync(t.Context()))
	must(t, d.register(inv, 4, span(5, 20)))
	mustFind(t, inv, 0, 1)
	mustFind(t, inv, 5, 4, 3, 2, 1)
	mustFind(t, inv, 19, 4)
	mustFind(t, inv, 20)
	got, err := inv.Find([]index.ID{77}, block(5), 2)
	if want := []index.ID{77, 4, 3}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Find with limit 2 appends to %v, %v; want %v", got, err, want)
	}
	if len(d.pending) != 1 || !d.pending[4] {
		t.Errorf("pending after Sync of 1 to 3: %v", d.pending)
	}
}

func TestDropIsAtOnce(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, span(0, 10)))
	must(t, inv.Flush(t.Context()))
	must(t, d.register(inv, 2, span(0, 10)))
	must(t, d.destroy(inv, 1))
	mustFind(t, inv, 5, 2)
	must(t, d.destroy(inv, 2))
	mustFind(t, inv, 5)
	must(t, d.destroy(inv, 3))
	must(t, inv.Add(t.Context(), 3, blocks(span(0, 10))))
	mustFind(t, inv, 5)
	must(t, inv.Flush(t.Context()))
	if len(d.dead) != 1 || !d.dead[1] || len(d.pending) != 0 {
		t.Errorf("dead %v, pending %v; want only 1 dead, which a layer still holds", d.dead, d.pending)
	}
	if did, err := inv.Merge(t.Context()); !did || err != nil {
		t.Fatalf("Merge of a dead layer: %v, %v", did, err)
	}
	if len(d.dead) != 0 || len(d.files) != 0 || len(d.list) != 0 {
		t.Errorf("a layer without life leaves dead %v, list %v, %d files", d.dead, d.list, len(d.files))
	}
}

func TestAddAgainIsHarmless(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for range 3 {
		must(t, inv.Add(t.Context(), 7, blocks([]int{1, 1, 2})))
		mustFind(t, inv, 1, 7)
	}
	must(t, inv.Flush(t.Context()))
	must(t, d.register(inv, 7, []int{1, 1, 2}))
	mustFind(t, inv, 1, 7)
	if n := inv.Stats().Entries; n != 2 {
		t.Errorf("the layer has %d entries, want 2", n)
	}
	must(t, inv.Flush(t.Context()))
	if d.pending[7] {
		t.Error("a shard that a layer holds stays pending")
	}
}

func TestIdentityIsLeftOut(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	mh := multihash.Multihash{identity, 2, 'h', 'i'}
	must(t, inv.Add(t.Context(), 1, func(yield func(multihash.Multihash, error) bool) { yield(mh, nil) }))
	if got, err := inv.Find(nil, mh, 0); len(got) != 0 || err != nil {
		t.Errorf("an identity multihash is found: %v, %v", got, err)
	}
}

func TestAddFailsWhole(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	broken := errors.New("broken")
	for _, n := range []int{10, 1000} { // one for memory, one for a layer of its own
		err := inv.Add(t.Context(), 1, func(yield func(multihash.Multihash, error) bool) {
			for i := range n {
				if !yield(block(i), nil) {
					return
				}
			}
			yield(nil, broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("Add of %d and an error: %v", n, err)
		}
		mustFind(t, inv, 5)
	}
	if len(d.files) != 0 || inv.Holds(1) {
		t.Errorf("failed Adds leave %d files, Holds %v", len(d.files), inv.Holds(1))
	}
}

func TestLargeShardIsALayer(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, append(span(0, 3500), span(100, 200)...)))
	if d.pending[1] || len(d.list) != 1 || !inv.Holds(1) {
		t.Errorf("pending %v, list %v", d.pending, d.list)
	}
	if s := inv.Stats(); s.Entries != 3500 || s.Layers != 1 {
		t.Errorf("stats %+v", s)
	}
	for n := range 3500 {
		mustFind(t, inv, n, 1)
	}
	mustFind(t, inv, 3500)
	if got := len(inv.view.Load().layers[0].parts); got != 4 {
		t.Errorf("%d partitions of 3,500 keys, want 4", got)
	}
}

func TestDue(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	c := &clock{now: time.Unix(1e9, 0)}
	cfg.Now = c.Now
	inv := mustOpen(t, d, cfg)
	check := func(want bool, when string) {
		t.Helper()
		if got := inv.Due(); got != want {
			t.Errorf("Due %s is %v", when, got)
		}
	}
	c.pass(time.Hour)
	check(false, "while empty")
	must(t, inv.Add(t.Context(), 1, blocks(span(0, 10))))
	check(false, "with a little")
	c.pass(defaultMaxAge)
	check(true, "with something old")
	d.failAt = d.ops + 1
	if err := inv.Flush(t.Context()); !errors.Is(err, errIO) {
		t.Errorf("Flush on a bad disk: %v", err)
	}
	check(false, "after a failure")
	c.pass(defaultMaxAge)
	check(true, "some time after a failure")
	must(t, inv.Flush(t.Context()))
	check(false, "after Flush")
	must(t, inv.Add(t.Context(), 2, blocks(span(0, 400))))
	check(true, "with many entries")
	must(t, inv.Flush(t.Context()))
	for id := range index.ID(cfg.MemShards) {
		check(false, "with few shards")
		must(t, inv.Add(t.Context(), 10+id, blocks(nil)))
	}
	check(true, "with many shards")
}

// Memory is bounded also if nobody asks Due: Add flushes, or fails if it cannot.
func TestMemoryIsBounded(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for id := range index.ID(60) {
		must(t, d.register(inv, id, span(int(id)*100, int(id)*100+100)))
		if s := inv.Stats(); s.MemShards > 16 {
			t.Fatalf("%d shards in memory", s.MemShards)
		}
	}
	must(t, inv.Flush(t.Context()))
	for id := range index.ID(60) {
		mustFind(t, inv, int(id)*100+50, id)
	}
}

// What comes while a flush is at work waits for the next one: it would be a
// layer of its own each time.
func TestFlushMakesOneLayer(t *testing.T) {
	d := newDisk()
	var inv *Inverted
	late := index.ID(100)
	cfg := d.config()
	cfg.Commit = func(ctx context.Context, c Change) error {
		late++
		return errors.Join(d.commit(ctx, c), d.register(inv, late, span(0, 3)))
	}
	inv = mustOpen(t, d, cfg)
	must(t, d.register(inv, 1, span(0, 300)))
	must(t, inv.Flush(t.Context()))
	if s := inv.Stats(); s.Layers != 1 || s.MemShards != 1 {
		t.Errorf("%d layers and %d shards in memory, want 1 and 1", s.Layers, s.MemShards)
	}
	mustFind(t, inv, 2, 101, 1)
	// What an earlier flush left does not count.
	d.mu.Lock()
	d.failAt = d.ops + 1
	d.mu.Unlock()
	if err := inv.Flush(t.Context()); !errors.Is(err, errIO) {
		t.Fatalf("Flush on a bad disk: %v", err)
	}
	must(t, d.register(inv, 2, span(0, 3)))
	must(t, inv.Flush(t.Context()))
	if d.pending[2] {
		t.Error("what was added before Flush is still pending")
	}
}

func TestClose(t *testing.T) {
	d := newDisk()
	inv, err := d.start(d.config(), nil)
	must(t, err)
	must(t, d.register(inv, 1, span(0, 500)))
	must(t, d.register(inv, 2, span(0, 10)))
	err = inv.Candidates(block(5), func(id index.ID) bool {
		if id != 2 {
			return true
		}
		// A reader of an older view than Close's, in the middle of it.
		must(t, inv.Flush(t.Context()))
		return true
	})
	must(t, err)
	must(t, inv.Close(t.Context()))
	must(t, inv.Close(t.Context()))
	if d.open != 0 || len(d.pending) != 0 {
		t.Errorf("Close leaves %d files open and %v pending", d.open, d.pending)
	}
	if _, err := inv.Find(nil, block(1), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Find after Close: %v", err)
	}
	if err := inv.Add(t.Context(), 9, blocks(nil)); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if err := inv.Drop(9); !errors.Is(err, ErrClosed) {
		t.Errorf("Drop after Close: %v", err)
	}
	if _, err := inv.Merge(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Merge after Close: %v", err)
	}
	if inv.Due() || inv.MergeDue() || inv.Holds(1) || inv.Stats() != (Stats{}) {
		t.Error("a closed index has something to say")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, inv.flushing.lock(t.Context()))
	must(t, inv.merging.lock(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inv.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	if _, err := inv.Merge(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Merge: %v", err)
	}
	inv.flushing.unlock()
	inv.merging.unlock()
	if err := inv.Add(ctx, 1, blocks(span(0, 5000))); !errors.Is(err, context.Canceled) {
		t.Errorf("Add: %v", err)
	}
}

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	_, err := Open(t.Context(), Config{MemEntries: -1, MemShards: -1, MaxAge: -1, MergeShare: 2, IdleAfter: -1}, nil, nil)
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 8 {
		t.Errorf("eight faults give: %v", err)
	}
}
