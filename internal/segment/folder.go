package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"

	"github.com/dagstore/dagstore/internal/mmap"
	"github.com/dagstore/dagstore/internal/vfs"
)

// A Folder is a [Place] in a folder of a file system. Its segments are mapped
// where that can be, so that an open one keeps no descriptor.
type Folder struct {
	fsys vfs.FS
	dir  string

	mu      sync.Mutex
	closed  bool
	writing map[Name]struct{}
	ready   map[string]struct{} // sub-folders that are known to be there, durably
	holds   int                 // who wants nothing to be removed
	held    []Name              // what is to be, after that
}

// NewFolder returns the place in the folder dir, which is made if it is
// missing. What writers left behind that were cut off is removed; that, and
// what [Folder.Remove] is told, is all that is ever removed. Only one process
// may use a folder; the caller holds its lock.
func NewFolder(fsys vfs.FS, dir string) (*Folder, error) {
	f := &Folder{
		fsys:    fsys,
		dir:     dir,
		writing: make(map[Name]struct{}),
		ready:   make(map[string]struct{}),
	}
	for _, kind := range kinds {
		if err := f.prepare(kind); err != nil {
			return nil, fmt.Errorf("segment: open %s: %w", dir, err)
		}
	}
	return f, nil
}

// prepare makes the folders of a kind and removes what was not finished.
func (f *Folder) prepare(kind Kind) error {
	aside := f.asideDir(kind)
	if err := vfs.MkdirAll(f.fsys, aside); err != nil {
		return err
	}
	names, err := f.fsys.List(aside)
	if err != nil {
		return err
	}
	for _, base := range names {
		if _, ok := parse(kind, base); !ok {
			continue // not ours
		}
		if err := f.fsys.Remove(f.fsys.PathJoin(aside, base)); err != nil {
			return err
		}
	}
	return nil
}

// Create implements [Place].
func (f *Folder) Create(ctx context.Context, name Name) (Writer, error) {
	w, err := f.create(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("segment: create %v: %w", name, err)
	}
	return w, nil
}

func (f *Folder) create(ctx context.Context, name Name) (*folderWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := check(name.Kind); err != nil {
		return nil, err
	}
	if err := f.claim(name); err != nil {
		return nil, err
	}
	w, err := f.begin(name)
	if err != nil {
		f.unclaim(name)
		return nil, err
	}
	return &folderWriter{folder: f, name: name, file: w}, nil
}

func (f *Folder) begin(name Name) (*vfs.Writer, error) {
	target := f.path(name)
	switch _, err := f.fsys.Stat(target); {
	case err == nil:
		return nil, fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := f.ensure(f.fsys.PathDir(target)); err != nil {
		return nil, err
	}
	return vfs.Create(f.fsys, f.fsys.PathJoin(f.asideDir(name.Kind), base(name)), target)
}

// claim makes sure that a name has one writer.
func (f *Folder) claim(name Name) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if _, ok := f.writing[name]; ok {
		return fs.ErrExist
	}
	f.writing[name] = struct{}{}
	return nil
}

func (f *Folder) unclaim(name Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.writing, name)
}

// ensure makes a sub-folder, once.
func (f *Folder) ensure(dir string) error {
	f.mu.Lock()
	_, ok := f.ready[dir]
	f.mu.Unlock()
	if ok {
		return nil
	}
	if err := vfs.MkdirAll(f.fsys, dir); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready[dir] = struct{}{}
	return nil
}

// Open implements [Place]. Whoever made fsys decides whether the reader is a
// mapping: a file without a descriptor is read with ReadAt.
func (f *Folder) Open(ctx context.Context, name Name) (Reader, error) {
	r, err := f.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("segment: open %v: %w", name, err)
	}
	return r, nil
}

func (f *Folder) open(ctx context.Context, name Name) (Reader, error) {
	if err := f.check(ctx, name.Kind); err != nil {
		return nil, err
	}
	file, err := f.fsys.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%w: not a file", fs.ErrInvalid), file.Close())
	}
	m, err := mmap.Map(file, info.Size())
	switch {
	case err == nil:
		if err := file.Close(); err != nil {
			return nil, errors.Join(err, m.Close())
		}
		return m, nil
	case errors.Is(err, mmap.ErrUnsupported):
		return &fileReader{file: file, size: info.Size()}, nil
	default:
		return nil, errors.Join(err, file.Close())
	}
}

// Remove implements [Place].
func (f *Folder) Remove(ctx context.Context, name Name) error {
	if err := f.check(ctx, name.Kind); err != nil {
		return fmt.Errorf("segment: remove %v: %w", name, err)
	}
	if f.keeps(name) {
		return nil
	}
	if err := f.fsys.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment: remove %v: %w", name, err)
	}
	return nil
}

// List implements [Place]. It keeps the names of one sub-folder in memory.
func (f *Folder) List(ctx context.Context, kind Kind) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := f.check(ctx, kind); err != nil {
			yield(Entry{}, fmt.Errorf("segment: list: %w", err))
			return
		}
		for _, dir := range f.dirs(kind) {
			more, err := f.listDir(ctx, kind, dir, yield)
			if err != nil {
				yield(Entry{}, fmt.Errorf("segment: list: %w", err))
				return
			}
			if !more {
				return
			}
		}
	}
}

func (f *Folder) listDir(ctx context.Context, kind Kind, dir string, yield func(Entry, error) bool) (bool, error) {
	names, err := f.fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, base := range names {
		n, ok := parse(kind, base)
		name := Name{kind, n}
		if !ok || f.path(name) != f.fsys.PathJoin(dir, base) {
			continue // not ours, or not where we would look for it
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		info, err := f.fsys.Stat(f.fsys.PathJoin(dir, base))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if !yield(Entry{Name: name, Size: info.Size()}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// Close implements [Place]. It does no I/O.
func (f *Folder) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *Folder) check(ctx context.Context, kind Kind) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return check(kind)
}

// A folderWriter is a segment that is being written.
type folderWriter struct {
	folder *Folder
	name   Name
	file   *vfs.Writer
}

func (w *folderWriter) Write(p []byte) (int, error) { return w.file.Write(p) }

// Commit does not stop half-way when ctx ends; it only does not begin.
func (w *folderWriter) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("segment: commit %v: %w", w.name, errors.Join(err, w.Abort()))
	}
	err := w.file.Commit()
	if !errors.Is(err, fs.ErrClosed) {
		w.folder.unclaim(w.name)
	}
	if err != nil {
		return fmt.Errorf("segment: commit %v: %w", w.name, err)
	}
	return nil
}

func (w *folderWriter) Abort() error {
	err := w.file.Abort()
	if !errors.Is(err, fs.ErrClosed) {
		w.folder.unclaim(w.name)
	}
	if err != nil {
		return fmt.Errorf("segment: abort %v: %w", w.name, err)
	}
	return nil
}

// A fileReader is a segment that could not be mapped.
type fileReader struct {
	file vfs.File
	size int64
}

func (r *fileReader) ReadAt(p []byte, off int64) (int, error) { return r.file.ReadAt(p, off) }
func (r *fileReader) Size() int64                             { return r.size }
func (r *fileReader) Close() error                            { return r.file.Close() }
