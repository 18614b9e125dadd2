package segment_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/segment/segmenttest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

func TestSuite(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		disk := vfstest.NewDisk()
		open := func() (segment.Place, error) { return segment.NewFolder(disk, "/store") }
		crash := func() error { disk = disk.Crash(percent, 1); return nil }
		if err := segmenttest.Test(t.Context(), open, crash); err != nil {
			t.Errorf("%d %% of what was not synced is kept: %v", percent, err)
		}
	}
}

func TestSuiteOnTheMachine(t *testing.T) {
	dir := t.TempDir()
	open := func() (segment.Place, error) { return segment.NewFolder(vfs.Default, dir) }
	crash := func() error { return nil } // a real disk cannot be cut off here
	if err := segmenttest.Test(t.Context(), open, crash); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, p segment.Place, name segment.Name, data string) error {
	t.Helper()
	w, err := p.Create(t.Context(), name)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(data)); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit(t.Context())
}

// TestMapped: on the machine a reader is a mapping and keeps no descriptor.
func TestMapped(t *testing.T) {
	p, err := segment.NewFolder(vfs.Default, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	name := segment.Name{Kind: segment.Index, N: 1}
	if err := write(t, p, name, "mapped"); err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := r.(interface{ Bytes() []byte }); !ok || string(m.Bytes()) != "mapped" {
		t.Errorf("reader is a %T", r)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestForeignFiles: what is not ours is neither listed nor removed (R4), not
// even where our unfinished files lie, and what is ours and unfinished goes.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{
		"index/notes.txt", "index/1a/0000001a.idx.bak", "index/1a/0000001B.idx", "index/1b/0000001a.idx",
		"index/tmp/upload.idx", "index/tmp/0000001a.layer", "index/tmp/0000001a.idx.tmp", "index/tmp/1a.idx",
		"top/+000001a.layer", "top/0000001a.idx", "top/readme",
	}
	unfinished := []string{"index/tmp/0000001a.idx", "top/tmp/0000001a.layer"}
	for _, name := range append(foreign, unfinished...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "top", "0000001b.layer"), 0o777); err != nil {
		t.Fatal(err)
	}
	p, err := segment.NewFolder(vfs.Default, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []segment.Kind{segment.Index, segment.Layer} {
		for e, err := range p.List(t.Context(), kind) {
			t.Errorf("listed %v, %v", e, err)
		}
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range unfinished {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

// TestFaultAnywhere fails each operation on the disk in turn. A segment that
// was acknowledged is there after a crash; one that was not is there whole or
// not at all, and its name can be tried again.
func TestFaultAnywhere(t *testing.T) {
	first := segment.Name{Kind: segment.Index, N: 7}
	second := segment.Name{Kind: segment.Layer, N: 7}
	failed := 0
	for n := 0; ; n++ {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		faults.FailAt(n, n%2 == 0, nil, syscall.ENOSPC)
		acked := map[segment.Name]bool{}
		p, err := segment.NewFolder(faults, "/store")
		for _, name := range []segment.Name{first, second} {
			if err == nil {
				err = write(t, p, name, name.String())
				acked[name] = err == nil
			}
		}
		if err != nil {
			failed++
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("operation %d: error is %v", n, err)
			}
		}
		count := faults.Disarm()
		after, err := segment.NewFolder(disk.Crash(50*(n%3), uint64(n)), "/store")
		if err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
		for _, name := range []segment.Name{first, second} {
			check(t, n, after, name, acked[name])
		}
		if n >= count {
			break
		}
	}
	if failed < 20 {
		t.Errorf("only %d runs failed", failed)
	}
}

func check(t *testing.T, n int, p segment.Place, name segment.Name, acked bool) {
	t.Helper()
	r, err := p.Open(t.Context(), name)
	if errors.Is(err, fs.ErrNotExist) && !acked {
		if err := write(t, p, name, name.String()); err != nil {
			t.Errorf("operation %d: again: %v", n, err)
		}
		return
	}
	if err != nil {
		t.Errorf("operation %d: %v, acknowledged: %t: %v", n, name, acked, err)
		return
	}
	data := make([]byte, r.Size())
	if _, err := r.ReadAt(data, 0); err != nil || string(data) != name.String() {
		t.Errorf("operation %d: %v reads %q, %v", n, name, data, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestFolderThatWasNotSynced: the sync of a new sub-folder's name fails, and
// with it the segment that needed it. The next one there, which is told that
// it is durable, survives a crash.
func TestFolderThatWasNotSynced(t *testing.T) {
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	p, err := segment.NewFolder(faults, "/store")
	if err != nil {
		t.Fatal(err)
	}
	faults.FailAt(0, false, vfstest.Op.Syncs, syscall.EIO)
	if err := write(t, p, segment.Name{Kind: segment.Index, N: 0x107}, "x"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error is %v", err)
	}
	faults.Disarm()
	name := segment.Name{Kind: segment.Index, N: 0x207}
	if err := write(t, p, name, name.String()); err != nil {
		t.Fatal(err)
	}
	after, err := segment.NewFolder(disk.Crash(0, 0), "/store")
	if err != nil {
		t.Fatal(err)
	}
	check(t, 0, after, name, true)
}
