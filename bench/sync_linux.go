package main

import (
	"os"
	"syscall"
)

// syncData has the device keep the bytes of f.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
