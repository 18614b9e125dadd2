//go:build unix

package doctor

import "golang.org/x/sys/unix"

// OpenFiles returns how many files a process of this user may have open; 0 if
// that cannot be told.
func OpenFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	// The Go runtime raises the limit to this one when it starts.
	return uint64(limit.Max) //nolint:unconvert // its type depends on the system
}
