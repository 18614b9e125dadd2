package dagstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

func (r *rig) gc() GCReport {
	r.t.Helper()
	report, err := r.store.GC(r.ctx())
	if err != nil {
		r.t.Fatalf("GC: %v, after %+v", err, report)
	}
	return report
}

// write puts a file below the store's folder on the disk.
func (r *rig) write(text string, path ...string) string {
	r.t.Helper()
	name := r.disk.PathJoin(append([]string{"store"}, path...)...)
	if err := vfs.MkdirAll(r.disk, r.disk.PathDir(name)); err != nil {
		r.t.Fatal(err)
	}
	if err := vfs.WriteFile(r.disk, name, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
	return name
}

// catalogue changes the catalogue behind the engine's back: the store is closed.
func (r *rig) catalogue(change func(c catalog.Catalog) *catalog.Batch) {
	r.t.Helper()
	c, err := catalog.Open(r.ctx(), catalog.Config{FS: r.disk, Dir: r.disk.PathJoin("store", catalogFolder)})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(c.Apply(r.ctx(), change(c)), c.Close(r.ctx())); err != nil {
		r.t.Fatal(err)
	}
}

// record reads what is on disk about a shard.
func (r *rig) record(key shard.Key) *catalog.Record {
	r.t.Helper()
	rec, err := r.store.parts.catalog.Get(r.ctx(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// dead lists what the catalogue remembers as dead.
func (r *rig) dead() (ids []index.ID) {
	r.t.Helper()
	for id, err := range r.store.parts.catalog.Dead(r.ctx()) {
		if err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestGCRemovesWhatIsNobodys(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.gc()
	nobodys := []string{
		r.write("an index", "index", "e7", "0003e7e7.idx"), r.write("a layer", "top", "0003e7e8.layer"),
		r.write("half", "index", "tmp", "0003e7e9.idx"), r.write("half a layer", "top", "tmp", "0003e7ea.layer"),
	}
	theirs := []string{
		r.write("x", "notes.txt"), r.write("x", "index", "notes.txt"), r.write("x", "index", "e7", "0003e7e8.idx"),
		r.write("x", "index", "tmp", "upload"), r.write("x", "top", "old", "000003e7.layer"), r.write("x", "copies", "1"),
		r.write("x", "quarantine", "2"), r.write("x", "spill", "mine"),
	}
	report := r.gc()
	for _, path := range nobodys {
		if r.exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	if report.Files != 4 || report.Bytes != int64(len("an indexa layerhalfhalf a layer")) || report.Left != 0 {
		t.Errorf("%+v", report)
	}
	for i, path := range theirs { // R4
		if !r.exists(path) {
			t.Errorf("%s was not ours", path)
		}
		theirs[i] = path[len("store/"):]
	}
	theirs[4] = "top/old" // as a whole
	slices.Sort(theirs)
	slices.Sort(report.Foreign)
	if !slices.Equal(report.Foreign, theirs) {
		t.Errorf("foreign: %q, want %q", report.Foreign, theirs)
	}
	if report := r.gc(); report.Files != 0 {
		t.Errorf("again: %+v", report)
	}
	r.has(blocks)
	r.reopen()
	r.has(blocks)
}

// What a destroyed shard leaves is forgotten at last, and not before its file
// is gone: a crash in between would leave a file that nothing remembers.
func TestGCForgetsTheDeadWithTheirFiles(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	more, n := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", n, nil)
	r.reopen() // their postings are in a layer
	r.gc()
	a := r.acquire("a")
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatal(err)
	}
	if got := r.dead(); len(got) != 1 {
		t.Fatalf("dead: %v", got)
	}
	for range 2 {
		report := r.gc()
		if report.Files != 0 || report.Left != 1 || report.Forgotten != 0 {
			t.Errorf("while somebody reads it: %+v", report)
		}
		if n := r.files(); n != 2 || len(r.dead()) != 1 {
			t.Errorf("%d files, dead %v", n, r.dead())
		}
	}
	a.Close()
	r.until("its file is removed", func() bool { return r.files() == 1 })
	r.until("it is forgotten", func() bool { r.gc(); return len(r.dead()) == 0 })
	r.lacks(blocks)
	r.has(more)
	r.reopen()
	r.lacks(blocks)
	r.has(more)
}

// Postings of an index whose record never came lead nowhere, for ever: they
// are given up as if a shard had been destroyed. So is what is pending for nobody.
func TestGCGivesUpPostingsOfNobody(t *testing.T) {
	for _, when := range []string{"at start", "by GC"} {
		t.Run(when, func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			more, n := r.put("b.car", 2, 20)
			r.register("a", m, nil)
			r.register("b", n, nil)
			r.reopen()
			forget := func(catalog.Catalog) *catalog.Batch {
				return &catalog.Batch{
					Deletes:    []catalog.Delete{{Key: "a", Expect: catalog.AnyRevision}},
					AddPending: []index.ID{0x777},
				}
			}
			if when == "at start" {
				if err := r.store.Close(); err != nil {
					t.Fatal(err)
				}
				r.catalogue(forget)
				r.open()
				r.until("its file is gone", func() bool { return r.files() == 1 })
			} else {
				r.gc() // after what the start does by itself
				if err := r.store.parts.catalog.Apply(r.ctx(), forget(nil)); err != nil {
					t.Fatal(err)
				}
				report := r.gc()
				if report.Files != 1 || report.Bytes == 0 {
					t.Errorf("%+v", report)
				}
			}
			r.until("nothing of it is left", func() bool { r.gc(); return len(r.dead()) == 0 })
			if err := r.store.engine.Candidates(r.ctx(), blocks[0].CID.Hash(), func(id index.ID) bool {
				t.Errorf("a posting leads to %d", id)
				return true
			}); err != nil {
				t.Error(err)
			}
			for id, err := range r.store.parts.catalog.Pending(r.ctx()) {
				t.Errorf("pending: %d, %v", id, err)
			}
			r.reopen()
			r.lacks(blocks)
			r.has(more)
		})
	}
}

func TestGCHeedsItsContextAndItsStore(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.gc()
	ended, cancel := context.WithCancel(r.ctx())
	cancel()
	if _, err := r.store.GC(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
	// One that hangs in the disk holds up another only as long as that waits.
	there, gate := make(chan struct{}), make(chan struct{})
	r.faults.Arm(func(op vfstest.Op) bool { return op.Base() == "top" }, func(n int, _ vfstest.Op) error {
		if n == 0 {
			close(there)
			<-gate
		}
		return nil
	})
	first := make(chan error, 1)
	go func() { _, err := r.store.GC(r.ctx()); first <- err }()
	soon(r, "listing", there)
	waiting, give := context.WithCancel(r.ctx())
	second := make(chan error, 1)
	go func() { _, err := r.store.GC(waiting); second <- err }()
	give()
	if err := soon(r, "the second", second); !errors.Is(err, context.Canceled) {
		t.Errorf("the second: %v", err)
	}
	closed := make(chan error, 1)
	s := r.store
	go func() { closed <- s.Close() }()
	r.until("the store closes", func() bool { _, err := s.GC(r.ctx()); return errors.Is(err, ErrClosed) })
	close(gate)
	if err := soon(r, "the first", first); !errors.Is(err, ErrClosed) && err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := soon(r, "Close", closed); err != nil {
		t.Error(err)
	}
}

func TestGCOfAReadOnlyStore(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	more, n := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", n, nil)
	r.reopen()
	r.gc() // after what the start does by itself
	if err := r.store.parts.catalog.Apply(r.ctx(), &catalog.Batch{
		Deletes: []catalog.Delete{{Key: "a", Expect: catalog.AnyRevision}},
	}); err != nil {
		t.Fatal(err)
	}
	r.breaks()
	if _, err := r.store.GC(r.ctx()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("GC: %v", err)
	}
	r.has(more)
	r.restart()
	r.until("its file is gone", func() bool { return r.files() == 1 })
	r.lacks(blocks)
	r.has(more)
}

// Each operation on the disk fails once, or from then on, while GC has
// something of everything to do, and then the power goes: nothing that was
// acknowledged is lost, and what is nobody's goes in the end.
func TestGCFailsAnywhere(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		for n := 0; ; n++ {
			if !gcFailsAt(t, n, sticky) {
				t.Logf("sticky %v: %d operations", sticky, n)
				if n < 10 {
					t.Error("GC did nothing")
				}
				break
			}
		}
	}
}

func gcFailsAt(t *testing.T, n int, sticky bool) (reached bool) {
	name := fmt.Sprintf("operation %d, sticky %v", n, sticky)
	r := newRig(t)
	var kept, gone [][]cartest.Block
	for i := range uint64(4) {
		key := shard.Key(fmt.Sprint(i))
		blocks, m := r.put(string(key), 10+i, 10)
		r.register(key, m, nil)
		if i == 0 {
			kept = append(kept, blocks)
		} else {
			gone = append(gone, blocks)
		}
	}
	r.reopen()
	r.gc()
	for i := 1; i < 3; i++ {
		if err := r.store.Destroy(r.ctx(), shard.Key(fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.store.parts.catalog.Apply(r.ctx(), &catalog.Batch{
		Deletes: []catalog.Delete{{Key: "3", Expect: catalog.AnyRevision}},
	}); err != nil {
		t.Fatal(err)
	}
	r.until("their files are removed", func() bool { return r.files() == 2 })
	layer := r.write("x", "top", "0003e7e7.layer")
	r.write("x", "index", "e7", "0003e7e7.idx")
	r.faults.FailAt(n, sticky, vfstest.Op.Changes, syscall.EIO)
	report, err := r.store.GC(r.ctx())
	fired := r.faults.Disarm() > n
	if !fired && (err != nil || report.Left > 0) {
		t.Errorf("%s: GC: %+v, %v", name, report, err)
	}
	for _, blocks := range kept {
		r.has(blocks)
	}
	r.crash([]int{0, 50, 100}[n%3], uint64(n))
	for _, blocks := range kept {
		r.has(blocks)
	}
	for _, blocks := range gone {
		r.lacks(blocks)
	}
	r.until(name+": nothing of them is left", func() bool {
		r.gc()
		return r.files() == 1 && len(r.dead()) == 0 && !r.exists(layer)
	})
	r.store.Close()
	return fired
}

// What a killed process has left of sorting, and could not be removed at
// start, is removed by GC; what others put there stays.
func TestGCRemovesWhatWasSpilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	left, mine := filepath.Join(dir, "spill", spillPrefix+"sort-1"), filepath.Join(dir, "spill", spillPrefix+"sort-2")
	for _, path := range []string{left, mine} {
		if err := os.WriteFile(path, []byte("1234"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.spill.left = []string{left} // as if the start had not been able to
	report, err := s.GC(t.Context())
	if err != nil || report.Files != 1 || report.Bytes != 4 || len(report.Foreign) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("what may be in use is gone: %v", err)
	}
}
