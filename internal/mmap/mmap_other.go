//go:build !windows && (!unix || aix)

package mmap

import "os"

const openFlags = os.O_RDONLY

func mapFile(uintptr, int) ([]byte, error) { return nil, ErrUnsupported }

func unmap([]byte) error { return nil }

func prefetch([]byte) {}
