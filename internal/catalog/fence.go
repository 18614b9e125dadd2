package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dagstore/dagstore/internal/vfs"
)

// retryPause is how long the making of a table is held up on a broken disk, and
// the next compaction after one that failed. Pebble repeats a failed flush and
// a failed compaction at once and for ever.
const retryPause = time.Second

// A fence stands between Pebble and the disk. Pebble cannot go on when its log
// or its manifest cannot be written: it calls Fatalf, panics with locks held,
// or both, and can then not even be closed. So it never hears of it. The first
// write that fails breaks the fence: from then on nothing is written, and the
// folder stays as if the machine had stopped at that moment, a state from
// which Pebble recovers as it does from any crash. Logs and manifests seem to
// be written; tables, which Pebble reads again, fail, which it can live with.
// The catalogue asks the fence before it acknowledges anything.
//
// While it opens, Pebble cannot live with that: it waits until what was in the
// logs has become tables, and repeats what fails for ever. Until [fence.opened]
// is called tables are therefore kept in memory too, and behind a broken fence
// in memory only, so that opening comes to its end and can be called a failure.
type fence struct {
	vfs.FS

	mu      sync.Mutex
	shadow  *pebblevfs.MemFS // tables that are written while opening; nil later
	err     error            // of the write that failed
	broken  chan struct{}    // closed with err
	closing chan struct{}    // closed when nobody should be held up any more

	turn  chan struct{}         // held by who makes a checkpoint
	aside atomic.Pointer[aside] // where; nil if nobody does
}

func newFence(fsys vfs.FS) *fence {
	return &fence{
		FS:      fsys,
		shadow:  pebblevfs.NewMem(),
		broken:  make(chan struct{}),
		closing: make(chan struct{}),
		turn:    make(chan struct{}, 1),
	}
}

// opened ends the time in which tables are kept in memory.
func (f *fence) opened() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shadow = nil
}

// cause returns why the fence is broken, or nil.
func (f *fence) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// breakWith breaks the fence, once.
func (f *fence) breakWith(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		close(f.broken)
	}
}

// release ends the holding up of retries, once, for the time of closing.
func (f *fence) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closing:
	default:
		close(f.closing)
	}
}

func (f *fence) state() (shadow *pebblevfs.MemFS, broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shadow, f.err != nil
}

// isTable tells the files that Pebble reads again while it is open.
func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// verdict is what Pebble is told of a write that did not happen.
func (f *fence) verdict(name string) error {
	if shadow, _ := f.state(); shadow == nil && isTable(name) {
		return fmt.Errorf("%w: %s is not written", ErrBroken, f.PathBase(name))
	}
	return nil
}

// write does one operation that writes, or does not.
func (f *fence) write(name string, op func() error) error {
	if a := f.outside(name); a != nil {
		return a.write(op)
	}
	if _, broken := f.state(); broken {
		return f.verdict(name)
	}
	err := op()
	if err == nil {
		return nil
	}
	f.breakWith(err)
	return f.verdict(name)
}

// open does an operation that opens a file for writing.
func (f *fence) open(name string, c pebblevfs.DiskWriteCategory, op func() (vfs.File, error)) (vfs.File, error) {
	if a := f.outside(name); a != nil {
		return a.open(op)
	}
	file := vfs.File(nil)
	err := f.write(name, func() (err error) {
		file, err = op()
		return err
	})
	if err != nil {
		select {
		case <-time.After(retryPause):
		case <-f.closing:
		}
		return nil, err
	}
	if file == nil {
		file = ghost{f.PathBase(name)}
	}
	w := &fenced{File: file, fence: f, name: name}
	if shadow, _ := f.state(); shadow != nil && isTable(name) {
		if w.shadow, err = shadow.Create(f.PathBase(name), c); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return w, nil
}

// Open opens a file for reading.
func (f *fence) Open(name string, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	if shadow, broken := f.state(); shadow != nil && broken && isTable(name) {
		if file, err := shadow.Open(f.PathBase(name), opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

// Stat describes a file.
func (f *fence) Stat(name string) (pebblevfs.FileInfo, error) {
	if shadow, broken := f.state(); shadow != nil && broken && isTable(name) {
		if info, err := shadow.Stat(f.PathBase(name)); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

// Create opens a new file for writing.
func (f *fence) Create(name string, c pebblevfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, c, func() (vfs.File, error) {
		if strings.HasPrefix(f.PathBase(name), manifestMarker) {
			return f.createMarker(name, c)
		}
		return f.FS.Create(name, c)
	})
}

// manifestMarker is how the file begins whose name says which manifest counts.
const manifestMarker = "marker.manifest."

// createMarker makes the file that names a manifest. Pebble syncs the folder
// only after it has removed the marker before: on a disk that does not keep the
// order of names, a crash could leave a marker whose manifest is not there, or
// none at all. So the name of the manifest is made durable before, and that of
// the marker at once.
func (f *fence) createMarker(name string, c pebblevfs.DiskWriteCategory) (vfs.File, error) {
	dir := f.PathDir(name)
	if err := vfs.SyncDir(f.FS, dir); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	if err := vfs.SyncDir(f.FS, dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// OpenReadWrite opens a file for writing.
func (f *fence) OpenReadWrite(name string, c pebblevfs.DiskWriteCategory, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	return f.open(name, c, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite opens an old file for writing, under a new name.
func (f *fence) ReuseForWrite(oldname, newname string, c pebblevfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(newname, c, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir opens a folder so that it can be synced.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	return f.open(name, pebblevfs.WriteCategoryUnspecified, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// List lists a folder. Where Pebble lists its own a second time while it opens,
// it already reads tables in the background, and to fail there would close the
// tables under these readers. So it finds nothing, behind a broken fence.
func (f *fence) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	if shadow, _ := f.state(); err != nil && shadow != nil {
		f.breakWith(err)
		return nil, nil
	}
	return names, err
}

// Link gives a file a second name.
func (f *fence) Link(oldname, newname string) error {
	op := func() error { return f.FS.Link(oldname, newname) }
	if a := f.outside(newname); a != nil {
		return a.link(op)
	}
	return f.write(newname, op)
}

// Rename gives a file another name.
func (f *fence) Rename(oldname, newname string) error {
	return f.write(newname, func() error { return f.FS.Rename(oldname, newname) })
}

// MkdirAll makes folders.
func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	return f.write(dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// Remove removes a file. That it cannot be removed hurts nothing, and Pebble
// may hear it; but nothing is removed behind a broken fence.
func (f *fence) Remove(name string) error {
	if _, broken := f.state(); broken && f.outside(name) == nil {
		return nil
	}
	return f.FS.Remove(name)
}

// RemoveAll removes a folder; see Remove.
func (f *fence) RemoveAll(name string) error {
	if _, broken := f.state(); broken && f.outside(name) == nil {
		return nil
	}
	return f.FS.RemoveAll(name)
}

// Lock does nothing: the catalogue has locked its folder itself.
func (f *fence) Lock(string) (io.Closer, error) { return ghost{vfs.LockName}, nil }

// Unwrap returns the file system behind the fence.
func (f *fence) Unwrap() vfs.FS { return f.FS }

// A fenced file is one that Pebble writes.
type fenced struct {
	vfs.File
	fence  *fence
	name   string
	shadow vfs.File // nil unless it is a table that is written while opening
}

func (f *fenced) Write(p []byte) (int, error) {
	if f.shadow != nil {
		// A file may change what it is given, so this one gets a copy.
		if _, err := f.shadow.Write(slices.Clone(p)); err != nil {
			return 0, err
		}
	}
	err := f.fence.write(f.name, func() error {
		n, err := f.File.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fenced) WriteAt(p []byte, off int64) (int, error) {
	err := f.fence.write(f.name, func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Preallocate is a hint that not every file system takes; that it fails is no
// damage.
func (f *fenced) Preallocate(offset, length int64) error {
	if _, broken := f.fence.state(); broken {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

func (f *fenced) Sync() error {
	return f.fence.write(f.name, f.File.Sync)
}

func (f *fenced) SyncData() error {
	return f.fence.write(f.name, f.File.SyncData)
}

func (f *fenced) SyncTo(length int64) (full bool, err error) {
	err = f.fence.write(f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close closes the file behind a broken fence too: it holds a descriptor.
func (f *fenced) Close() error {
	err := f.File.Close()
	if f.shadow != nil {
		err = errors.Join(err, f.shadow.Close())
	}
	if err == nil || errors.Is(err, fs.ErrClosed) {
		return err
	}
	return f.fence.write(f.name, func() error { return err })
}

// A ghost is a file that seems to be written.
type ghost struct{ name string }

func (ghost) Read([]byte) (int, error)               { return 0, io.EOF }
func (ghost) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (ghost) Write(p []byte) (int, error)            { return len(p), nil }
func (ghost) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (ghost) Close() error                           { return nil }
func (ghost) Preallocate(int64, int64) error         { return nil }
func (ghost) Sync() error                            { return nil }
func (ghost) SyncTo(int64) (bool, error)             { return true, nil }
func (ghost) SyncData() error                        { return nil }
func (ghost) Prefetch(int64, int64) error            { return nil }
func (ghost) Fd() uintptr                            { return pebblevfs.InvalidFd }
func (g ghost) Stat() (pebblevfs.FileInfo, error)    { return g, nil }
func (g ghost) Name() string                         { return g.name }
func (ghost) Size() int64                            { return 0 }
func (ghost) Mode() fs.FileMode                      { return 0 }
func (ghost) ModTime() time.Time                     { return time.Time{} }
func (ghost) IsDir() bool                            { return false }
func (ghost) Sys() any                               { return nil }
func (ghost) DeviceID() (id pebblevfs.DeviceID)      { return id }
