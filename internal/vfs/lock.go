package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
)

// LockName is the file in a folder by which the folder is locked. It is empty
// and stays behind when the lock is released: what counts is the lock on it.
const LockName = "LOCK"

// ErrLocked says that another process, or this one, has the folder open.
var ErrLocked = errors.New("folder is in use")

// LockFolder locks the folder dir for this process until the returned Closer
// is closed or the process ends, however it ends. It does not wait: if the
// folder is locked the error wraps [ErrLocked]. The folder must exist.
//
// On Unix the lock is fcntl's: closing any other descriptor of the LOCK file
// in this process releases it, so nobody else should open that file.
func LockFolder(fsys FS, dir string) (io.Closer, error) {
	if native, ok := Native(fsys, dir); ok {
		// fcntl does not exclude within a process; Pebble's table of names
		// does, provided that a folder has only one name.
		resolved, err := resolve(native)
		if err != nil {
			return nil, err
		}
		dir = resolved
	}
	return LockFile(fsys, fsys.PathJoin(dir, LockName))
}

// LockFile locks the file at name, which is made if it is not there, as
// [LockFolder] locks the LOCK file of a folder.
func LockFile(fsys FS, name string) (io.Closer, error) {
	lock, err := fsys.Lock(name)
	if err != nil {
		if isHeld(err) {
			return nil, fmt.Errorf("%w: %s is held (%v)", ErrLocked, name, err) //nolint:errorlint // the number would match fs.ErrPermission
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return &folderLock{lock: lock}, nil
}

func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// isHeld tells a lock that somebody holds from one that could not be asked
// for. Failing to make the file is a PathError on Unix; what fcntl and Windows
// say of a held lock is a bare error number; Pebble's word for a lock of the
// same process is a text without either.
func isHeld(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return false
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return isHeldErrno(no)
	}
	return true
}

// folderLock makes a second Close harmless; Pebble's panics.
type folderLock struct {
	once sync.Once
	lock io.Closer
	err  error
}

func (l *folderLock) Close() error {
	l.once.Do(func() { l.err = l.lock.Close() })
	return l.err
}
