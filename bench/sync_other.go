//go:build !linux

package main

import "os"

// syncData has the device keep the bytes of f.
func syncData(f *os.File) error { return f.Sync() }

// forget would throw f out of the page cache, which cannot be done here.
func forget(*os.File) error { return nil }
