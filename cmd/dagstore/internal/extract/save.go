package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"
)

// staged is what the result is called until it is complete.
const staged = "staged"

// SaveFile writes what write writes to the file dst, aside first. It wraps
// [ErrExists] if there is something at dst; if it fails, it leaves nothing.
func SaveFile(dst string, write func(io.Writer) error) error {
	return aside(dst, func(dir *os.Root) error {
		return writeFile(dir, staged, true, write)
	})
}

// Save writes what c is to dst: a file, or a folder with all that is in it. It
// wraps [ErrKind] if it is something else, and [ErrExists] if there is something at dst; if it fails, it
// leaves nothing.
//
// It returns the paths, below dst, of the symlinks that it has left out, since
// they could lead out of dst or the system does not allow them. Modes and
// times are those that the DAG says, where it does, else those of new files. Of a
// mode only the nine bits for reading, writing and executing count, and its owner
// can always use a folder.
func (r *Reader) Save(ctx context.Context, c cid.Cid, dst string) (leftOut []string, err error) {
	err = aside(dst, func(dir *os.Root) error {
		t := &tree{reader: r}
		if err := t.entry(ctx, dir, staged, nil, c); err != nil {
			return err
		}
		leftOut = t.leftOut
		return nil
	})
	return leftOut, err
}

// aside has write put something called [staged] into a folder beside dst, and
// moves it to dst when it is complete.
func aside(dst string, write func(*os.Root) error) error {
	dst = filepath.Clean(dst)
	if err := vacant(dst); err != nil {
		return err
	}
	// In the same folder, so that it is the same file system.
	tmp, err := os.MkdirTemp(filepath.Dir(dst), ".dagstore-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	dir, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := write(dir); err != nil {
		return err
	}
	// Where an open folder cannot be moved.
	if err := dir.Close(); err != nil {
		return err
	}
	return publish(filepath.Join(tmp, staged), dst)
}

// vacant wraps [ErrExists] unless there is nothing at dst.
func vacant(dst string) error {
	switch _, err := os.Lstat(dst); {
	case err == nil:
		return fmt.Errorf("%s %w", dst, ErrExists)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// publish moves src to dst, where there is nothing. For a file a hard link
// makes sure of that: a rename would replace what has come there meanwhile.
func publish(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		switch err := os.Link(src, dst); {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%s %w", dst, ErrExists)
		}
		// Not every file system has hard links.
	}
	if err := vacant(dst); err != nil {
		return err
	}
	return os.Rename(src, dst)
}

// writeFile makes the file name in dir, which must not be there. sync waits
// until it is on the disk.
func writeFile(dir *os.Root, name string, sync bool, write func(io.Writer) error) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
