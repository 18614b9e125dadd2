//go:build unix

package admin

import (
	"fmt"
	"io/fs"
)

// onlyOurs refuses a file that others may read or write.
func onlyOurs(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o: others must not read it (chmod 600)", path, mode)
	}
	return nil
}
