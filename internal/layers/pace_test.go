package layers

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dagstore/dagstore/index"
)

// slow is a clock on which every look takes some time.
func slow(c *clock, each time.Duration) func() time.Time {
	return func() time.Time {
		c.pass(each)
		return c.Now()
	}
}

// fourLayers registers as many shards as make a merge due.
func fourLayers(t *testing.T, d *disk, inv *Inverted) {
	t.Helper()
	for id := range index.ID(fanIn) {
		must(t, d.register(inv, id, span(100*int(id), 100*int(id)+350)))
		must(t, inv.Flush(t.Context()))
	}
}

// A merge that somebody looks up beside works its share of the time, and all
// of it when nobody does.
func TestMergeLeavesTime(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	var paused []time.Duration
	var inv *Inverted
	cfg.MergeShare = 0.25
	cfg.Now = slow(&clock{}, paceSlice)
	cfg.pause = func(_ context.Context, d time.Duration) error {
		paused = append(paused, d)
		mustFind(t, inv, 99_999) // and so there is somebody in the next slice
		return nil
	}
	inv = mustOpen(t, d, cfg)
	merge := func() {
		t.Helper()
		paused = nil
		if did, err := inv.Merge(t.Context()); !did || err != nil {
			t.Fatal(did, err)
		}
	}
	fourLayers(t, d, inv)
	inv.visited.Store(false)
	merge()
	if len(paused) != 0 {
		t.Errorf("nobody came, and there are pauses: %v", paused)
	}
	for range fanIn {
		must(t, d.register(inv, index.ID(d.ops), span(0, 1)))
		must(t, inv.Flush(t.Context()))
	}
	merge()
	if len(paused) == 0 {
		t.Fatal("somebody came, and there is no pause")
	}
	for _, p := range paused {
		if p != 3*paceSlice {
			t.Errorf("a pause of %v after %v of work, at a share of a quarter", p, paceSlice)
		}
	}
}

// With too many layers a merge does not pause.
func TestMergeHurries(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.Now = slow(&clock{}, paceSlice)
	cfg.pause = func(context.Context, time.Duration) error {
		t.Error("it pauses")
		return nil
	}
	inv := mustOpen(t, d, cfg)
	for id := range index.ID(maxLayers + 1) {
		must(t, d.register(inv, id, []int{1}))
		must(t, inv.Flush(t.Context()))
	}
	if did, err := inv.Merge(t.Context()); !did || err != nil {
		t.Fatal(did, err)
	}
}

// A merge that is held in the middle holds up nobody: adding, finding, dropping
// and flushing go on, and what they did is in what the merge leaves.
func TestHeldMergeBlocksNobody(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	held, release := make(chan struct{}), make(chan struct{})
	cfg.Now = slow(&clock{}, paceSlice)
	cfg.pause = func(context.Context, time.Duration) error {
		select {
		case <-release:
		case held <- struct{}{}:
			<-release
		}
		return nil
	}
	inv := mustOpen(t, d, cfg)
	fourLayers(t, d, inv)
	merged := make(chan error)
	go func() {
		did, err := inv.Merge(t.Context())
		if err == nil && !did {
			err = errors.New("there was nothing to merge")
		}
		merged <- err
	}()
	<-held
	mustFind(t, inv, 320, 3, 2, 1, 0)
	must(t, d.register(inv, 100, []int{320}))
	must(t, inv.Flush(t.Context()))
	must(t, d.register(inv, 101, []int{320}))
	must(t, d.register(inv, 102, span(0, 500))) // a layer of its own
	must(t, d.destroy(inv, 2))
	must(t, d.destroy(inv, 100))
	mustFind(t, inv, 320, 102, 101, 3, 1, 0)
	if s := inv.Stats(); s.Layers != fanIn+2 {
		t.Errorf("%d layers while the merge is held", s.Layers)
	}
	close(release)
	must(t, <-merged)
	mustFind(t, inv, 320, 102, 101, 3, 1, 0)
	for inv.MergeDue() {
		if _, err := inv.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustFind(t, inv, 320, 102, 101, 3, 1, 0)
}

// While a large merge takes its time, the small layers that come are merged
// before it goes on, so that there are never many.
func TestSmallMergesGoFirst(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.Now = slow(&clock{}, paceSlice)
	cfg.slow = func(context.Context, time.Duration) error { return nil }
	var inv *Inverted
	next, most := index.ID(100), 0
	cfg.pause = func(context.Context, time.Duration) error {
		for range 5 {
			must(t, d.register(inv, next, []int{7}))
			must(t, inv.Flush(t.Context()))
			most = max(most, inv.Stats().Layers)
			next++
		}
		return nil
	}
	inv = mustOpen(t, d, cfg)
	for id := range index.ID(fanIn) {
		must(t, d.register(inv, id, span(0, 30_000)))
	}
	if did, err := inv.Merge(t.Context()); !did || err != nil {
		t.Fatal(did, err)
	}
	if came := int(next - 100); came <= 4*maxLayers || most > 2*maxLayers {
		t.Errorf("%d small layers came meanwhile, and there were up to %d", came, most)
	}
	var want []index.ID
	for id := next - 1; id >= 100; id-- {
		want = append(want, id)
	}
	mustFind(t, inv, 7, append(want, 3, 2, 1, 0)...)
}

// When more small layers have come than are much smaller than what a large merge
// merges, those that are go first all the same.
func TestSomeOfManyGoFirst(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	inv := mustOpen(t, d, cfg)
	id := index.ID(0)
	register := func(count, each int) {
		for range count {
			must(t, d.register(inv, id, span(0, each)))
			must(t, inv.Flush(t.Context()))
			id++
		}
	}
	register(fanIn, 3000)
	outer := inv.newPace(slices.Clone(inv.view.Load().layers), nil)
	const few, each = 7, 400 // of which 7 fit in a quarter
	register(3*few, each)
	must(t, inv.mergeMeanwhile(t.Context(), outer))
	if n := inv.Stats().Layers; n != fanIn+2*few+1 {
		t.Errorf("%d layers are left of %d and %d", n, fanIn, 3*few)
	}
	outer.group = outer.group[:1] // than which four of them are not much smaller
	must(t, inv.mergeMeanwhile(t.Context(), outer))
	if n := inv.Stats().Layers; n != fanIn+2*few+1 {
		t.Errorf("%d layers are left beside a small merge", n)
	}
}

// Whoever adds while merges are behind takes longer, by how much they are, and
// only then.
func TestAddSlowsDown(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.Now = slow(&clock{}, time.Millisecond)
	var paused []time.Duration
	cfg.slow = func(_ context.Context, d time.Duration) error {
		paused = append(paused, d)
		return nil
	}
	inv := mustOpen(t, d, cfg)
	id := index.ID(0)
	for inv.Stats().Layers <= maxLayers {
		must(t, d.register(inv, id, []int{1}))
		must(t, inv.Flush(t.Context()))
		id++
	}
	if len(paused) > 0 {
		t.Fatalf("with %d layers: pauses %v", maxLayers, paused)
	}
	last := time.Duration(0)
	for range mostSlowed {
		paused = nil
		k := inv.NewKeys(1 << 20)
		must(t, k.Add(t.Context(), block(1)))
		must(t, inv.AddKeys(t.Context(), id, k, atOnce))
		must(t, k.Close())
		must(t, d.register(inv, id+1, []int{1}))
		if len(paused) != 2 || paused[0] < last || paused[1] <= 0 {
			t.Fatalf("with %d layers, after %v: pauses %v", inv.Stats().Layers, last, paused)
		}
		last = paused[0]
		must(t, inv.Flush(t.Context()))
		id += 2
	}
	if worked := last / mostSlowed; worked < time.Millisecond || worked > 20*time.Millisecond {
		t.Errorf("at the end a pause of %v", last)
	}
	var want []index.ID
	for i := range id {
		want = append(want, id-1-i)
	}
	mustFind(t, inv, 1, want...)
}

// The end of its context ends a pause, and the merge with nothing changed.
func TestPauseEnds(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.MergeShare = 0.000001
	cfg.Now = slow(&clock{}, paceSlice)
	inv := mustOpen(t, d, cfg)
	fourLayers(t, d, inv)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := pause(ctx, time.Hour); !errors.Is(err, stop) {
		t.Errorf("pause: %v", err)
	}
	if did, err := inv.Merge(ctx); did || !errors.Is(err, stop) {
		t.Errorf("Merge: %v, %v", did, err)
	}
	if s := inv.Stats(); s.Layers != fanIn {
		t.Errorf("%d layers", s.Layers)
	}
}

// When nothing was added for a while, layers are merged further: down to few,
// whatever their sizes.
func TestIdleMerges(t *testing.T) {
	d := newDisk()
	c := &clock{now: time.Unix(1, 0)}
	cfg := d.config()
	cfg.Now = c.Now
	inv := mustOpen(t, d, cfg)
	for id := range index.ID(3) {
		must(t, d.register(inv, id, span(0, 300)))
		must(t, inv.Flush(t.Context()))
	}
	if inv.MergeDue() {
		t.Fatal("a merge is due while shards are added")
	}
	c.pass(defaultIdleAfter)
	if !inv.MergeDue() {
		t.Fatal("no merge is due in idle time")
	}
	for inv.MergeDue() {
		if _, err := inv.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s := inv.Stats(); s.Layers != 1 {
		t.Errorf("%d layers", s.Layers)
	}
	mustFind(t, inv, 7, 2, 1, 0)
	must(t, d.register(inv, 9, []int{7}))
	if inv.MergeDue() {
		t.Error("a merge is due after an add")
	}
}

// In idle time sizes end up at least doubling, so there are few layers and an
// entry is written again only when its layer grows by half.
func TestPickIdle(t *testing.T) {
	for _, c := range []struct {
		sizes []int64
		want  []int
	}{
		{nil, nil},
		{[]int64{5}, nil},
		{[]int64{5, 1000}, nil},
		{[]int64{1, 5, 1000}, nil},
		{[]int64{1000, 5, 5}, []int{1, 2}},
		{[]int64{1, 1, 1, 4, 4, 4, 16, 16, 16}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{[]int64{500, 400, 1000}, []int{1, 0, 2}},
	} {
		var sizes []size
		for _, n := range c.sizes {
			sizes = append(sizes, size{entries: n})
		}
		if got := pickIdle(sizes); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.sizes, got, c.want)
		}
	}
}
