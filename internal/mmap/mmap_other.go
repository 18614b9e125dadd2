//go:build !windows && (!unix || aix)

package mmap

func mapFile(uintptr, int) ([]byte, error) { return nil, ErrUnsupported }

func unmap([]byte) error { return nil }

func prefetch([]byte) {}
