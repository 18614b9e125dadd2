package dagstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// copied registers a CAR that lies elsewhere, with a copy of data here.
func (r *rig) copied(data []byte, opts RegisterOptions) (path string) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), "copy.car")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
	opts.Copy = path
	r.register("a", r.putBytes("a.car", cartest.RandomV1(1, 100, 1000)), &opts)
	return path
}

// A copy is read in place of the source, to index and to serve, also after a
// restart and while the source is away. It is left as it is.
func TestCopyIsRead(t *testing.T) {
	r := newRig(t)
	read := r.meters(true)
	data := cartest.RandomV1(1, 100, 1000)
	path := r.copied(data, RegisterOptions{Lazy: true, Index: Hop})
	r.reopen()
	r.cars.Delete("a.car")
	for range 2 {
		a, err := r.store.Acquire(r.ctx(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.holds(a, cartest.Random(1, 100, 1000))
		a.Close()
		a, err = r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		r.crash(0, 1)
	}
	if n := read.Load(); n != 0 {
		t.Errorf("%d bytes of the source were read", n)
	}
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, data) {
		t.Errorf("the copy was touched: %v", err)
	}
}

// Without its copy, or with one of another size, the source is read.
func TestCopyIsGone(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"gone":  os.Remove,
		"short": func(path string) error { return os.Truncate(path, 5000) },
		"long":  func(path string) error { return os.Truncate(path, 500_000) },
		"a folder": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			read := r.meters(true)
			path := r.copied(cartest.RandomV1(1, 100, 1000), RegisterOptions{})
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			index := r.indexFiles()
			if _, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
				t.Errorf("an acquire of what is here only: %v", err)
			}
			if n := read.Load(); n != 0 {
				t.Errorf("and %d bytes of the source were read for it", n)
			}
			r.has(cartest.Random(1, 100, 1000))
			if read.Load() == 0 || !slices.Equal(r.indexFiles(), index) {
				t.Errorf("%d bytes of the source were read, index files %v", read.Load(), r.indexFiles())
			}
			a := r.acquire("a")
			defer a.Close()
			if _, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
				t.Errorf("while it is open elsewhere: %v", err)
			}
			if in := r.info("a"); in.State != shard.Serving || in.Holders != 1 {
				t.Errorf("%+v", in)
			}
		})
	}
}

// A copy that changes under its readers does not cost the index: who reads
// next reads the source.
func TestCopyChangesWhileOpen(t *testing.T) {
	r := newRig(t)
	r.meters(true)
	path := r.copied(cartest.RandomV1(1, 100, 1000), RegisterOptions{})
	a := r.acquire("a")
	defer a.Close()
	index := r.indexFiles()
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	blocks := cartest.Random(1, 100, 1000)
	if _, err := a.Blockstore().Get(r.ctx(), blocks[99].CID); !errors.Is(err, shard.ErrChanged) {
		t.Errorf("a holder of the copy: %v", err)
	}
	r.until("the source is read", func() bool {
		b := r.acquire("a")
		defer b.Close()
		_, err := b.Blockstore().Get(r.ctx(), blocks[99].CID)
		return err == nil
	})
	r.has(blocks)
	if in := r.info("a"); in.State == shard.Recovering || in.Failure != nil || !slices.Equal(r.indexFiles(), index) {
		t.Errorf("%+v", in)
	}
}

func TestCopyRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none"), dir} {
		if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Copy: path}); !errors.Is(err, shard.ErrSource) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A copy of the right size with other bytes never makes a wrong block pass.
func TestCopyLies(t *testing.T) {
	r := newRig(t)
	r.meters(true)
	data := cartest.RandomV1(1, 100, 1000)
	path := r.copied(data, RegisterOptions{})
	blocks := cartest.Random(1, 100, 1000)
	data[bytes.Index(data, blocks[50].Data)] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[50].CID); !errors.Is(err, shard.ErrBlock) {
		t.Errorf("%v", err)
	}
	r.has(blocks[:50])
}

// A copy is one of the revision that it was given with: what takes that one's
// place is read where it lies, be it as large as the copy or not to be reached.
func TestReplaceLeavesTheCopy(t *testing.T) {
	old, fresh := cartest.Random(1, 100, 1000), cartest.Random(2, 100, 1000)
	for _, there := range []bool{true, false} {
		r := newRig(t)
		r.meters(true)
		r.copied(cartest.RandomV1(1, 100, 1000), RegisterOptions{Piece: old[0].CID, Labels: map[string]string{"x": "y"}})
		m := r.putBytes("new.car", cartest.RandomV1(2, 100, 1000))
		if !there {
			r.cars.Delete("new.car")
		}
		err := r.store.Replace(r.ctx(), "a", m, nil)
		in := r.info("a")
		if there {
			if err != nil || in.URL != m.URL() || in.Piece.Defined() || in.Labels["x"] != "y" {
				t.Fatalf("%v: %+v", err, in)
			}
			r.has(fresh)
			r.lacks(old)
			continue
		}
		if !errors.Is(err, shard.ErrSource) || in.URL == m.URL() || !in.Piece.Defined() {
			t.Fatalf("of a CAR that is not there: %v: %+v", err, in)
		}
		r.has(old)
	}
}
