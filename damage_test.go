package dagstore

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

func TestBadCAR(t *testing.T) {
	r := newRig(t)
	data := cartest.RandomV1(1, 20, 100)
	bad := r.putBytes("bad.car", data[:len(data)-5])
	err := r.store.Register(r.ctx(), "bad", bad, nil)
	var fault *shard.Fault
	var about *shard.Error
	if !errors.Is(err, shard.ErrCAR) || !errors.As(err, &fault) || fault.Offset == 0 || !errors.As(err, &about) || about.Key != "bad" {
		t.Fatalf("a cut CAR: %v", err)
	}
	in := r.info("bad")
	if in.State != shard.Errored || in.Failure == nil || !errors.Is(in.Failure.Err, shard.ErrCAR) {
		t.Fatalf("info: %+v", in)
	}
	if _, err := r.store.Acquire(r.ctx(), "bad", nil); !errors.Is(err, shard.ErrFailed) || !errors.Is(err, shard.ErrCAR) {
		t.Errorf("acquire: %v", err)
	}
	r.reopen()
	if in := r.info("bad"); in.State != shard.Errored || !errors.Is(in.Failure.Err, shard.ErrCAR) || in.Failure.Attempts != 1 {
		t.Errorf("after a restart: %+v", in)
	}
	if err := r.store.Recover(r.ctx(), "bad", nil); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("recover of what is still bad: %v", err)
	}
	r.putBytes("bad.car", data)
	if err := r.store.Recover(r.ctx(), "bad", nil); err != nil {
		t.Fatal(err)
	}
	r.has(cartest.Random(1, 20, 100))

	bad = r.putBytes("worse.car", data[:len(data)-5])
	if err := r.store.Register(r.ctx(), "worse", bad, &RegisterOptions{Discard: true}); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("discard: %v", err)
	}
	if _, err := r.store.Info(r.ctx(), "worse"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("a bad CAR left something behind: %v", err)
	}
}

func TestSourceChanges(t *testing.T) {
	r := newRig(t)
	old, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	fresh, _ := r.put("a.car", 2, 30)
	r.open()
	a := r.acquire("a") // waits until it is indexed again
	defer a.Close()
	if in := r.info("a"); in.Sections != 30 {
		t.Errorf("sections: %d", in.Sections)
	}
	r.lacks(old)
	r.has(fresh)
}

func TestIndexIsLost(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	dir := r.disk.PathJoin("store", "index")
	dirs, err := r.disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if err := r.disk.RemoveAll(r.disk.PathJoin(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	a := r.acquire("a")
	defer a.Close()
	if _, err := a.Blockstore().Get(r.ctx(), blocks[7].CID); err != nil {
		t.Error(err)
	}
	r.has(blocks)
}

// A layer of the inverted index that is lost or damaged is made anew from the
// indices of the shards; the store opens all the same.
func TestLayerIsLost(t *testing.T) {
	for name, harm := range map[string]func(r *rig, path string) error{
		"gone": func(r *rig, path string) error { return r.disk.Remove(path) },
		"cut":  func(r *rig, path string) error { return vfs.WriteFile(r.disk, path, []byte("short")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			more, n := r.put("b.car", 2, 20)
			r.register("a", m, nil)
			r.register("b", n, nil)
			if err := r.store.Close(); err != nil { // writes the layer
				t.Fatal(err)
			}
			top := r.disk.PathJoin("store", "top")
			names, err := r.disk.List(top)
			if err != nil {
				t.Fatal(err)
			}
			harmed := 0
			for _, name := range names {
				if strings.HasSuffix(name, ".layer") {
					harmed++
					if err := harm(r, r.disk.PathJoin(top, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if harmed == 0 {
				t.Fatalf("no layer in %v", names)
			}
			r.open()
			r.has(blocks)
			r.has(more)
			r.reopen()
			r.has(blocks)
		})
	}
}

// A block is found while its shard, whose source was touched, is looked at
// again: the reader waits for what its own opening has found to be due.
func TestTouchedSourceIsStillFound(t *testing.T) {
	r := newRig(t)
	path, _ := r.onDisk("a", 1, 20, 100)
	for i := range 3 {
		when := time.Unix(1_000_000_000+int64(i), 0)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		r.has(cartest.Random(1, 20, 100))
		if in := r.info("a"); in.Sections != 20 || in.Source == "" {
			t.Errorf("%+v", in)
		}
	}
}

// A failed shard is told of, not taken for one that has nothing.
func TestFailedShardIsTold(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.putBytes("a.car", []byte("no CAR any more"))
	r.open()
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatalf("acquire: %v", err)
	}
	if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[0].CID); !errors.Is(err, shard.ErrFailed) {
		t.Errorf("get: %v", err)
	}
	for at, err := range r.store.Find(r.ctx(), blocks[0].CID) {
		t.Errorf("found in a failed shard: %v, %v", at, err)
	}
	good := r.putBytes("b.car", cartest.RandomV1(1, 20, 100))
	r.register("b", good, nil)
	r.has(blocks)
}
