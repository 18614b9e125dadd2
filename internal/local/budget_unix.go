//go:build unix

package local

import "syscall"

// descriptors is how many files the system lets this process have open.
func descriptors() int {
	const enough = 1 << 20
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 1024
	}
	return int(min(uint64(lim.Cur), enough)) //nolint:unconvert // of another type on some systems
}
