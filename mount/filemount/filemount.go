package filemount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dagstore/dagstore/mount"
)

// ErrNotRegular is wrapped by the error about a path that leads to something
// else than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// New mounts the regular file at path, which may be relative and hold any
// byte that the system allows. It does no I/O but to make the path absolute:
// a missing file, a folder, a pipe or a device is an error of Stat and Open.
// To make it absolute means to find the file that the system would open: where
// a path has ".." after a symbolic link, the link is followed, and what comes
// before a ".." must exist. A path that is empty or holds a zero byte wraps
// [io/fs.ErrInvalid].
//
// The Mount is a [mount.RangeOpener], a [mount.FileOpener] and a
// [mount.SiblingOpener]. Its version changes when the file is written or
// another file takes its place, as far as the file system tells: it is made of
// size, time of modification and number of the file (on Windows, its time of
// creation). The device is left out, for its number may be another after the
// next restart. Two changes within one tick of the file system's clock that
// leave the size as it was look like one.
//
// A stream ends at the size that the file had when it was opened. If the file
// has become shorter by then, Read and ReadAt give io.ErrUnexpectedEOF.
func New(path string) (mount.Mount, error) {
	abs, err := absolute(path)
	if err != nil {
		return nil, fmt.Errorf("filemount: path %q: %w", path, reason(err))
	}
	return &file{path: abs}, nil
}

// Open is the opener of "file" URLs. It takes any spelling that means one
// file: needless escapes, "file:/path", the host "localhost", "." and ".."
// (which are removed as RFC 3986 says, without looking at links); the Mount
// has the canonical one. A path that is relative, a query, a zero byte and,
// but on Windows, the name of another host wrap [mount.ErrURL].
func Open(url string) (mount.Mount, error) {
	path, err := pathOf(url)
	if err != nil {
		return nil, err
	}
	return &file{path: path}, nil
}

// file is a mount of one path.
type file struct {
	path   string // absolute and clean
	within *fence // nil: it may lie anywhere
}

var (
	_ mount.RangeOpener = (*file)(nil)
	_ mount.FileOpener  = (*file)(nil)

	_ mount.SiblingOpener = (*file)(nil)
)

// URL implements [mount.Mount].
func (f *file) URL() string { return formatURL(f.path, onWindows) }

// OpenSibling implements [mount.SiblingOpener]. What lies beside a file that is
// confined is confined to the same folders, links followed.
func (f *file) OpenSibling(suffix string) (mount.Mount, error) {
	return &file{path: f.path + suffix, within: f.within}, nil
}

// Stat implements [mount.Mount].
func (f *file) Stat(ctx context.Context) (mount.Stat, error) {
	if err := ctx.Err(); err != nil {
		return mount.Stat{}, err
	}
	d, err := f.door()
	if err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	defer d.close()
	fi, err := d.stat()
	if err == nil {
		err = regular(fi)
	}
	if err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	return mount.Stat{Size: fi.Size(), Version: version(fi), ModTime: fi.ModTime(), Ranges: true}, nil
}

// Open implements [mount.Mount].
func (f *file) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.OpenRange(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener]. The version is that of the file
// that was opened, so no other file can slip in between.
func (f *file) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	o, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	if r.Version != "" && r.Version != o.version {
		err = fmt.Errorf("%w: it has version %s, not %s", mount.ErrChanged, o.version, r.Version)
	} else {
		r, err = r.Resolve(o.size)
	}
	if err != nil {
		_ = o.Close() // nothing was written to it
		return nil, f.fail("open", err)
	}
	return &stream{ctx: ctx, file: o, at: r.Offset, end: r.Offset + r.Length}, nil
}

// OpenFile implements [mount.FileOpener].
func (f *file) OpenFile(ctx context.Context) (mount.File, error) {
	o, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// open opens the file if it is a regular one. It asks before it opens, since
// opening a device may set it going.
func (f *file) open(ctx context.Context) (*opened, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := f.door()
	if err != nil {
		return nil, f.fail("open", err)
	}
	defer d.close()
	fi, err := d.stat()
	if err == nil {
		err = regular(fi)
	}
	if err != nil {
		return nil, f.fail("open", err)
	}
	osFile, fi, err := d.open()
	if err != nil {
		return nil, f.fail("open", err)
	}
	return &opened{mount: f, file: osFile, size: fi.Size(), version: version(fi)}, nil
}

// door returns the way in which the system is asked for the file.
func (f *file) door() (door, error) {
	if f.within == nil {
		return door{path: f.path}, nil
	}
	return f.within.door(f.path)
}

func (f *file) fail(op string, err error) error {
	return fmt.Errorf("filemount: %s %q: %w", op, f.path, reason(err))
}

// A door is a path and, if it is confined, the folder that it is confined to.
type door struct {
	root *os.Root // nil: none
	path string
}

func (d door) stat() (fs.FileInfo, error) {
	if d.root != nil {
		return d.root.Stat(d.path)
	}
	return os.Stat(d.path)
}

// open opens what lies there by now and refuses it unless it is a regular
// file. It may be a pipe: openFlags keeps the system from waiting for a writer.
func (d door) open() (*os.File, fs.FileInfo, error) {
	var f *os.File
	var err error
	if d.root != nil {
		f, err = d.root.OpenFile(d.path, openFlags, 0)
	} else {
		f, err = os.OpenFile(d.path, openFlags, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = regular(fi)
	}
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, nil, err
	}
	return f, fi, nil
}

func (d door) close() {
	if d.root != nil {
		_ = d.root.Close() // a folder that was only read
	}
}

// regular says what fi is, unless it is a regular file.
func regular(fi fs.FileInfo) error {
	kind := "something else"
	switch m := fi.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		kind = "a folder"
	case m&fs.ModeNamedPipe != 0:
		kind = "a pipe"
	case m&fs.ModeSocket != 0:
		kind = "a socket"
	case m&fs.ModeDevice != 0:
		kind = "a device"
	}
	return fmt.Errorf("%w: it is %s", ErrNotRegular, kind)
}

// version is what New says of it.
func version(fi fs.FileInfo) string {
	b := strconv.AppendInt(nil, fi.Size(), 16)
	b = append(b, '-')
	b = strconv.AppendInt(b, fi.ModTime().UnixNano(), 16)
	b = append(b, '-')
	b = strconv.AppendUint(b, fileNumber(fi), 16)
	return string(b)
}

// reason takes from an error of package os what it says of operation and
// path: our own errors say that once, and quote what a terminal would obey.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// absolute returns the path of the file that the system would open under path.
func absolute(path string) (string, error) {
	for i := range len(path) {
		if path[i] == 0 {
			return "", fs.ErrInvalid
		}
	}
	if path == "" {
		return "", fs.ErrInvalid
	}
	if onWindows { // where the system itself takes ".." by the letter
		return filepath.Abs(path)
	}
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = wd + "/" + path // not Join, which would remove ".." by the letter
	}
	head, tail := splitDotDot(path)
	if head == "" {
		return filepath.Clean(path), nil
	}
	head, err := filepath.EvalSymlinks(head)
	if err != nil {
		return "", err
	}
	return filepath.Join(head, tail), nil
}
