package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dropCache takes the pages of a file that nobody has mapped out of memory.
func dropCache(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	// What was not written yet would stay.
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}

// majorFaults is how many page faults of this process had to wait for a device.
func majorFaults() (int64, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Majflt, err
}

// cpuTime is how long this process has had a CPU, in all its threads.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
