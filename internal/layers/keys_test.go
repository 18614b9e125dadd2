package layers

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/extsort"
)

// keysOf gathers blocks in the little memory that tests give.
func keysOf(t *testing.T, inv *Inverted, ns []int) *Keys {
	t.Helper()
	k := inv.NewKeys(1 << 10)
	for _, n := range ns {
		must(t, k.Add(t.Context(), block(n)))
	}
	must(t, k.Add(t.Context(), multihash.Multihash{identity, 2, 'h', 'i'}))
	if k.Len() != int64(len(ns)) {
		t.Errorf("%d keys of %d blocks", k.Len(), len(ns))
	}
	t.Cleanup(func() { must(t, k.Close()) })
	return k
}

// Keys that were gathered are found as if the index had been read, whether
// they go into memory or become a layer.
func TestAddKeys(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.Spill = t.TempDir()
	inv := mustOpen(t, d, cfg)
	must(t, inv.AddKeys(t.Context(), 1, keysOf(t, inv, []int{3, 1, 2, 1}), atOnce))
	many := append(span(0, 3500), span(100, 200)...)
	must(t, inv.AddKeys(t.Context(), 2, keysOf(t, inv, many), atOnce))
	if !inv.Settled(2) || inv.Settled(1) || len(d.list) != 1 {
		t.Errorf("settled: %v %v; %d layers", inv.Settled(1), inv.Settled(2), len(d.list))
	}
	mustFind(t, inv, 0, 2)
	for _, n := range []int{1, 2, 3} {
		mustFind(t, inv, n, 2, 1)
	}
	for n := 4; n < 3500; n++ {
		mustFind(t, inv, n, 2)
	}
	mustFind(t, inv, 3500)
	if s := inv.Stats(); s.Entries != 3500 {
		t.Errorf("%d entries, want 3500: repeated keys are one", s.Entries)
	}
	// What is there already, and what is dead, stays as it is.
	must(t, inv.AddKeys(t.Context(), 2, keysOf(t, inv, span(5000, 5010)), atOnce))
	mustFind(t, inv, 5000)
	must(t, d.destroy(inv, 3))
	must(t, inv.AddKeys(t.Context(), 3, keysOf(t, inv, span(0, 3000)), atOnce))
	mustFind(t, inv, 0, 2)
	if got := inv.Stats().Layers; got != 1 {
		t.Errorf("%d layers, want that of the living shard", got)
	}
}

// After an error nothing is found, and nothing is left behind.
func TestAddKeysFailsWhole(t *testing.T) {
	stop := errors.New("stop")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for _, n := range []int{100, 1000, 3500} { // in memory, spilled, in several partitions
		d := newDisk()
		cfg := d.config()
		cfg.Spill = t.TempDir()
		inv := mustOpen(t, d, cfg)
		if err := inv.AddKeys(ended, 1, keysOf(t, inv, span(0, n)), atOnce); !errors.Is(err, stop) {
			t.Errorf("%d keys under an ended context: %v", n, err)
		}
		k := keysOf(t, inv, span(0, n))
		must(t, k.Close())
		if err := inv.AddKeys(t.Context(), 1, k, atOnce); !errors.Is(err, extsort.ErrClosed) {
			t.Errorf("%d keys that were closed: %v", n, err)
		}
		mustFind(t, inv, 5)
		if len(d.files) != 0 || inv.Holds(index.ID(1)) {
			t.Errorf("failed AddKeys of %d leave %d files, Holds %v", n, len(d.files), inv.Holds(1))
		}
		if left, err := os.ReadDir(cfg.Spill); err != nil || len(left) > 1 { // the runs of ended, which Cleanup closes
			t.Errorf("%d files are left, %v", len(left), err)
		}
		must(t, inv.AddKeys(t.Context(), 1, keysOf(t, inv, span(0, n)), atOnce))
		mustFind(t, inv, 5, 1)
	}
}

// Nothing is found, durable or left behind before the index is on disk.
func TestAddKeysWaitsForTheIndex(t *testing.T) {
	lost := errors.New("the index could not be written")
	for _, n := range []int{100, 3500} {
		d := newDisk()
		cfg := d.config()
		cfg.Spill = t.TempDir()
		inv := mustOpen(t, d, cfg)
		err := inv.AddKeys(t.Context(), 1, keysOf(t, inv, span(0, n)), func(context.Context) error {
			mustFind(t, inv, 5)
			if len(d.list) != 0 {
				t.Error("the layer is committed before the index is on disk")
			}
			return lost
		})
		if !errors.Is(err, lost) {
			t.Errorf("AddKeys of %d = %v", n, err)
		}
		mustFind(t, inv, 5)
		if len(d.files) != 0 || len(d.list) != 0 || inv.Holds(1) || d.open != 0 {
			t.Errorf("%d keys: %d files, %d layers, %d open, Holds %v", n, len(d.files), len(d.list), d.open, inv.Holds(1))
		}
	}
}
