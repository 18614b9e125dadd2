package layers

import (
	"context"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/dagstore/dagstore/index"
)

// shared returns an index of one layer: block 1 is in all of ids. dead are
// dead from the beginning.
func shared(t *testing.T, ids, dead []index.ID) *Inverted {
	t.Helper()
	d := newDisk()
	cfg := d.config()
	empty, err := Open(t.Context(), cfg, nil, nil)
	must(t, err)
	all := roaring.New()
	l, err := empty.writeLayer(t.Context(), all, func(w *writer) error {
		for _, id := range ids {
			all.Add(uint32(id))
			if err := w.add(empty.keyOf(block(1)), id); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	must(t, l.file.Close())
	must(t, empty.Close(t.Context()))
	inv, err := Open(t.Context(), cfg, []Layer{l.Layer}, dead)
	must(t, err)
	t.Cleanup(func() { must(t, inv.Close(context.Background())) })
	return inv
}

func ids(from, to, step index.ID) (out []index.ID) {
	for id := from; id < to; id += step {
		out = append(out, id)
	}
	return out
}

// What a look-up costs does not grow with the dead that are newer: a million
// that follow each other are passed at once, the first time too.
func TestBehindAMillionDead(t *testing.T) {
	const million = 1_000_000
	inv := shared(t, ids(0, million+1, 1), ids(1, million+1, 1))
	for range 2 {
		var got []index.ID
		steps, err := inv.candidates(block(1), func(id index.ID) bool { got = append(got, id); return false })
		if err != nil || !slices.Equal(got, []index.ID{0}) {
			t.Fatalf("found %v, %v", got, err)
		}
		if steps > 2*deadInARow {
			t.Errorf("%d postings were looked at", steps)
		}
	}
	must(t, inv.Drop(0))
	steps, err := inv.candidates(block(1), func(id index.ID) bool { t.Errorf("found %d", id); return true })
	if err != nil || steps > 2*deadInARow {
		t.Errorf("with none alive: %d postings, %v", steps, err)
	}
}

// Dead ones with others between them that live and do not have the block are
// walked past once.
func TestBehindScatteredDead(t *testing.T) {
	const million = 1_000_000
	inv := shared(t, append([]index.ID{1}, ids(2, million, 2)...), ids(2, million, 2))
	for i, most := range []int{million, 2 * deadUntilNoted, 2 * deadUntilNoted} {
		var got []index.ID
		steps, err := inv.candidates(block(1), func(id index.ID) bool { got = append(got, id); return true })
		if err != nil || !slices.Equal(got, []index.ID{1}) {
			t.Fatalf("found %v, %v", got, err)
		}
		if steps > most {
			t.Errorf("look-up %d: %d postings were looked at, want at most %d", i, steps, most)
		}
	}
	must(t, inv.Drop(1))
	for i, most := range []int{2 * deadUntilNoted, 2 * deadUntilNoted} {
		if steps, err := inv.candidates(block(1), func(id index.ID) bool { t.Errorf("found %d", id); return true }); err != nil || steps > most {
			t.Errorf("with none alive, look-up %d: %d postings, %v", i, steps, err)
		}
	}
}

// Whatever is dead, what is alive is found: in order, each once, now and when
// notes were taken.
func TestDeadAreSkippedAndNoOthers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk()
		cfg := d.config()
		cfg.MemShards, cfg.MemEntries = 10_000, 10_000
		inv, err := Open(context.Background(), cfg, nil, nil)
		if err != nil {
			rt.Fatal(err)
		}
		defer inv.Close(context.Background())
		n := index.ID(rapid.IntRange(1, 900).Draw(rt, "ids"))
		has := rapid.SliceOfN(rapid.Bool(), int(n), int(n)).Draw(rt, "has")
		flushes := rapid.IntRange(1, 5).Draw(rt, "layers")
		for id := range n {
			content := []int{1000 + int(id)}
			if has[id] || id%7 == 0 {
				content = append(content, 1)
			}
			if err := inv.Add(context.Background(), id, blocks(content)); err != nil {
				rt.Fatal(err)
			}
			if int(id)%(int(n)/flushes+1) == 0 {
				if err := inv.Flush(context.Background()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		alive := map[index.ID]bool{}
		for id := range n {
			alive[id] = has[id] || id%7 == 0
		}
		for range 4 {
			from := index.ID(rapid.IntRange(0, int(n)-1).Draw(rt, "from"))
			upTo := index.ID(rapid.IntRange(int(from), int(n)-1).Draw(rt, "to"))
			step := index.ID(rapid.IntRange(1, 4).Draw(rt, "step"))
			for id := from; id <= upTo; id += step {
				if err := inv.Drop(id); err != nil {
					rt.Fatal(err)
				}
				alive[id] = false
			}
			var want []index.ID
			for id := range n {
				if alive[n-1-id] {
					want = append(want, n-1-id)
				}
			}
			for range 2 {
				if got, err := inv.Find(nil, block(1), 0); err != nil || !slices.Equal(got, want) {
					rt.Fatalf("found %v, %v; want %v", got, err, want)
				}
			}
		}
	})
}

// lastAlive agrees with asking one by one, over arrays, bitmaps, runs, and the
// bounds of containers.
func TestLastAlive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dead := roaring.New()
		for range rapid.IntRange(0, 6).Draw(rt, "ranges") {
			from := rapid.IntRange(0, 200_000).Draw(rt, "from")
			upTo := from + rapid.IntRange(0, 150_000).Draw(rt, "length")
			dead.AddRange(uint64(from), uint64(upTo))
			for v, step := from, rapid.IntRange(100, 9000).Draw(rt, "step"); v < upTo; v += step {
				dead.Flip(uint64(v), uint64(v)+1)
			}
		}
		if rapid.Bool().Draw(rt, "optimize") {
			dead.RunOptimize()
		}
		for range 20 {
			id := index.ID(rapid.IntRange(0, 400_000).Draw(rt, "id"))
			want := int64(id)
			for want >= 0 && dead.Contains(uint32(want)) {
				want--
			}
			if got := lastAlive(dead, id); got != want {
				rt.Fatalf("the last alive up to %d is %d, want %d", id, got, want)
			}
		}
	})
}
