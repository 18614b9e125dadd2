package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncData has the device keep the bytes of f.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// forget throws what is clean of f out of the page cache.
func forget(f *os.File) error {
	if err := f.Sync(); err != nil { // what is dirty would stay
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
