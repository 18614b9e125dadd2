package copies

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// born is a birth that gives out numbers from first on, and writes down which
// were made.
func born(k *Keeper, first uint32, made *[]uint32) Birth {
	next := first
	return Birth{
		ID: func() (uint32, error) { next++; return next - 1, nil },
		Made: func(id uint32) {
			*made = append(*made, id)
			k.Named(id, false, time.Now())
		},
	}
}

// streams reads n bytes from off on in order, and holds them against the source.
func (f *far) streams(s *Sparse, off, n int64) error {
	r := s.Stream(context.Background(), off, n, f.open)
	p, err := io.ReadAll(struct{ io.Reader }{r})
	if err == nil && !bytes.Equal(p, f.data[off:off+n]) {
		err = fmt.Errorf("%d bytes from %d on are not those of the source", n, off)
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}

// cost is what do asks of the source.
func (f *far) cost(t *testing.T, do func() error) (requests, bytes int64) {
	t.Helper()
	requests, bytes = f.requests.Load(), f.bytes.Load()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return f.requests.Load() - requests, f.bytes.Load() - bytes
}

// A spare copy costs a first read nothing, neither of the source nor of the disk.
func TestSpareKeepsWhatIsReadAgain(t *testing.T) {
	disk := vfstest.NewDisk()
	k, err := sparseKeeper(vfstest.Wrap(disk), 100)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(20*unit + 1234)
	var made []uint32
	s := k.NewSparse(int64(len(f.data)), "v1", true, born(k, 7, &made))
	for i := range int64(40) { // neighbours, each once
		if requests, n := f.cost(t, func() error { return f.reads(s, 3*unit+i*1086, 1086) }); requests != 1 || n != 1086 {
			t.Errorf("read %d: %d bytes in %d requests", i, n, requests)
		}
	}
	if requests, n := f.cost(t, func() error { return f.streams(s, 8*unit, 4*unit) }); requests != 1 || n != 4*unit {
		t.Errorf("a stream: %d bytes in %d requests", n, requests)
	}
	if requests, n := f.cost(t, func() error { return f.reads(s, unit-5, 18*unit) }); requests != 1 || n != 18*unit {
		t.Errorf("a large block: %d bytes in %d requests", n, requests)
	}
	if len(made) > 0 || s.Has() > 0 || k.Stats().Used > 0 || s.ID() != 0 {
		t.Fatalf("%v were made, %d bytes are here, %+v", made, s.Has(), k.Stats())
	}
	for i, want := range []int64{unit, 0} {
		if _, n := f.cost(t, func() error { return f.reads(s, 3*unit+1086, 1086) }); n != want {
			t.Errorf("again, %d: %d bytes", i, n)
		}
	}
	for i, want := range []int64{4 * unit, 0} {
		if _, n := f.cost(t, func() error { return f.streams(s, 8*unit, 4*unit) }); n != want {
			t.Errorf("a stream again, %d: %d bytes", i, n)
		}
	}
	if len(made) != 1 || made[0] != 7 || s.Has() != 5*unit {
		t.Errorf("%v were made, %d bytes are here", made, s.Has())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := k.seen.Load(); n != 0 {
		t.Errorf("%d units are remembered of a copy that is closed", n)
	}
	o, _, err := k.OpenSparse(Known{ID: 7, Size: Ranges, Spare: true}, int64(len(f.data)), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if requests, _ := f.cost(t, func() error { return f.streams(o, 8*unit, 4*unit) }); requests > 0 {
		t.Errorf("%d requests for what is here", requests)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// A stream reads what is here from the disk, and all the rest with a request for
// each stretch; units that lie over the border of two streams are kept, too.
func TestSparseStream(t *testing.T) {
	disk := vfstest.NewDisk()
	k, err := sparseKeeper(vfstest.Wrap(disk), 1000)
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(100*unit + 77)
	size := int64(len(f.data))
	var made []uint32
	s := k.NewSparse(size, "v1", false, born(k, 1, &made))
	for off := int64(0); off < 10*unit; off += 100_000 {
		if err := f.streams(s, off, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Has(); got < 9*unit {
		t.Errorf("%d bytes are here", got)
	}
	if err := f.streams(s, 50*unit, 20*unit); err != nil {
		t.Fatal(err)
	}
	if err := f.reads(s, 75*unit, 1); err != nil { // one unit is no reason for a request more
		t.Fatal(err)
	}
	requests, n := f.cost(t, func() error { return f.streams(s, 0, size) })
	if requests != 2 || n > size-29*unit {
		t.Errorf("%d bytes in %d requests", n, requests)
	}
	if requests, _ := f.cost(t, func() error { return f.streams(s, 0, size) }); requests != 0 || s.Has() != size {
		t.Errorf("%d requests for what is here, %d of %d bytes", requests, s.Has(), size)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := disk.Stat(k.path(1, sparseName))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := disk.Stat(k.path(1, extentsName))
	if err != nil {
		t.Fatal(err)
	}
	if used, have := k.Stats().Used, charged(info.Size())+charged(entries.Size()); used != have {
		t.Errorf("%d bytes count, %d are there", used, have)
	}
}

// What is kept is written beside who reads, can be read before it is, and is
// written in the end. More than fits into memory is not waited for.
func TestSparseIsWrittenBeside(t *testing.T) {
	disk := vfstest.NewDisk()
	k, err := sparseKeeper(vfstest.Wrap(disk), 2000)
	if err != nil {
		t.Fatal(err)
	}
	var later []func()
	var mu sync.Mutex
	k.Beside(func(f func()) bool {
		mu.Lock()
		defer mu.Unlock()
		later = append(later, f)
		return true
	})
	f := newFar(300 * unit)
	var made []uint32
	s := k.NewSparse(int64(len(f.data)), "v1", false, born(k, 1, &made))
	if err := f.streams(s, 0, 300*unit); err != nil {
		t.Fatal(err)
	}
	if k.queued.Load() != mostQueued || s.Has() != mostQueued || len(made) > 0 {
		t.Errorf("%d bytes wait, %d are here, %v were made", k.queued.Load(), s.Has(), made)
	}
	if requests, _ := f.cost(t, func() error { return f.streams(s, 0, mostQueued) }); requests > 0 {
		t.Errorf("%d requests for what waits", requests)
	}
	if len(later) != 1 {
		t.Fatalf("%d write", len(later))
	}
	later[0]()
	if k.queued.Load() != 0 || s.Has() != mostQueued || len(made) != 1 {
		t.Errorf("%d bytes wait, %d are here, %v were made", k.queued.Load(), s.Has(), made)
	}
	if err := f.streams(s, 280*unit, 20*unit); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if k.queued.Load() != 0 {
		t.Errorf("%d bytes wait after the end", k.queued.Load())
	}
	for _, f := range later[1:] {
		f() // it comes late, and finds nothing to do
	}
	o, _, err := k.OpenSparse(Known{ID: 1, Size: Ranges}, int64(len(f.data)), "v1")
	if err != nil || o.Has() != mostQueued+20*unit {
		t.Fatal(o.Has(), err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// What nobody has asked for makes nothing go that somebody has, and goes first.
func TestSpareGoesFirst(t *testing.T) {
	disk := vfstest.NewDisk()
	k := New(Config{FS: vfstest.Wrap(disk), Dir: "store/copies", Quota: 40 * unit, Now: time.Now})
	if _, err := k.Restore(context.Background(), list(nil)); err != nil {
		t.Fatal(err)
	}
	none := func(uint32) bool { return false }
	f := newFar(30 * unit)
	var made []uint32
	asked := k.NewSparse(int64(len(f.data)), "v1", false, born(k, 1, &made))
	first := k.NewSparse(int64(len(f.data)), "v1", true, born(k, 2, &made))
	second := k.NewSparse(int64(len(f.data)), "v1", true, born(k, 3, &made))
	twice := func(s *Sparse, off, n int64) {
		for range 2 {
			if err := f.streams(s, off, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	twice(asked, 0, 20*unit)
	twice(first, 0, 10*unit)
	if list, goal := k.Victims(none, false); goal > 0 {
		t.Errorf("%v have to go, %d bytes", list, goal)
	}
	twice(second, 0, 30*unit)
	if used := k.Stats().Used; used > 38*unit {
		t.Errorf("%d units are used", used/unit)
	}
	list, goal := k.Victims(none, true)
	if goal <= 0 || len(list) != 2 || list[0].ID != 2 || list[1].ID != 3 {
		t.Errorf("%v may go, %d bytes have to", list, goal)
	}
	k.NoMore(nil)
	if list, goal := k.Victims(none, true); goal > 0 {
		t.Errorf("%v have to go, %d bytes, after none could", list, goal)
	}
	// There is no room, and what is read is read as in place.
	for range 3 {
		if requests, n := f.cost(t, func() error { return f.reads(second, 29*unit+5, 100) }); requests != 1 || n != 100 {
			t.Errorf("%d bytes in %d requests", n, requests)
		}
	}
	// Somebody asks.
	a := k.Queue(12*unit, func(*Space, error) {})
	list, goal = k.Victims(none, true)
	if goal <= 0 || len(list) != 2 || list[0].ID != 2 || list[1].ID != 3 {
		t.Errorf("%v may go, %d bytes have to", list, goal)
	}
	list, goal = k.Victims(func(id uint32) bool { return id > 1 }, true)
	if goal <= 0 || len(list) != 1 || list[0].ID != 1 {
		t.Errorf("%v may go then, %d bytes have to", list, goal)
	}
	a.Leave()
	for _, s := range []*Sparse{asked, first, second} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
