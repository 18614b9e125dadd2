package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// holds checks that a holder reads blocks as they are.
func (r *rig) holds(a *Accessor, blocks []cartest.Block) {
	r.t.Helper()
	for i, b := range blocks {
		got, err := a.Blockstore().Get(r.ctx(), b.CID)
		if err != nil || string(got.RawData()) != string(b.Data) {
			r.t.Fatalf("block %d: %v", i, err)
		}
	}
}

func TestRemount(t *testing.T) {
	for check, verified := range map[Comparison]shard.Verified{
		CompareSample: shard.Sampled, CompareFull: shard.Full, CompareNone: shard.Unverified,
	} {
		t.Run(fmt.Sprint(check), func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("old.car", 1, 200)
			_, n := r.put("new.car", 1, 200)
			r.register("a", m, &RegisterOptions{Labels: map[string]string{"x": "y"}, Pin: true})
			a := r.acquire("a")
			defer a.Close()
			index := r.indexFiles()
			if err := r.store.Remount(r.ctx(), "a", n, check); err != nil {
				t.Fatal(err)
			}
			in := r.info("a")
			if in.URL != n.URL() || in.State != shard.Serving || in.Verified != verified || in.Labels["x"] != "y" || !in.Local.Pinned || in.Progress != nil {
				t.Errorf("%+v", in)
			}
			r.cars.Delete("old.car")
			r.holds(a, blocks) // at the old place, which it has open
			b := r.acquire("a")
			defer b.Close()
			r.holds(b, blocks)
			r.has(blocks)
			r.crash(0, 1)
			if in := r.info("a"); in.URL != n.URL() || in.State != shard.Available {
				t.Errorf("after a crash: %+v", in)
			}
			r.has(blocks)
			if now := r.indexFiles(); !slices.Equal(now, index) {
				t.Error("it was indexed again")
			}
		})
	}
}

// What is another CAR is refused, and nothing changes.
func TestRemountDiffers(t *testing.T) {
	const few, many = 10, 2000
	flip := func(n int, at int) []byte {
		data := cartest.RandomV1(1, n, 100)
		data[len(data)-at] ^= 1
		return data
	}
	all := cartest.Random(1, many, 100)
	swapped := slices.Clone(all)
	swapped[700], swapped[1300] = swapped[1300], swapped[700]
	twice := slices.Clone(all)
	twice[700] = twice[1300]
	for name, c := range map[string]struct {
		blocks int
		there  []byte
		checks []Comparison
	}{
		"another CAR":               {many, cartest.RandomV1(2, many, 100), []Comparison{CompareSample, CompareFull}},
		"no CAR":                    {many, make([]byte, len(flip(many, 1))), []Comparison{CompareSample, CompareFull}},
		"another size":              {many, cartest.RandomV1(1, many+1, 100), []Comparison{CompareSample, CompareFull, CompareNone}},
		"a bit in one of few":       {few, flip(few, 1), []Comparison{CompareSample, CompareFull}},
		"a bit in one of many":      {many, flip(many, 70_000), []Comparison{CompareFull}},
		"two blocks change places":  {many, withBlocks(cartest.RandomV1(1, many, 100), swapped), []Comparison{CompareFull}},
		"one in the place of other": {many, withBlocks(cartest.RandomV1(1, many, 100), twice), []Comparison{CompareFull}},
	} {
		t.Run(name, func(t *testing.T) { testDiffers(t, c.blocks, c.there, c.checks) })
	}
}

// withBlocks is a CAR with the header of data and other blocks.
func withBlocks(data []byte, blocks []cartest.Block) []byte {
	out := slices.Clone(data[:59])
	for _, b := range blocks {
		out = cartest.AppendBlock(out, b)
	}
	return out
}

func testDiffers(t *testing.T, n int, there []byte, checks []Comparison) {
	r := newRig(t)
	blocks, m := r.put("old.car", 1, n)
	r.register("a", m, nil)
	before := r.info("a")
	other := r.putBytes("new.car", there)
	for _, check := range checks {
		if err := r.store.Remount(r.ctx(), "a", other, check); !errors.Is(err, shard.ErrChanged) {
			t.Errorf("check %d: %v", check, err)
		}
		if in := r.info("a"); in.URL != before.URL || !in.Changed.Equal(before.Changed) || in.State != shard.Available {
			t.Errorf("check %d: %+v", check, in)
		}
	}
	r.has(blocks[:5])
}

func TestRemountRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("old.car", 1, 20)
	_, n := r.put("new.car", 1, 20)
	calls := map[string]func(shard.Key, mount.Mount) error{
		"remount": func(k shard.Key, m mount.Mount) error { return r.store.Remount(r.ctx(), k, m, CompareSample) },
		"replace": func(k shard.Key, m mount.Mount) error { return r.store.Replace(r.ctx(), k, m, nil) },
	}
	r.register("a", m, nil)
	r.register("going", m, nil)
	a := r.acquire("going")
	if err := r.store.DestroyShard(r.ctx(), "going", nil, &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	r.await("going", shard.Destroying)
	var elsewhere memmount.Set
	foreign := stranger{elsewhere.Put("x", nil)}
	_, gone := r.put("gone.car", 1, 20)
	r.cars.Delete("gone.car")
	for name, call := range calls {
		for _, c := range []struct {
			key  shard.Key
			m    mount.Mount
			want error
		}{
			{"none", n, shard.ErrUnknown},
			{"going", n, shard.ErrDestroying},
			{"", n, shard.ErrKey},
			{"a", foreign, mount.ErrScheme},
			{"a", nil, mount.ErrURL},
			{"a", gone, shard.ErrSource},
		} {
			err := call(c.key, c.m)
			var about *shard.Error
			if !errors.Is(err, c.want) || !errors.As(err, &about) || about.Key != c.key {
				t.Errorf("%s of %q: %v, want %v", name, c.key, err, c.want)
			}
		}
	}
	if err := r.store.Remount(r.ctx(), "a", n, 99); err == nil {
		t.Error("a Comparison of no meaning is taken")
	}
	a.Close()
	if in := r.info("a"); in.URL != m.URL() || in.State != shard.Available {
		t.Errorf("%+v", in)
	}
}

// A stranger is of a scheme that no registry knows.
type stranger struct{ mount.Mount }

func (stranger) URL() string { return "strange:x" }

// Work on a shard excludes work beside it, and one piece of work beside it
// another. The context governs the waiting only.
func TestRemountBusy(t *testing.T) {
	r := newRig(t)
	_, m := r.put("old.car", 1, 20)
	_, n := r.put("new.car", 1, 20)
	r.register("a", m, nil)
	r.gate = make(chan struct{})
	r.register("lazy", m, &RegisterOptions{Lazy: true})
	if err := r.store.AcquireShard(r.ctx(), "lazy", nil, nil); err != nil {
		t.Fatal(err)
	}
	r.await("lazy", shard.Initializing)
	if err := r.store.Remount(r.ctx(), "lazy", n, CompareNone); !errors.Is(err, shard.ErrBusy) {
		t.Errorf("while it is indexed: %v", err)
	}
	ctx, cancel := context.WithCancel(r.ctx())
	done := make(chan error, 1)
	go func() { done <- r.store.Remount(ctx, "a", n, CompareSample) }()
	r.until("the work beside begins", func() bool { return r.info("a").Progress != nil })
	if op := r.info("a").Progress.Op; op != shard.OpRemount {
		t.Errorf("progress of %q", op)
	}
	for range 2 {
		if err := r.store.Replace(r.ctx(), "a", n, nil); !errors.Is(err, shard.ErrBusy) {
			t.Errorf("beside other work beside: %v", err)
		}
	}
	cancel()
	if err := soon(r, "the one who left", done); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(r.gate)
	r.until("the work goes on", func() bool { return r.info("a").URL == n.URL() })
}

// A shard that nobody has indexed yet has nothing to compare; an acquire that
// wants it indexed goes before work beside.
func TestRemountLazy(t *testing.T) {
	r := newRig(t)
	_, m := r.put("old.car", 1, 20)
	blocks, n := r.put("new.car", 2, 30)
	r.register("a", m, &RegisterOptions{Lazy: true})
	r.cars.Delete("old.car")
	if err := r.store.Remount(r.ctx(), "a", n, CompareFull); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.State != shard.Registered || in.URL != n.URL() {
		t.Errorf("%+v", in)
	}
	r.acquire("a").Close()
	r.has(blocks)
	r.register("b", n, &RegisterOptions{Lazy: true})
	r.gate = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- r.store.Replace(r.ctx(), "b", n, nil) }()
	r.until("the work beside begins", func() bool { return r.info("b").Progress != nil })
	if err := r.store.AcquireShard(r.ctx(), "b", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := soon(r, "the replace", done); !errors.Is(err, shard.ErrBusy) {
		t.Errorf("%v", err)
	}
	close(r.gate)
	r.await("b", shard.Available)
}

// An opening that hangs at the old place is begun again at the new one.
func TestRemountWhileOpening(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("old.car", 1, 20)
	_, n := r.put("new.car", 1, 20)
	h := newHang(func(url string) bool { return strings.Contains(url, "old") })
	h.on.Store(false)
	r.mounts(h.wrap)
	r.reopen()
	r.register("a", m, nil)
	h.on.Store(true)
	out := make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	soon(r, "the hang", h.entered)
	if err := r.store.Remount(r.ctx(), "a", n, CompareSample); err != nil {
		t.Fatal(err)
	}
	got := soon(r, "the acquire", out)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	soon(r, "the end of the hang", h.left)
	r.holds(got.Accessor, blocks)
	got.Accessor.Close()
	r.await("a", shard.Available)
}

// A place that is read by ranges is compared by ranges, and read from then on
// in the version that was compared.
func TestRemountElsewhere(t *testing.T) {
	r := newRig(t)
	var label atomic.Value
	label.Store("one")
	r.labels(&label)
	r.reopen()
	blocks, m := r.put("old.car", 1, 200)
	_, n := r.put("new.car", 1, 200)
	r.register("a", m, nil)
	label.Store("two")
	for _, check := range []Comparison{CompareSample, CompareFull, CompareNone} {
		if err := r.store.Remount(r.ctx(), "a", n, check); err != nil {
			t.Fatal(err)
		}
		if in := r.info("a"); in.Source != "two" || in.URL != n.URL() {
			t.Errorf("%+v", in)
		}
		r.has(blocks)
	}
}

// What happens at the old place is no matter of the shard any more: a holder
// who meets a change there does not have it indexed again.
func TestRemountOldPlaceIsLost(t *testing.T) {
	r := newRig(t)
	path, blocks := r.onDisk("a", 1, 20, 100)
	a := r.acquire("a")
	defer a.Close()
	moved := filepath.Join(t.TempDir(), "b.car")
	if err := os.WriteFile(moved, cartest.RandomV1(1, 20, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := filemount.New(moved)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.Remount(r.ctx(), "a", m, CompareFull); err != nil {
		t.Fatal(err)
	}
	index := r.indexFiles()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Blockstore().Get(r.ctx(), blocks[19].CID); !errors.Is(err, shard.ErrChanged) {
		t.Errorf("the old holder: %v", err)
	}
	r.has(blocks)
	if in := r.info("a"); in.State != shard.Serving || in.Failure != nil {
		t.Errorf("%+v", in)
	}
	if now := r.indexFiles(); !slices.Equal(now, index) {
		t.Error("it was indexed again")
	}
}

// A failed shard can be moved to where it can be recovered.
func TestRemountFailed(t *testing.T) {
	r := newRig(t)
	if err := r.store.Register(r.ctx(), "a", r.putBytes("old.car", []byte("no CAR")), nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	blocks, n := r.put("new.car", 1, 20)
	if err := r.store.Remount(r.ctx(), "a", n, CompareSample); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.State != shard.Errored || in.URL != n.URL() {
		t.Errorf("%+v", in)
	}
	if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.has(blocks)
}

// A commit that fails leaves the shard where it was, for holders and for others.
func TestRemountCommitFails(t *testing.T) {
	for _, replace := range []bool{false, true} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("replace %v, held %v", replace, held), func(t *testing.T) {
				r := newRig(t)
				blocks, m := r.put("old.car", 1, 20)
				_, n := r.put("new.car", map[bool]uint64{false: 1, true: 2}[replace], 20)
				r.register("a", m, nil)
				if held {
					a := r.acquire("a")
					defer func() {
						r.holds(a, blocks)
						a.Close()
						r.await("a", shard.Available)
					}()
				}
				r.faults.FailAt(0, true, func(op vfstest.Op) bool { return commits(op) }, io.ErrShortWrite)
				call := func() error { return r.store.Remount(r.ctx(), "a", n, CompareFull) }
				if replace {
					call = func() error { return r.store.Replace(r.ctx(), "a", n, nil) }
				}
				if err := call(); !errors.Is(err, ErrReadOnly) {
					t.Errorf("%v", err)
				}
				in := r.info("a")
				if in.URL != m.URL() || held != (in.State == shard.Serving) || held != (in.Holders == 1) {
					t.Errorf("%+v", in)
				}
				b := r.acquire("a")
				r.holds(b, blocks)
				b.Close()
				r.has(blocks)
			})
		}
	}
}

// Without its index nothing says what the CAR at the old place held, so
// nothing is compared; whoever makes it anew can go on.
func TestRemountWithoutIndex(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("old.car", 1, 200)
	_, n := r.put("new.car", 1, 200)
	r.register("a", m, nil)
	r.reopen() // nothing of it is open
	for _, path := range r.indexFiles() {
		if err := r.disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.store.Remount(r.ctx(), "a", n, CompareFull); !errors.Is(err, shard.ErrIndex) {
		t.Fatalf("remount: %v, want ErrIndex", err)
	}
	if in := r.info("a"); in.URL != m.URL() {
		t.Errorf("after an error it lies at %s", in.URL)
	}
	r.acquire("a").Close()
	if err := r.store.Remount(r.ctx(), "a", n, CompareFull); err != nil {
		t.Fatal(err)
	}
	r.cars.Delete("old.car")
	r.has(blocks)
}
