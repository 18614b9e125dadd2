package vfs

import "syscall"

// What Windows says of a file that another handle has open exclusively.
const (
	errorSharingViolation syscall.Errno = 32
	errorLockViolation    syscall.Errno = 33
)

func isHeldErrno(no syscall.Errno) bool {
	// EAGAIN is what the in-memory file system says on every platform.
	return no == errorSharingViolation || no == errorLockViolation || no == syscall.EAGAIN
}
