//go:build !linux

package main

import "os"

// syncData has the device keep the bytes of f.
func syncData(f *os.File) error { return f.Sync() }
