//go:build !windows

package vfs

import "syscall"

// isHeldErrno knows what fcntl(F_SETLK) says of a lock that is held.
func isHeldErrno(no syscall.Errno) bool {
	return no == syscall.EAGAIN || no == syscall.EACCES
}
