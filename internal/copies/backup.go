package copies

import (
	"errors"
	"io/fs"

	"github.com/dagstore/dagstore/internal/vfs"
)

// Give puts the files of a copy into the folder dir of copies of another store, on
// the same file system. A complete one gets a second name there or is copied; a
// sparse one is copied, as far as it has come. linked and copied are bytes. The
// error wraps [fs.ErrNotExist] if there is no such copy, and nothing of it is left
// in dir after any. goesOn is asked now and then.
func (k *Keeper) Give(id uint32, sparse bool, dir string, goesOn func() error) (linked, copied int64, err error) {
	fsys := k.cfg.FS
	to := fsys.PathJoin(dir, part(id), base(id))
	// The entries first: those that are there by now are of units that are, too.
	names := []string{dataName}
	if sparse {
		names = []string{extentsName, sparseName}
	}
	if _, err := fsys.Stat(k.path(id, names[0])); err != nil {
		return 0, 0, err
	}
	if err := vfs.MkdirAll(fsys, to); err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		if err == nil {
			var n int64
			var link bool
			n, link, err = k.give(id, name, fsys.PathJoin(to, name), goesOn)
			if link {
				linked += n
			} else {
				copied += n
			}
		}
	}
	if err == nil {
		err = vfs.SyncDir(fsys, to)
	}
	if err != nil {
		return 0, 0, errors.Join(err, undo(fsys, to))
	}
	return linked, copied, nil
}

func (k *Keeper) give(id uint32, name, target string, goesOn func() error) (n int64, linked bool, err error) {
	if name != dataName { // it is still written
		n, err = vfs.Copy(k.cfg.FS, k.path(id, name), target, goesOn)
		return n, false, err
	}
	linked, n, err = vfs.LinkOrCopy(k.cfg.FS, k.path(id, name), target, goesOn)
	return n, linked, err
}

// undo removes a folder that was made for a copy which is gone.
func undo(fsys vfs.FS, dir string) error {
	if err := fsys.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
