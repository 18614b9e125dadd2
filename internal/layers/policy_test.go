package layers

import (
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// simulate adds n layers of a size, merging as the policy says, and returns the
// most layers there were and how often an entry was written on average.
func simulate(n int, entries int64) (most int, amplification float64) {
	var layers []size
	var written int64
	for range n {
		layers = append(layers, size{entries: entries})
		written += entries
		for group := pick(layers); group != nil; group = pick(layers) {
			var sum int64
			for _, i := range group {
				sum += layers[i].entries
			}
			slices.Sort(group)
			for _, i := range slices.Backward(group) {
				layers = slices.Delete(layers, i, i+1)
			}
			layers = append(layers, size{entries: sum})
			written += sum
		}
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
