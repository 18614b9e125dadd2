package dagstore

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Who holds the old revision goes on reading it; its index goes after the last.
func TestReplace(t *testing.T) {
	r := newRig(t)
	old, m := r.put("old.car", 1, 200)
	fresh, n := r.put("new.car", 2, 100)
	r.register("a", m, &RegisterOptions{Labels: map[string]string{"x": "y"}, Pin: true})
	a, b := r.acquire("a"), r.acquire("a")
	defer b.Close()
	if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
		t.Fatal(err)
	}
	in := r.info("a")
	if in.URL != n.URL() || in.State != shard.Serving || in.Sections != 100 || in.Labels["x"] != "y" || !in.Local.Pinned || in.Holders != 2 {
		t.Errorf("%+v", in)
	}
	r.cars.Delete("old.car")
	r.has(fresh)
	r.lacks(old)
	r.holds(a, old)
	c := r.acquire("a")
	r.holds(c, fresh)
	a.Close()
	r.holds(b, old)
	if n := r.files(); n != 2 {
		t.Errorf("%d index files while the old revision is held", n)
	}
	b.Close()
	r.until("the old index is removed", func() bool { return r.files() == 1 })
	r.holds(c, fresh)
	c.Close()
	r.await("a", shard.Available)
	r.crash(0, 1)
	if in := r.info("a"); in.URL != n.URL() || in.State != shard.Available {
		t.Errorf("after a crash: %+v", in)
	}
	r.has(fresh)
	r.lacks(old)
}

// Options that are given take the place of those of the registration.
func TestReplaceOptions(t *testing.T) {
	r := newRig(t)
	_, m := r.put("old.car", 1, 20)
	fresh, n := r.put("new.car", 2, 20)
	r.register("a", m, &RegisterOptions{Labels: map[string]string{"x": "y"}, Pin: true})
	if err := r.store.Replace(r.ctx(), "a", n, &RegisterOptions{Verify: true, Labels: map[string]string{"z": "1"}}); err != nil {
		t.Fatal(err)
	}
	in := r.info("a")
	if in.Verified != shard.Full || in.Local.Pinned || len(in.Labels) != 1 || in.Labels["z"] != "1" {
		t.Errorf("%+v", in)
	}
	r.has(fresh)
	// The same place, with other bytes: a new export under an old name.
	other := r.putBytes("new.car", cartest.RandomV1(3, 20, 100))
	if err := r.store.Replace(r.ctx(), "a", other, nil); err != nil {
		t.Fatal(err)
	}
	r.has(cartest.Random(3, 20, 100))
	r.lacks(fresh)
}

// If the new revision cannot be indexed, the old one stays.
func TestReplaceFails(t *testing.T) {
	r := newRig(t)
	old, m := r.put("old.car", 1, 20)
	r.register("a", m, &RegisterOptions{Discard: true})
	before := r.info("a")
	if err := r.store.Replace(r.ctx(), "a", r.putBytes("bad.car", []byte("no CAR")), nil); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("%v", err)
	}
	in := r.info("a")
	if in.State != shard.Available || in.URL != m.URL() || in.Failure != nil || !in.Changed.Equal(before.Changed) {
		t.Errorf("%+v", in)
	}
	r.has(old)
	if n := r.files(); n != 1 {
		t.Errorf("%d index files", n)
	}
}

// A shard that failed under its holders serves again, beside them.
func TestReplaceWhileDraining(t *testing.T) {
	r := newRig(t)
	path, old := r.onDisk("a", 1, 20, 100)
	a := r.acquire("a")
	if err := os.Truncate(path, 1500); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Blockstore().Get(r.ctx(), old[19].CID); !errors.Is(err, shard.ErrChanged) {
		t.Fatal(err)
	}
	r.await("a", shard.Draining)
	fresh, n := r.put("new.car", 2, 20)
	if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.State != shard.Serving || in.Failure != nil {
		t.Errorf("%+v", in)
	}
	r.has(fresh)
	r.holds(a, old[:5])
	a.Close()
	r.await("a", shard.Available)
	r.until("the old index is removed", func() bool { return r.files() == 1 })
}

// A failed shard is available afterwards.
func TestReplaceAFailedShard(t *testing.T) {
	r := newRig(t)
	if err := r.store.Register(r.ctx(), "a", r.putBytes("bad.car", []byte("no CAR")), nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	fresh, n := r.put("new.car", 2, 20)
	if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.State != shard.Available || in.Failure != nil {
		t.Errorf("%+v", in)
	}
	r.has(fresh)
}

// A forced destroy ends the holds on every revision.
func TestReplaceThenForce(t *testing.T) {
	r := newRig(t)
	old, m := r.put("old.car", 1, 20)
	fresh, n := r.put("new.car", 2, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	defer a.Close()
	if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
		t.Fatal(err)
	}
	b := r.acquire("a")
	defer b.Close()
	if err := r.store.Destroy(r.ctx(), "a", nil); !errors.Is(err, shard.ErrHeld) {
		t.Errorf("while both are held: %v", err)
	}
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		a  *Accessor
		of []cartest.Block
	}{"old": {a, old}, "new": {b, fresh}} {
		if _, err := c.a.Blockstore().Get(r.ctx(), c.of[3].CID); !errors.Is(err, shard.ErrDestroyed) {
			t.Errorf("the holder of the %s revision: %v", name, err)
		}
	}
	a.Close()
	b.Close()
	r.until("the indices are removed", func() bool { return r.files() == 0 })
}

// replacing has a shard "a" replaced, which waits at the gate. It returns where
// the old revision lies, its blocks, and what Replace is going to return.
func (r *rig) replacing() (mount.Mount, []cartest.Block, <-chan error) {
	r.t.Helper()
	old, m := r.put("old.car", 1, 20)
	_, n := r.put("new.car", 2, 20)
	r.register("a", m, nil)
	r.gate = make(chan struct{})
	done := make(chan error, 1)
	ctx := r.ctx()
	go func() { done <- r.store.Replace(ctx, "a", n, nil) }()
	r.until("the work beside begins", func() bool { return r.info("a").Progress != nil })
	return m, old, done
}

// A destroy ends work beside, and whoever waits for it hears so.
func TestReplaceDestroyed(t *testing.T) {
	r := newRig(t)
	_, _, done := r.replacing()
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := soon(r, "the replace", done); !errors.Is(err, shard.ErrDestroying) {
		t.Errorf("%v", err)
	}
	close(r.gate)
	r.until("all files are removed", func() bool { return r.files() == 0 })
}

// Ends with the store: who waits hears that it is closed, and nothing is left.
func TestReplaceClosed(t *testing.T) {
	r := newRig(t)
	m, old, done := r.replacing()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := soon(r, "the replace", done); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	close(r.gate)
	r.open()
	if in := r.info("a"); in.URL != m.URL() || in.State != shard.Available {
		t.Errorf("%+v", in)
	}
	r.has(old)
}

// A crash between any two operations on the disk leaves the old or the new,
// whole, and no file that nobody names.
func TestCrashBeside(t *testing.T) {
	for name, c := range map[string]struct {
		seed uint64 // of what lies at the new place
		call func(r *rig, m mount.Mount) error
	}{
		"remount": {1, func(r *rig, m mount.Mount) error { return r.store.Remount(r.ctx(), "a", m, CompareFull) }},
		"replace": {2, func(r *rig, m mount.Mount) error { return r.store.Replace(r.ctx(), "a", m, nil) }},
		"pin":     {1, func(r *rig, _ mount.Mount) error { return r.store.Pin(r.ctx(), "a") }},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			n := 0
			for ; crashAt(t, n, c.seed, c.call, seen); n++ {
			}
			t.Logf("%d operations: %v", n, seen)
			if n == 0 || name != "pin" && len(seen) != 2 {
				t.Errorf("%d operations: %v", n, seen)
			}
		})
	}
}

// crashAt makes a call, and looks at what a crash just before its operation n
// would have left.
func crashAt(t *testing.T, n int, seed uint64, call func(*rig, mount.Mount) error, seen map[string]int) bool {
	r := newRig(t)
	defer func() { r.store.Close() }()
	old, m := r.put("old.car", 1, 30)
	fresh, at := r.put("new.car", seed, 30)
	r.register("a", m, nil)
	var once sync.Once
	var image *vfstest.Disk
	r.faults.Arm(vfstest.Op.Changes, func(i int, _ vfstest.Op) error {
		if i == n {
			once.Do(func() { image = r.disk.Crash([]int{0, 50, 100}[n%3], uint64(n)) })
		}
		return nil
	})
	if err := call(r, at); err != nil {
		t.Fatalf("operation %d: %v", n, err)
	}
	r.faults.Disarm()
	last := image == nil
	if last { // what is acknowledged is on disk
		image = r.disk.Crash(0, uint64(n))
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.disk = image
	r.open()
	in := r.info("a")
	seen[in.URL]++
	if in.State != shard.Available || last && in.URL != at.URL() && !in.Local.Pinned {
		t.Fatalf("operation %d: %v at %s", n, in.State, in.URL)
	}
	want := old
	if in.URL == at.URL() {
		want = fresh
	}
	r.has(want)
	a := r.acquire("a")
	r.holds(a, want)
	a.Close()
	r.until(fmt.Sprintf("operation %d: one index file is left", n), func() bool { return r.files() == 1 })
	return !last
}
