//go:build !windows

package vfs

import (
	"errors"
	"syscall"
)

// IsFull reports whether err says that the disk, or what of it is allowed, is
// full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
