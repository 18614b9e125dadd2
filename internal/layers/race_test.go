package layers

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// Everybody works at once. A shard that was added before a lookup began is in
// its answer, one that was dropped before is not, and answers are in order.
func TestConcurrentUse(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	const adders, each, common = 3, 120, 999_999
	var added, dropping, dropped [adders * each]atomic.Bool
	var adding, rest sync.WaitGroup
	var done atomic.Bool
	for w := range adders {
		adding.Go(func() {
			for i := range each {
				id := index.ID(i*adders + w)
				content := append(span(int(id)*20, int(id)*20+20), common)
				if i == each/2 {
					content = append(content, span(1_000_000, 1_001_000)...)
				}
				if err := d.register(inv, id, content); err != nil {
					t.Error(err)
				}
				added[id].Store(true)
				if old := id / 2; id%4 == 3 && added[old].Load() {
					dropping[old].Store(true)
					if err := d.destroy(inv, old); err != nil {
						t.Error(err)
					}
					dropped[old].Store(true)
				}
			}
		})
	}
	loop := func(do func() error) {
		rest.Go(func() {
			for !done.Load() {
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error { return inv.Flush(t.Context()) })
	loop(func() error { _, err := inv.Merge(t.Context()); return err })
	loop(func() error { inv.Stats(); inv.Due(); return nil })
	for range 2 {
		loop(func() error {
			var must, gone [len(added)]bool
			for id := range added {
				must[id], gone[id] = added[id].Load(), dropped[id].Load()
			}
			got, err := inv.Find(nil, block(common), 0)
			if !slices.IsSortedFunc(got, func(a, b index.ID) int { return int(b) - int(a) }) {
				t.Errorf("not newest first: %v", got)
			}
			for _, id := range got {
				if gone[id] {
					t.Errorf("%d was dropped and is found", id)
				}
				must[id] = false
			}
			for id, missing := range must {
				if missing && !dropping[id].Load() {
					t.Errorf("%d was added and is not found", id)
				}
			}
			return err
		})
	}
	adding.Wait()
	done.Store(true)
	rest.Wait()
	// How far flushes got ahead of merges was the scheduler's to say. What they
	// have left is merged.
	for did := true; did; {
		var err error
		did, err = inv.Merge(t.Context())
		must(t, err)
	}
	if s := inv.Stats(); s.Layers > maxLayers {
		t.Errorf("%d layers", s.Layers)
	}
}

// A reader that is in the middle of a layer keeps it open, while merges and
// removals go on.
func TestLayerStaysUnderAReader(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	unread := 0
	cfg.Unread = func() { unread++ }
	inv := mustOpen(t, d, cfg)
	for id := range index.ID(fanIn) {
		must(t, d.register(inv, id, span(0, 10)))
		must(t, inv.Flush(t.Context()))
	}
	var got []index.ID
	err := inv.Candidates(block(3), func(id index.ID) bool {
		if id == fanIn-1 {
			if did, err := inv.Merge(t.Context()); !did || err != nil {
				t.Errorf("Merge: %v, %v", did, err)
			}
			if len(d.files) != fanIn+1 {
				t.Errorf("%d files while a reader is in them", len(d.files))
			}
			if unread > 0 || inv.SweepDue() {
				t.Errorf("%d files are said to be unread while a reader is in them", unread)
			}
		}
		got = append(got, id)
		return true
	})
	if want := []index.ID{3, 2, 1, 0}; err != nil || !slices.Equal(got, want) {
		t.Errorf("candidates %v, %v; want %v", got, err, want)
	}
	if n := inv.Stats().Trash; n != fanIn {
		t.Errorf("%d files to be removed, want %d", n, fanIn)
	}
	if unread != fanIn || !inv.SweepDue() {
		t.Errorf("%d files are said to be unread, want %d", unread, fanIn)
	}
	must(t, inv.Sweep(t.Context()))
	if s := inv.Stats(); len(d.files) != 1 || s.Trash != 0 || s.Layers != 1 {
		t.Errorf("%d files, %+v; want one layer", len(d.files), s)
	}
}

// Stopping early touches as little as if the block were in one shard.
func TestStoppingEarlyIsCheap(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.MemShards, cfg.MemEntries = 5000, 5000
	inv := mustOpen(t, d, cfg)
	for id := range index.ID(5000) {
		must(t, d.register(inv, id, []int{1}))
	}
	must(t, inv.Flush(t.Context()))
	before := d.reads
	if got, err := inv.Find(nil, block(1), 3); err != nil || !slices.Equal(got, []index.ID{4999, 4998, 4997}) {
		t.Errorf("%v, %v", got, err)
	}
	if pages := d.reads - before; pages > 8 {
		t.Errorf("%d pages read for three of 5,000 ids", pages)
	}
}

// An index that is replaced while it is looked for is found, by its old or by
// its new id: who replaces it adds the new one before the old one is dropped.
func TestReplacedWhileLookedFor(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, span(0, 10)))
	must(t, d.register(inv, 5, span(0, 10)))
	var got []index.ID
	must(t, inv.Candidates(block(3), func(id index.ID) bool {
		if id == 5 {
			must(t, d.register(inv, 9, span(0, 10)))
			must(t, inv.Drop(1))
		}
		got = append(got, id)
		return true
	}))
	if want := []index.ID{5, 1}; !slices.Equal(got, want) {
		t.Errorf("candidates %v, want %v", got, want)
	}
	got = nil
	must(t, inv.Candidates(block(3), func(id index.ID) bool {
		got = append(got, id)
		return true
	}))
	if want := []index.ID{9, 5}; !slices.Equal(got, want) {
		t.Errorf("afterwards candidates %v, want %v", got, want)
	}
}
