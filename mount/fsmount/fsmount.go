package fsmount

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// ErrNotRegular is wrapped by the error about a path that leads to something
// else than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// A System is a file system of the program. Its files may be opened by many
// goroutines at once. A context ends a stream between two reads: a call of the
// file system that hangs is not cut short.
type System struct {
	FS fs.FS

	// InPlace says that every file of it that is a CAR is an [io.ReaderAt] which
	// needs no wait, so that a store reads it where it lies: its mounts are
	// [mount.FileOpener]. A file that is none after all gives [mount.ErrNotLocal].
	InPlace bool
}

// Systems are file systems by name. It is a plain value that the program
// writes out, and must not change once it is in use. A name is not empty and
// has no slash in it.
type Systems map[string]System

// Mount mounts the file at path, in the sense of [io/fs.ValidPath], in the
// system called name. It does no I/O, and the name need not be known: a missing
// system and a missing file are errors of Stat and Open that wrap
// [io/fs.ErrNotExist]. A name or path that none can have wraps [mount.ErrURL].
//
// The Mount is a [mount.SiblingOpener] and a [mount.RangeOpener], whose ranges
// give [mount.ErrNoRanges] if the file that is opened has no way to begin
// anywhere, and a [mount.FileOpener] if the system is InPlace. Its version is
// made of size and time of modification, and of the checksum that the
// directory of a zip archive has. A file of which neither is known, as in
// an embed.FS, has no version.
func (s Systems) Mount(name, path string) (mount.Mount, error) {
	switch {
	case name == "" || strings.Contains(name, "/"):
		return nil, fmt.Errorf("%w: no file system is called so", mount.ErrURL)
	case !fs.ValidPath(path) || path == ".":
		return nil, fmt.Errorf("%w: no file of a file system has such a path", mount.ErrURL)
	}
	return s.mount(name, path), nil
}

func (s Systems) mount(name, path string) mount.Mount {
	f := file{systems: s, name: name, path: path}
	if s[name].InPlace {
		return inPlace{f}
	}
	return f
}

// Open is the opener of "fs" URLs. What is not escaped canonically is taken and
// spelt canonically by the Mount; a query, and a path that [io/fs.ValidPath]
// does not know, wrap [mount.ErrURL]. An error does not repeat the URL, which
// may hold a credential that does not belong there.
func (s Systems) Open(url string) (mount.Mount, error) {
	rest, ok := strings.CutPrefix(url, "fs:")
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with \"fs:\"", mount.ErrURL)
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return nil, fmt.Errorf("%w: a %q in a path is written %%%X", mount.ErrURL, rest[i], rest[i])
	}
	name, path, ok := strings.Cut(rest, "/")
	if !ok {
		return nil, fmt.Errorf("%w: it has no path after the name of a file system", mount.ErrURL)
	}
	name, err := mount.UnescapePath(name)
	if err != nil {
		return nil, err
	}
	if path, err = mount.UnescapePath(path); err != nil {
		return nil, err
	}
	return s.Mount(name, path)
}

// file is the mount of a path; inPlace that of one that can be opened as a file.
type (
	file struct {
		systems    Systems
		name, path string
	}
	inPlace struct{ file }
)

var (
	_ mount.RangeOpener   = file{}
	_ mount.SiblingOpener = file{}
	_ mount.FileOpener    = inPlace{}
)

// URL implements [mount.Mount].
func (f file) URL() string { return "fs:" + mount.EscapePath(f.name) + "/" + mount.EscapePath(f.path) }

// OpenSibling implements [mount.SiblingOpener].
func (f file) OpenSibling(suffix string) (mount.Mount, error) {
	return f.systems.mount(f.name, f.path+suffix), nil
}

// Stat implements [mount.Mount]. It opens the file to see what it offers.
func (f file) Stat(ctx context.Context) (mount.Stat, error) {
	o, err := f.open(ctx)
	if err != nil {
		return mount.Stat{}, err
	}
	st := mount.Stat{Size: o.size, Version: o.version, ModTime: o.modified, Ranges: o.seeker != nil || o.at != nil}
	_ = o.file.Close() // it was not read
	return st, nil
}

// Open implements [mount.Mount].
func (f file) Open(ctx context.Context) (io.ReadCloser, error) {
	o, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return &stream{ctx: ctx, opened: o, r: o.file, left: o.size, check: true}, nil
}

// OpenRange implements [mount.RangeOpener]. The version is that of the file
// that was opened.
func (f file) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	o, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	s, err := o.stream(ctx, r)
	if err != nil {
		_ = o.file.Close() // it was not read
		return nil, f.fail("open", err)
	}
	return s, nil
}

// OpenFile implements [mount.FileOpener].
func (f inPlace) OpenFile(ctx context.Context) (mount.File, error) {
	o, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	if o.at == nil {
		_ = o.file.Close() // it was not read
		return nil, f.fail("open", fmt.Errorf("%w: it cannot be read at random", mount.ErrNotLocal))
	}
	return o, nil
}

// open opens the file, if it is a regular one.
func (f file) open(ctx context.Context) (*opened, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	system, ok := f.systems[f.name]
	if !ok || system.FS == nil {
		return nil, f.fail("open", fmt.Errorf("the program has no file system of this name: %w", fs.ErrNotExist))
	}
	got, err := system.FS.Open(f.path)
	if err != nil {
		return nil, f.fail("open", err)
	}
	info, err := got.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		_ = got.Close() // it was not read
		return nil, f.fail("open", err)
	}
	o := &opened{mount: f, file: got, size: info.Size(), version: version(info)}
	if info.Size() < 0 {
		o.size = -1
	}
	o.modified = info.ModTime()
	o.seeker, _ = got.(io.Seeker)
	if o.size >= 0 {
		o.at, _ = got.(io.ReaderAt)
	}
	return o, nil
}

// fail takes from err what package fs says of operation and path: our own
// errors say that once, and quote what a terminal would obey.
func (f file) fail(op string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("fsmount: %s %q of %q: %w", op, f.path, f.name, err)
}

// version is what Mount says of it.
func version(info fs.FileInfo) string {
	var sum string
	if h, ok := info.Sys().(*zip.FileHeader); ok {
		sum = "-" + strconv.FormatUint(uint64(h.CRC32), 16)
	}
	if info.ModTime().IsZero() && sum == "" {
		return ""
	}
	return strconv.FormatInt(info.Size(), 16) + "-" + strconv.FormatInt(info.ModTime().UnixNano(), 16) + sum
}
