package layers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/longtest"
)

// simulate adds n layers of a size, merging as the policy says, and returns the
// most layers there were and how often an entry was written on average.
func simulate(n int, entries int64) (most int, amplification float64) {
	var layers []size
	var written int64
	for range n {
		layers = append(layers, size{entries: entries})
		written += entries
		layers, written = settle(layers, written, pick)
		most = max(most, len(layers))
	}
	return most, float64(written) / float64(int64(n)*entries)
}

func TestLayersStayFew(t *testing.T) {
	for _, c := range []struct {
		n       int
		entries int64
		amp     float64
	}{
		{1000, 1_000_000, 5}, {1000, 1_200_000, 5}, {4000, 250_000, 7},
		// A store that is opened for one small shard and closed, ten thousand
		// times: rewriting what is smaller than tierBase costs bytes only.
		{10_000, 1, 10_000}, {10_000, 1000, 13},
	} {
		most, amp := simulate(c.n, c.entries)
		t.Logf("%d × %d entries: at most %d layers, written %.1f times", c.n, c.entries, most, amp)
		if most > maxLayers || amp > c.amp {
			t.Errorf("%d × %d entries: %d layers, written %.1f times", c.n, c.entries, most, amp)
		}
	}
}

// A billion entries, flushed as the table fills, in pieces of any size: at most
// 15 layers, each entry written at most five times; and idle time leaves few.
func TestABillionEntries(t *testing.T) {
	const billion = 1_000_000_000
	rng := rand.New(rand.NewPCG(longtest.Seed(), 1))
	for name, next := range map[string]func() int64{
		"tables":       func() int64 { return defaultMemEntries },
		"tables, over": func() int64 { return defaultMemEntries + rng.Int64N(defaultMemEntries) },
		"and large":    func() int64 { return defaultMemEntries + int64(rng.ExpFloat64()*2e6) },
		"one by one":   func() int64 { return 2_000_000 },
	} {
		var layers []size
		var total, written, idle int64
		most := 0
		for total < billion {
			n := min(next(), billion-total)
			layers, total, written = append(layers, size{entries: n}), total+n, written+n
			layers, written = settle(layers, written, pick)
			most = max(most, len(layers))
		}
		before := len(layers)
		layers, idle = settle(layers, 0, pickIdle)
		amp := float64(written) / billion
		longtest.Figure(t, "%s: %d entries, at most %d layers, each written %.3f times; %d layers, in idle time %d by writing %.2f more",
			name, total, most, amp, before, len(layers), float64(idle)/billion)
		if most > maxLayers || amp > 5 || len(layers) > 4 || float64(idle)/billion > 2 {
			t.Errorf("%s: %d layers, written %.3f times, %d in idle time", name, most, amp, len(layers))
		}
	}
}

// settle merges layers as long as choose says so, and adds to written what that writes.
func settle(layers []size, written int64, choose func([]size) []int) ([]size, int64) {
	for group := choose(layers); group != nil; group = choose(layers) {
		var sum int64
		for _, i := range group {
			sum += layers[i].entries
		}
		slices.Sort(group)
		for _, i := range slices.Backward(group) {
			layers = slices.Delete(layers, i, i+1)
		}
		layers, written = append(layers, size{entries: sum}), written+sum
	}
	return layers, written
}

func TestPick(t *testing.T) {
	of := func(entries ...int64) (sizes []size) {
		for _, n := range entries {
			sizes = append(sizes, size{entries: n})
		}
		return sizes
	}
	rotten := of(10, 1e6, 1e7)
	rotten[1].rotten = true
	many := of()
	for tier := range 8 {
		n := int64(tierBase) << (2 * tier)
		many = append(many, of(n, n)...)
	}
	for name, c := range map[string]struct {
		layers []size
		want   []int
	}{
		"none":            {nil, nil},
		"three of a kind": {of(5, 5, 5, 1e6, 1e6, 1e6), nil},
		"four":            {of(1e6, 5, 1e6, 1e6, 1e6), []int{0, 2, 3, 4}},
		"rotten":          {rotten, []int{1}},
		"too many":        {many, []int{0, 1, 2, 3}},
	} {
		if got := pick(c.layers); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What a merge leaves is what was there, without what was dead.
func TestMerge(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for id := range index.ID(9) {
		must(t, d.register(inv, id, span(int(id), int(id)+50)))
		must(t, inv.Flush(t.Context()))
		for {
			did, err := inv.Merge(t.Context())
			must(t, err)
			if !did {
				break
			}
		}
		if inv.MergeDue() {
			t.Fatal("a merge is due after Merge had nothing to do")
		}
	}
	if n := len(d.list); n >= fanIn || len(d.files) != n {
		t.Errorf("%d layers, %d files", n, len(d.files))
	}
	mustFind(t, inv, 40, 8, 7, 6, 5, 4, 3, 2, 1, 0)
	must(t, d.destroy(inv, 3))
	must(t, d.destroy(inv, 5))
	must(t, d.destroy(inv, 1))
	for inv.MergeDue() {
		if _, err := inv.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustFind(t, inv, 40, 8, 7, 6, 4, 2, 0)
	if len(d.dead) != 0 || inv.Holds(3) {
		t.Errorf("dead after they were merged away: %v", d.dead)
	}
}
