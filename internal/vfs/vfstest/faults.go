package vfstest

import (
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// An Op is one operation on a file system.
type Op struct {
	Kind errorfs.OpKind
	Path string
}

// names are those of the operations that change a disk.
var names = map[errorfs.OpKind]string{
	errorfs.OpCreate: "create", errorfs.OpLink: "link", errorfs.OpRemove: "remove", errorfs.OpRemoveAll: "remove all",
	errorfs.OpRename: "rename", errorfs.OpReuseForWrite: "reuse", errorfs.OpMkdirAll: "mkdir", errorfs.OpLock: "lock",
	errorfs.OpFileWrite: "write", errorfs.OpFileWriteAt: "write at", errorfs.OpFilePreallocate: "preallocate",
	errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync data", errorfs.OpFileSyncTo: "sync to", errorfs.OpFileFlush: "flush",
}

// String says what is done to which file.
func (o Op) String() string {
	name := names[o.Kind]
	if name == "" {
		name = "look"
	}
	return name + " " + o.Base()
}

// Base is the last element of the path.
func (o Op) Base() string { return path.Base(filepath.ToSlash(o.Path)) }

// Opens reports whether the operation needs a descriptor.
func (o Op) Opens() bool {
	switch o.Kind {
	case errorfs.OpCreate, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpReuseForWrite, errorfs.OpList:
		return true
	default:
		return false
	}
}

// Reads reports whether the operation brings the content of a file.
func (o Op) Reads() bool { return o.Kind == errorfs.OpFileRead || o.Kind == errorfs.OpFileReadAt }

// Writes reports whether the operation adds to the content of a file.
func (o Op) Writes() bool { return o.Kind == errorfs.OpFileWrite || o.Kind == errorfs.OpFileWriteAt }

// Changes reports whether the operation may change what is on the disk.
// Closing a file does not.
func (o Op) Changes() bool {
	return o.Kind != errorfs.OpFileClose && o.Kind.ReadOrWrite() == errorfs.OpIsWrite
}

// Links reports whether the operation gives a file a second name.
func (o Op) Links() bool { return o.Kind == errorfs.OpLink }

// Within reports whether the operation is on something in the folder dir. Of an
// operation on two names it is the first one that counts, which is there already.
func (o Op) Within(dir string) bool { return strings.HasPrefix(filepath.ToSlash(o.Path), dir+"/") }

// Syncs reports whether the operation makes something durable.
func (o Op) Syncs() bool {
	switch o.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	default:
		return false
	}
}

// Touches reports whether the name of the file has the given suffix, or begins
// with it.
func (o Op) Touches(affix string) bool {
	return strings.HasSuffix(o.Base(), affix) || strings.HasPrefix(o.Base(), affix)
}

// Faults is a file system that asks a function before each operation and fails
// with what it returns. It may be used by many goroutines at once.
type Faults struct {
	vfs.FS

	mu    sync.Mutex
	ask   func(n int, op Op) error
	n     int
	short map[string]bool // files whose next write is cut short
}

// ErrShort makes a write do half of what it should, and then fail with
// [io.ErrShortWrite]. Other operations fail with ErrShort itself.
var ErrShort = errors.New("vfstest: half of it")

// Wrap returns fsys with faults; none, until [Faults.Arm] is called.
func Wrap(fsys vfs.FS) *Faults {
	f := &Faults{short: map[string]bool{}}
	f.FS = errorfs.Wrap(halving{fsys, f}, errorfs.InjectorFunc(f.maybe))
	return f
}

// ReuseForWrite is a rename and an opening; errorfs would hand out a file that
// never fails.
func (f *Faults) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(newname, c)
}

// Arm begins to count at 0 the operations for which select is true (all, if it
// is nil) and makes them fail with what fail returns for their number. fail is
// called by one goroutine at a time and must not use the [Faults]; the file
// system behind it may be used.
func (f *Faults) Arm(selects func(Op) bool, fail func(n int, op Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n = 0
	f.ask = func(n int, op Op) error {
		if selects != nil && !selects(op) {
			f.n--
			return nil
		}
		return fail(n, op)
	}
}

// FailAt arms: operation n fails with err, and so do all later ones if sticky.
func (f *Faults) FailAt(n int, sticky bool, selects func(Op) bool, err error) {
	f.Arm(selects, func(i int, _ Op) error {
		if i == n || sticky && i > n {
			return err
		}
		return nil
	})
}

// Disarm ends the faults and returns how many operations were counted.
func (f *Faults) Disarm() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ask = nil
	return f.n
}

func (f *Faults) maybe(op errorfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ask == nil {
		return nil
	}
	n := f.n
	f.n++
	err := f.ask(n, Op{Kind: op.Kind, Path: op.Path})
	if errors.Is(err, ErrShort) && op.Kind == errorfs.OpFileWrite {
		f.short[op.Path] = true
		return nil
	}
	return err
}

// halve reports whether the write to name that is about to be done is to be
// cut short.
func (f *Faults) halve(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := f.short[name]
	delete(f.short, name)
	return is
}

// halving is a file system whose writes can be cut short.
type halving struct {
	vfs.FS
	faults *Faults
}

// Create opens a new file for writing.
func (h halving) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := h.FS.Create(name, c)
	return h.wrap(name, file, err)
}

// OpenReadWrite opens a file for writing.
func (h halving) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := h.FS.OpenReadWrite(name, c, opts...)
	return h.wrap(name, file, err)
}

// Unwrap returns the file system behind.
func (h halving) Unwrap() vfs.FS { return h.FS }

func (h halving) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return half{file, name, h.faults}, nil
}

// half is a file whose writes can be cut short.
type half struct {
	vfs.File
	name   string
	faults *Faults
}

// Write implements [io.Writer].
func (f half) Write(p []byte) (int, error) {
	if !f.faults.halve(f.name) {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:len(p)/2])
	if err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}
