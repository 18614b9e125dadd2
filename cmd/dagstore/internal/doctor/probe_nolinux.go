//go:build !linux

package doctor

// FreeInodes returns how many more files the file system takes that path is on; -1
// if that cannot be told.
func FreeInodes(string) int64 { return -1 }

// MostMaps returns how many mappings a process may have; 0 if there is no such
// limit.
func MostMaps() uint64 { return 0 }
