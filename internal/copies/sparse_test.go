package copies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// A far is a source that counts what is asked of it.
type far struct {
	data            []byte
	requests, bytes atomic.Int64
	wait            chan struct{} // if not nil, each request waits for it
	err             error
}

func newFar(size int) *far {
	f := &far{data: make([]byte, size)}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range f.data {
		f.data[i] = byte(rng.Uint32())
	}
	return f
}

func (f *far) open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	f.requests.Add(1)
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	f.bytes.Add(n)
	return io.NopCloser(bytes.NewReader(f.data[off : off+n])), nil
}

// sparseKeeper is a keeper with room for n units.
func sparseKeeper(fsys *vfstest.Faults, n int64, known ...Known) (*Keeper, error) {
	k := New(Config{FS: fsys, Dir: "store/copies", Quota: n*unit + 2*block, High: 1, Low: 0.5, Now: time.Now})
	_, err := k.Restore(context.Background(), list(known))
	return k, err
}

func mustOpen(t *testing.T, k *Keeper, id uint32, f *far, version string) *Sparse {
	t.Helper()
	s, _, err := k.OpenSparse(Known{ID: id, Size: Ranges}, int64(len(f.data)), version)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	return s
}

// reads reads n bytes from off and holds them against the source.
func (f *far) reads(s *Sparse, off, n int64) error {
	p := make([]byte, n)
	if err := s.ReadAt(context.Background(), p, off, f.open); err != nil {
		return err
	}
	if !bytes.Equal(p, f.data[off:off+n]) {
		return fmt.Errorf("%d bytes from %d on are not those of the source", n, off)
	}
	return nil
}

// TestSparseKeepsWhatWasRead reads a source in pieces, again, and again after a
// restart; and one that is of another version not at all.
func TestSparseKeepsWhatWasRead(t *testing.T) {
	disk := vfstest.NewDisk()
	k, err := sparseKeeper(vfstest.Wrap(disk), 100)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(20*unit + 1234)
	s := mustOpen(t, k, 5, f, "v1")
	for _, c := range []struct{ off, n, requests, bytes int64 }{
		{3*unit + 10, 100, 1, unit},                // one unit
		{3*unit + 50, 1000, 1, unit},               // which is here
		{3*unit + 10, 3 * unit, 2, 4 * unit},       // and three more: neighbours in one request; the first is here
		{19 * unit, unit + 1234, 3, 5*unit + 1234}, // the last, which is short: together
		{20*unit + 1233, 1, 3, 5*unit + 1234},      //
		{8 * unit, 1, 4, 6*unit + 1234},            // then on
		{9 * unit, 1, 5, 8*unit + 1234},            // who reads on is going to: twice as far
		{10 * unit, 9 * unit, 6, 16*unit + 1234},   // the first is here
	} {
		if err := f.reads(s, c.off, c.n); err != nil {
			t.Fatal(err)
		}
		if f.requests.Load() != c.requests || f.bytes.Load() != c.bytes {
			t.Errorf("%d bytes from %d on: %d requests, %d bytes (%d units), want %d and %d", c.n, c.off, f.requests.Load(), f.bytes.Load(), f.bytes.Load()/unit, c.requests, c.bytes)
		}
	}
	again := mustOpen(t, k, 5, f, "v1") // somebody else, meanwhile
	if err := errors.Join(again.Close(), f.reads(s, 3*unit, 10), s.Close()); err != nil {
		t.Fatal(err)
	}
	disk = disk.Crash(0, 1)
	k, err = sparseKeeper(vfstest.Wrap(disk), 100, Known{ID: 5, Size: Ranges})
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := onDisk(disk); k.Stats().Used != sum {
		t.Errorf("%d bytes are used, on disk are %d", k.Stats().Used, sum)
	}
	if _, _, err := k.OpenSparse(Known{ID: 5, Size: Ranges}, int64(len(f.data)), "v2"); !errors.Is(err, ErrSparse) {
		t.Errorf("it is of another version: %v", err)
	}
	s = mustOpen(t, k, 5, f, "v1")
	before := f.requests.Load()
	for _, off := range []int64{3 * unit, 4*unit + 7, 5 * unit, 8 * unit, 10*unit + 3, 20 * unit} {
		if err := f.reads(s, off, 100); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.requests.Load() - before; n > 0 {
		t.Errorf("%d requests for what is here", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSparseOneRequestForAll has many want the same unit at once. Who leaves takes
// nobody along.
func TestSparseOneRequestForAll(t *testing.T) {
	k, err := sparseKeeper(vfstest.Wrap(vfstest.NewDisk()), 100)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(4 * unit)
	s := mustOpen(t, k, 1, f, "v")
	f.wait = make(chan struct{})
	first, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- s.ReadAt(first, make([]byte, 10), 0, f.open) }()
	for f.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for i := range int64(20) {
		wg.Go(func() {
			if err := f.reads(s, i, 100); err != nil {
				t.Error(err)
			}
		})
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who has left: %v", err)
	}
	close(f.wait)
	wg.Wait()
	if n := f.requests.Load(); n > 2 {
		t.Errorf("%d requests", n)
	}
	f.err = errors.New("away")
	if err := f.reads(s, 3*unit, 1); !errors.Is(err, f.err) {
		t.Errorf("the source is away: %v", err)
	}
	if err := errors.Join(f.reads(s, 0, 100), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestSparseDamage flips a bit of each file at many places: what is damaged is
// fetched again, and never given out.
func TestSparseDamage(t *testing.T) {
	for _, name := range []string{sparseName, extentsName} {
		for at := 0; ; at += 9973 {
			disk := vfstest.NewDisk()
			k, err := sparseKeeper(vfstest.Wrap(disk), 100)
			if err != nil {
				t.Fatal(err)
			}
			f := newFar(6 * unit)
			s := mustOpen(t, k, 5, f, "v")
			if err := errors.Join(f.reads(s, 2*unit, 2*unit), f.reads(s, 0, 1), s.Close()); err != nil {
				t.Fatal(err)
			}
			path := k.path(5, name)
			info, err := disk.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if int64(at) >= info.Size() {
				break
			}
			file, err := disk.OpenReadWrite(path, "")
			if err != nil {
				t.Fatal(err)
			}
			var b [1]byte
			if _, err := file.ReadAt(b[:], int64(at)); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			b[0] ^= 1
			if _, err := file.WriteAt(b[:], int64(at)); err != nil || file.Close() != nil {
				t.Fatal(err)
			}
			s, _, err = k.OpenSparse(Known{ID: 5, Size: Ranges}, int64(len(f.data)), "v")
			if errors.Is(err, ErrSparse) && name == extentsName && at < headLength {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.reads(s, 0, 6*unit), f.reads(s, 0, 6*unit), s.Close()); err != nil {
				t.Errorf("%s at %d: %v", name, at, err)
			}
		}
	}
}

// TestSparseCrash cuts a history of reads before each operation on the disk: what
// is there afterwards is right, and what counts is what is there.
func TestSparseCrash(t *testing.T) {
	seed := longtest.Seed()
	images := 0
	f := newFar(50*unit + 77)
	for run := range longtest.Runs(1, 60) {
		rng := rand.New(rand.NewPCG(seed, uint64(run)))
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		k, err := sparseKeeper(faults, 40)
		if err != nil {
			t.Fatal(err)
		}
		named := false
		faults.Arm(vfstest.Op.Changes, func(n int, op vfstest.Op) error {
			images++
			percent := []int{0, 30, 100}[rng.IntN(3)]
			crashed := disk.Crash(percent, rng.Uint64())
			var known []Known
			if named {
				known = []Known{{ID: 5, Size: Ranges}}
			}
			after, err := sparseKeeper(vfstest.Wrap(crashed), 40, known...)
			if err != nil {
				t.Fatal(err)
			}
			if sum, files := onDisk(crashed); after.Stats().Used != sum || len(files) != 2*len(known) {
				t.Errorf("run %d from seed %d, before operation %d (%v): %d bytes count, on disk are %d in %v", run, seed, n, op, after.Stats().Used, sum, files)
			}
			if !named || n%8 > 0 {
				return nil
			}
			s := mustOpen(t, after, 5, f, "v")
			for range 5 {
				off := rng.Int64N(int64(len(f.data)) - 1)
				if err := f.reads(s, off, 1+rng.Int64N(min(3*unit, int64(len(f.data))-off))); err != nil {
					t.Errorf("run %d from seed %d, before operation %d (%v), %d%%: %v", run, seed, n, op, percent, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			return nil
		})
		for range 3 {
			s := mustOpen(t, k, 5, f, "v")
			named = true
			for range 15 {
				off := rng.Int64N(int64(len(f.data)) - 1)
				if err := f.reads(s, off, 1+rng.Int64N(min(3*unit, int64(len(f.data))-off))); err != nil {
					t.Fatal(err)
				}
				if s := k.Stats(); s.Used > s.Quota {
					t.Fatalf("%+v", s)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if sum, _ := onDisk(disk); sum > k.Stats().Used {
				t.Fatalf("on disk are %d bytes, %d count", sum, k.Stats().Used)
			}
		}
		faults.Disarm()
	}
	longtest.Figure(t, "%d images of crashes of sparse copies from seed %d", images, seed)
}

// TestSparseDiskFails has each operation fail: reads go on and are right.
func TestSparseDiskFails(t *testing.T) {
	f := newFar(9 * unit)
	for _, m := range []struct {
		err     error
		selects func(vfstest.Op) bool
	}{
		{syscall.ENOSPC, vfstest.Op.Writes}, {syscall.EIO, vfstest.Op.Syncs}, {syscall.EIO, vfstest.Op.Reads},
	} {
		for _, sticky := range []bool{false, true} {
			for n := 0; ; n++ {
				disk := vfstest.NewDisk()
				faults := vfstest.Wrap(disk)
				k, err := sparseKeeper(faults, 100)
				if err != nil {
					t.Fatal(err)
				}
				s := mustOpen(t, k, 5, f, "v")
				faults.FailAt(n, sticky, m.selects, m.err)
				err = errors.Join(f.reads(s, 0, 3*unit), f.reads(s, 2*unit, 3*unit), f.reads(s, 3, 9))
				_ = s.Close() // says what the disk did
				reached := faults.Disarm() > n
				if err != nil {
					t.Errorf("%v at %d, sticky %v: %v", m.err, n, sticky, err)
				}
				if sum, _ := onDisk(disk); sum > k.Stats().Used {
					t.Errorf("%v at %d, sticky %v: on disk are %d bytes, %d count", m.err, n, sticky, sum, k.Stats().Used)
				}
				s = mustOpen(t, k, 5, f, "v")
				if err := errors.Join(f.reads(s, 0, 6*unit), s.Close()); err != nil {
					t.Errorf("%v at %d, sticky %v: afterwards: %v", m.err, n, sticky, err)
				}
				if !reached {
					break
				}
			}
		}
	}
}

// TestSparseWithoutSpace reads more than there is room for.
func TestSparseWithoutSpace(t *testing.T) {
	disk := vfstest.NewDisk()
	k, err := sparseKeeper(vfstest.Wrap(disk), 3)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(10 * unit)
	s := mustOpen(t, k, 5, f, "v")
	for range 2 {
		if err := f.reads(s, 0, 10*unit); err != nil {
			t.Fatal(err)
		}
	}
	if sum, _ := onDisk(disk); sum > k.Quota() || s.Has() != 3*unit {
		t.Errorf("%d bytes are on disk, of the CAR %d", sum, s.Has())
	}
	k.Leaving(5)
	if err := errors.Join(f.reads(s, 0, 10*unit), s.Close(), k.Remove(5)); err != nil {
		t.Fatal(err)
	}
	if _, files := onDisk(disk); len(files) > 0 || k.Stats().Used != 0 {
		t.Errorf("left %v, %d bytes count", files, k.Stats().Used)
	}
}

// How large a CAR says that it is costs nothing, and one that is too large has
// no copy.
func TestSparseOfEnormousCARs(t *testing.T) {
	k, err := sparseKeeper(vfstest.Wrap(vfstest.NewDisk()), 10)
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err := k.OpenSparse(Known{ID: 1, Size: Ranges}, 1<<62, "v"); s != nil || err != nil {
		t.Errorf("of 4 EiB: %v, %v", s, err)
	}
	const size = unit << 32
	s, _, err := k.OpenSparse(Known{ID: 2, Size: Ranges}, size, "v")
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	last := func(context.Context, int64, int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(make([]byte, unit))), nil
	}
	for range 2 {
		if err := s.ReadAt(t.Context(), make([]byte, 10), size-10, last); err != nil {
			t.Error(err)
		}
		last = nil // it is here
	}
	if n := s.Has(); n != unit {
		t.Errorf("%d bytes are here", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A source that panics leaves nobody waiting.
func TestSparsePanic(t *testing.T) {
	k, err := sparseKeeper(vfstest.Wrap(vfstest.NewDisk()), 10)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(3 * unit)
	s := mustOpen(t, k, 1, f, "v")
	defer s.Close()
	func() {
		defer func() { _ = recover() }()
		_ = s.ReadAt(t.Context(), make([]byte, 10), 0, func(context.Context, int64, int64) (io.ReadCloser, error) { panic("a mount") })
		t.Error("no panic")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.ReadAt(ctx, make([]byte, 10), 0, f.open); err != nil {
		t.Errorf("who comes after it: %v", err)
	}
}
