//go:build !linux && !darwin && !freebsd && !windows

package doctor

// FileSystemOf returns the kind of the file system that path is on; "" where this
// program does not know.
func FileSystemOf(string) (string, error) { return "", nil }
