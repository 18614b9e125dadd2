package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system. Its methods may be called by many goroutines at once.
type FS = vfs.FS

// A File is an open file of an [FS], or an open folder.
type File = vfs.File

// Default is the file system of the machine.
var Default FS = vfs.Default

// category is what Pebble counts our writes under; we do not count with it.
const category = vfs.WriteCategoryUnspecified

// Native returns the path of name on the machine, and whether it has one: what
// lies in a file system of a test has none.
func Native(fsys FS, name string) (string, bool) {
	for f := fsys; f != nil; f = f.Unwrap() {
		if f == vfs.Default {
			return name, true
		}
	}
	return "", false
}

// SyncDir makes the names in the folder dir durable. On platforms that have no
// such notion it does nothing.
func SyncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MkdirAll makes the folder dir and all above it that are missing, and makes
// their names durable: that of a folder which is there already too, since who
// made it may have died, failed or not got as far as syncing its name.
func MkdirAll(fsys FS, dir string) error {
	parent := fsys.PathDir(dir)
	switch info, err := fsys.Stat(dir); {
	case err == nil && info.IsDir():
		if parent == dir {
			return nil
		}
		// We sync a name before we make anything below it, so all further up
		// is durable. Where the folder above cannot be synced at all, by its
		// permissions or its kind, we have not made this one.
		if err := SyncDir(fsys, parent); !neverSyncs(err) {
			return err
		}
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("it is there and is no folder")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return SyncDir(fsys, parent)
}

// neverSyncs tells a folder that nobody, or not we, could ever have synced from
// one whose sync has failed.
func neverSyncs(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// A Writer writes a file aside and gives it its name when it is whole. It must
// be ended by exactly one of [Writer.Commit], [Writer.Abort] and [Writer.Leave]; a second call
// of any does nothing and returns [fs.ErrClosed]. It is used by one
// goroutine at a time.
type Writer struct {
	fsys          FS
	file          File
	aside, target string
	scratch       []byte // see Write
	size          int64
	length        int64 // of the file, when it was opened again
	again         bool
	err           error // of the first write that failed
	done          bool
}

// Create begins the file target under the name aside, which must be on the
// same disk. A file that bears that name is replaced.
func Create(fsys FS, aside, target string) (*Writer, error) {
	f, err := fsys.Create(aside, category)
	if err != nil {
		return nil, err
	}
	return &Writer{fsys: fsys, file: f, aside: aside, target: target}, nil
}

// Reopen goes on with what a Writer has left under the name aside, behind its first
// size bytes. What the file has beyond is written over; it cannot be cut off.
func Reopen(fsys FS, aside, target string, size int64) (*Writer, error) {
	info, err := fsys.Stat(aside)
	if err != nil {
		return nil, err
	}
	if info.Size() < size {
		return nil, &fs.PathError{Op: "open", Path: aside, Err: fmt.Errorf("it has %d bytes, not %d", info.Size(), size)}
	}
	f, err := fsys.OpenReadWrite(aside, category)
	if err != nil {
		return nil, err
	}
	return &Writer{fsys: fsys, file: f, aside: aside, target: target, size: size, length: info.Size(), again: true}, nil
}

// Write appends p. After an error the file cannot be committed any more.
func (w *Writer) Write(p []byte) (int, error) {
	switch {
	case w.done:
		return 0, fs.ErrClosed
	case w.err != nil:
		return 0, w.err
	}
	// A File may change what it is given, an io.Writer may not. The machine's
	// does not.
	q := p
	if _, native := Native(w.fsys, w.aside); !native {
		w.scratch = append(w.scratch[:0], p...)
		q = w.scratch
	}
	n, err := w.append(q)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.size += int64(n)
	w.err = err
	return n, err
}

func (w *Writer) append(p []byte) (int, error) {
	if w.again {
		return w.file.WriteAt(p, w.size)
	}
	return w.file.Write(p)
}

// ReadAt reads what was written.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) { return w.file.ReadAt(p, off) }

// Sync makes durable what was written. It may be called as [Writer.Flush] may, and
// the same holds after an error. The name of the file is not synced.
func (w *Writer) Sync() error { return w.file.Sync() }

// Leave ends the writing and leaves the file under the name aside, for [Reopen].
func (w *Writer) Leave() error {
	if w.done {
		return fs.ErrClosed
	}
	w.done = true
	return w.file.Close()
}

// Flush has the disk begin to write what was written, up to size bytes, so that
// the sync of Commit finds little to do. It makes nothing durable. It may wait for
// the disk, and be called beside Write by one other goroutine, which must have
// ended before Commit or Abort. After an error the file must not be committed: a
// later sync does not tell of it again.
func (w *Writer) Flush(size int64) error {
	_, err := w.file.SyncTo(size)
	return err
}

// Length is how long the file is; after [Reopen] that may be more than was written.
func (w *Writer) Length() int64 { return max(w.length, w.size) }

// Size is how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Commit syncs the file, gives it its name and syncs the folder. When it
// returns nil the file is durable, whole and under its name. When it does not,
// nothing bears the name unless the sync of the folder is what failed; then
// the file is whole and may or may not be there after a crash.
func (w *Writer) Commit() error {
	if w.done {
		return fs.ErrClosed
	}
	w.done = true
	err := w.err
	if err == nil {
		err = w.file.Sync()
	}
	err = errors.Join(err, w.file.Close())
	if err == nil {
		err = w.fsys.Rename(w.aside, w.target)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(w.fsys, w.aside))
	}
	return SyncDir(w.fsys, w.fsys.PathDir(w.target))
}

// Abort gives the file up and removes what was written.
func (w *Writer) Abort() error {
	if w.done {
		return fs.ErrClosed
	}
	w.done = true
	return errors.Join(w.file.Close(), removeIfThere(w.fsys, w.aside))
}

func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile writes the small file name, durably and whole or not at all. The
// file name+".tmp" is used on the way.
func WriteFile(fsys FS, name string, data []byte) error {
	w, err := Create(fsys, name+".tmp", name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// ReadFile reads the small file name. A file of more than limit bytes is an
// error, so that a wrong file costs no memory.
func ReadFile(fsys FS, name string, limit int64) (data []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it has more than %d bytes", limit)}
	}
	return data, nil
}
