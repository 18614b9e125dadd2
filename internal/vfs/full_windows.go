package vfs

import (
	"errors"
	"syscall"
)

const (
	handleDiskFull syscall.Errno = 39  // ERROR_HANDLE_DISK_FULL
	diskFull       syscall.Errno = 112 // ERROR_DISK_FULL
)

// IsFull reports whether err says that the disk, or what of it is allowed, is
// full.
func IsFull(err error) bool {
	return errors.Is(err, diskFull) || errors.Is(err, handleDiskFull) || errors.Is(err, syscall.ENOSPC)
}
