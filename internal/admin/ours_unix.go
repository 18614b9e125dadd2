//go:build unix

package admin

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// onlyOurs refuses a file of somebody else, and one that others may read or write.
// What belongs to root is nobody else's: root may do everything anyway.
func onlyOurs(path string, info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := ourOwner(path, int(stat.Uid), os.Geteuid()); err != nil {
			return err
		}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o: others must not read it (chmod 600)", path, mode)
	}
	return nil
}

// ourOwner refuses what belongs to another user than us.
func ourOwner(path string, owner, us int) error {
	if owner != us && owner != 0 {
		return fmt.Errorf("%s belongs to the user with number %d, and this process runs as %d: only its own tokens are good", path, owner, us)
	}
	return nil
}
