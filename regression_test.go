package dagstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/shard"
)

// The regression bank: what stores like this one have got wrong before, one test
// for each, by its number. This file has those about what is kept, R1 to R11;
// R2 is in package filemount.

// R1: a key with "/", ".." or 300 characters escapes, collides or cannot be used.
func TestR01Keys(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 3)
	keys := []shard.Key{
		"../../etc/passwd", "/", "..", ".", "a/b", "a//b", "con", "nul\x00byte", "line\nbreak", "ümläut", "ä", "a\u0308",
		shard.Key(strings.Repeat("x", 300)), shard.Key(strings.Repeat("x", 299) + "y"), shard.Key(strings.Repeat("k", shard.MaxKey)), " ", "\x7f\x01",
	}
	for _, k := range keys {
		r.register(k, m, nil)
	}
	r.reopen()
	var have []shard.Key
	for in, err := range r.store.Shards(r.ctx(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, in.Key)
		if got := r.info(in.Key); got.Key != in.Key {
			t.Errorf("%q is found as %q", in.Key, got.Key)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(have, keys) {
		t.Errorf("listed: %q", have)
	}
	for _, k := range []shard.Key{"", "\xff", shard.Key(strings.Repeat("k", shard.MaxKey+1))} {
		if err := r.store.Register(r.ctx(), k, m, nil); !errors.Is(err, shard.ErrKey) {
			t.Errorf("%.20q: %v", k, err)
		}
	}
}

// R3: one failed fetch poisons the shard until a restart.
func TestR03FailedFetch(t *testing.T) {
	mended(t, mounttest.Fault{At: 100, Do: mounttest.Fail, Err: errors.New("the cable was pulled")}, shard.ErrSource)
}

// mended registers a shard whose source is at fault the first time, which must
// give an error that wraps want, and indexes it when the source is well.
func mended(t *testing.T, fault mounttest.Fault, want error) {
	r := newRig(t)
	data := cartest.RandomV1(1, 50, 100)
	r.cars.Put("a.car", data)
	first := true
	r.cfg.Mounts["once"] = func(string) (mount.Mount, error) {
		m, err := r.cars.Open("mem:a.car")
		if err != nil {
			return nil, err
		}
		m = renamed{m.(mount.FileOpener)}
		if first {
			return mounttest.Faulty(m, fault), nil
		}
		return m, nil
	}
	r.reopen()
	m, _ := r.cfg.Mounts["once"]("")
	if err := r.store.Register(r.ctx(), "a", m, nil); !errors.Is(err, want) {
		t.Errorf("a source that fails: %v, not %v", err, want)
	}
	if in := r.info("a"); in.State != shard.Errored {
		t.Errorf("%v", in.State)
	}
	first = false
	if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
		t.Fatalf("recover: %v", err)
	}
	r.has(cartest.Random(1, 50, 100))
}

// R4: start-up deletes files that the store did not make. What a killed
// process left in the spill folder goes, all else stays.
func TestR04ForeignFiles(t *testing.T) {
	dir := t.TempDir()
	start := func() *Store {
		s, err := Open(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := start().Close(); err != nil {
		t.Fatal(err)
	}
	foreign := []string{"notes.txt", "spill/notes.txt", "index/notes.txt", "top/0000002a.layer.bak", "index/1a"}
	stale := filepath.Join(dir, "spill", "dagstore-sort-1234")
	for _, name := range append(foreign, "spill/dagstore-sort-1234") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := start().Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale spill file: %v", err)
	}
}

// R5: a torn index counts as present after a crash. One that was not yet in a
// layer is found to be lost at start, and not only when somebody asks for the
// shard by its key: nobody who has a CID could.
func TestR05TornIndex(t *testing.T) {
	for name, harm := range map[string]func(r *rig, path string) error{
		"gone": func(r *rig, path string) error { return r.disk.Remove(path) },
		"torn": func(r *rig, path string) error { return vfs.WriteFile(r.disk, path, []byte("short")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			r.register("a", m, nil)
			r.crashed(100)
			paths := r.indexFiles()
			if len(paths) != 1 {
				t.Fatalf("index files: %v", paths)
			}
			if err := harm(r, paths[0]); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.until("its blocks are found", func() bool {
				has, err := r.store.Blockstore(nil).Has(r.ctx(), blocks[3].CID)
				return has && err == nil
			})
			r.await("a", shard.Available)
			r.has(blocks)
		})
	}
}

// R6: a failure to write the top-level index is only logged. The program is told
// of it, in Close too; nothing is lost by it.
func TestR06InvertedIndexIsNotWritten(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.faults.FailAt(0, true, func(op vfstest.Op) bool { return op.Writes() && op.Touches(".layer") }, syscall.EIO)
	r.has(blocks) // from memory
	if err := r.store.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	r.open()
	r.has(blocks)
}

// R7: a forged or damaged block is served.
func TestR07DamageIsNotServed(t *testing.T) {
	r := newRig(t)
	data := cartest.RandomV1(1, 20, 100)
	blocks := cartest.Random(1, 20, 100)
	forged := slices.Clone(data)
	forged[len(forged)-1] ^= 1 // in the last block
	m := r.putBytes("a.car", forged)
	r.register("a", m, nil)
	bs := r.store.Blockstore(nil)
	_, err := bs.Get(r.ctx(), blocks[19].CID)
	var fault *shard.Fault
	if !errors.Is(err, shard.ErrBlock) || !errors.As(err, &fault) || fault.Kind != shard.BadHash {
		t.Fatalf("a forged block: %v", err)
	}
	r.has(blocks[:19])
	if in := r.info("a"); in.Faults != 1 || len(in.Faulty) != 1 || in.State != shard.Available {
		t.Errorf("info: %d faults, %v", in.Faults, in.Faulty)
	}
	// A shard that has it whole is read in its place.
	r.register("b", r.putBytes("b.car", data), nil)
	r.has(blocks)
	// Verified while indexing, it is not even in the index.
	err = r.store.Register(r.ctx(), "v", m, &RegisterOptions{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	if in := r.info("v"); in.Faults != 1 || in.Verified != shard.Full || in.Sections != 20 || in.Multihashes != 19 {
		t.Errorf("verified: %+v", in)
	}
}

// R8: Destroy leaves index, copy and top-level entries behind; a new shard under
// the same key reuses the old index.
func TestR08KeyUsedAgain(t *testing.T) {
	t.Run("index", otherIndex)
	t.Run("faults", otherFaults)
}

func otherIndex(t *testing.T) {
	r := newRig(t)
	old, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.until("nothing is left of it", func() bool { return r.files() == 0 })
	fresh, n := r.put("b.car", 2, 20)
	r.register("a", n, nil)
	r.lacks(old)
	r.has(fresh)
	err := r.store.engine.Candidates(r.ctx(), old[0].CID.Hash(), func(id index.ID) bool {
		t.Errorf("the inverted index still has its block, in index %d", id)
		return true
	})
	if err != nil {
		t.Error(err)
	}
	r.reopen()
	r.lacks(old)
	r.has(fresh)
}

// Damage is told of an indexing, not of a key.
func otherFaults(t *testing.T) {
	r := newRig(t)
	data := cartest.RandomV1(1, 20, 100)
	blocks := cartest.Random(1, 20, 100)
	forged := slices.Clone(data)
	forged[len(forged)-1] ^= 1 // in the last block
	faulty := func(key shard.Key, want int64) {
		t.Helper()
		if in := r.info(key); in.Faults != want || int64(len(in.Faulty)) != want {
			t.Errorf("%q has %d faults, %v; want %d", key, in.Faults, in.Faulty, want)
		}
	}
	r.register("a", r.putBytes("a.car", forged), nil)
	for range 2 { // counts once
		if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[19].CID); !errors.Is(err, shard.ErrBlock) {
			t.Fatalf("a forged block: %v", err)
		}
	}
	faulty("a", 1)
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.register("a", r.putBytes("b.car", data), nil)
	r.has(blocks)
	faulty("a", 0)
}

// R9: a refused Destroy deletes the stored record. One that the disk refused
// while the shard was held has not happened, now or when the hold ends.
func TestR09RefusedDestroy(t *testing.T) {
	for name, manner := range map[string]HeldPolicy{"wait": Wait, "force": Force} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			r.register("a", m, nil)
			a := r.acquire("a")
			r.faults.FailAt(0, true, commits, syscall.EIO)
			if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: manner}); !errors.Is(err, ErrReadOnly) {
				t.Fatalf("destroy: %v", err)
			}
			if manner == Wait { // its holder, and new ones, go on
				if in := r.info("a"); in.State != shard.Serving || in.Holders != 1 {
					t.Errorf("held: %v, %d holders", in.State, in.Holders)
				}
				r.has(blocks)
				r.acquire("a").Close()
			}
			a.Close()
			r.await("a", shard.Available)
			r.has(blocks)
			if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: manner}); !errors.Is(err, ErrReadOnly) {
				t.Errorf("destroy again: %v", err)
			}
			r.acquire("a").Close()
			r.crashed(0) // or the refused batch might have reached the disk all the same
			r.open()
			if in := r.info("a"); in.State != shard.Available {
				t.Errorf("after a restart: %v", in.State)
			}
			r.has(blocks)
		})
	}
}

// R10: the last Close turns a failed shard into an available one.
func TestR10LastCloseOfAFailedShard(t *testing.T) {
	r := newRig(t)
	path, _ := r.onDisk("a", 1, 20, 100)
	a, b := r.acquire("a"), r.acquire("a")
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Blockstore().Get(r.ctx(), cartest.RandomBlock(1, 19, 100).CID); !errors.Is(err, shard.ErrChanged) {
		t.Errorf("get of what is cut off: %v", err)
	}
	r.await("a", shard.Draining)
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrFailed) {
		t.Errorf("acquire: %v", err)
	}
	a.Close()
	if in := r.info("a"); in.State != shard.Draining {
		t.Errorf("one of two has let go: %v", in.State)
	}
	b.Close()
	r.await("a", shard.Errored)
	r.reopen()
	if in := r.info("a"); in.State != shard.Errored || in.Failure == nil {
		t.Errorf("after a restart: %v", in.State)
	}
}

// R11: closing an accessor twice releases somebody else's hold.
func TestR11CloseTwice(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	r.register("a", m, nil)
	a, b := r.acquire("a"), r.acquire("a")
	a.Close()
	a.Close()
	if in := r.info("a"); in.Holders != 1 || in.State != shard.Serving {
		t.Errorf("one of two is left: %+v", in)
	}
	if err := r.store.Destroy(r.ctx(), "a", nil); !errors.Is(err, shard.ErrHeld) {
		t.Errorf("destroy of a held shard: %v", err)
	}
	b.Close()
}
