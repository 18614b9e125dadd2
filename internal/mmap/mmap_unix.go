//go:build unix && !aix

package mmap

import (
	"os"

	"golang.org/x/sys/unix"
)

// openFlags opens a pipe without waiting for its writer, and a terminal
// without making it ours.
const openFlags = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

func mapFile(fd uintptr, size int) ([]byte, error) {
	data, err := unix.Mmap(int(fd), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	// Lookups jump about; read-ahead would only push out what is used. The
	// advice is not worth an error.
	_ = unix.Madvise(data, unix.MADV_RANDOM)
	return data, nil
}

func unmap(data []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(data))
}

func prefetch(data []byte) { _ = unix.Madvise(data, unix.MADV_WILLNEED) }
