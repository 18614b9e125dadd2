//go:build unix

package filemount

import (
	"io/fs"
	"os"
	"syscall"
)

// openFlags opens a pipe without waiting for its writer, and a terminal
// without making it ours. For a regular file they change nothing.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// fileNumber is the inode: another one when another file has taken the place.
func fileNumber(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino) //nolint:unconvert // of another type on some systems
	}
	return 0
}
