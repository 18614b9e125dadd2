package vfs

import (
	"errors"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// LinkOrCopy gives the file source a second name, target, or makes a synced copy
// of it under that name where no link can be made: on another disk, or on a file
// system without links. It reports which of the two it was. A file that may still
// be written must be copied; see [Copy]. The folder of target is not synced. If
// target is there already the error wraps [fs.ErrExist].
func LinkOrCopy(fsys FS, source, target string, goesOn func() error) (linked bool, size int64, err error) {
	info, err := fsys.Stat(source)
	if err != nil {
		return false, 0, err
	}
	switch err := fsys.Link(source, target); {
	case err == nil:
		return true, info.Size(), nil
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return false, 0, err
	}
	size, err = Copy(fsys, source, target, goesOn)
	return false, size, err
}

// Copy makes a synced copy of a file under a name that is free, and returns how
// long it is. It asks goesOn now and then and ends with its error. The folder of
// target is not synced. After an error nothing is left of the copy, if the disk
// lets that be done.
func Copy(fsys FS, source, target string, goesOn func() error) (size int64, err error) {
	src, err := fsys.Open(source, vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	switch _, err := fsys.Stat(target); {
	case err == nil:
		return 0, &fs.PathError{Op: "copy", Path: target, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	dst, err := fsys.Create(target, category)
	if err != nil {
		return 0, err
	}
	size, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{asked{src, goesOn}}, make([]byte, 1<<20))
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return size, errors.Join(err, removeIfThere(fsys, target))
	}
	return size, nil
}

// asked is a reader that asks before it reads whether to go on.
type asked struct {
	r      io.Reader
	goesOn func() error
}

func (a asked) Read(p []byte) (int, error) {
	if err := a.goesOn(); err != nil {
		return 0, err
	}
	return a.r.Read(p)
}
