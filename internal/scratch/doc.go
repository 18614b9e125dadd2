// Package scratch makes files that nobody but this process ever sees:
//
//	f, err := scratch.File("", "dagstore-list-*")
//	...
//	defer f.Close()
//
// One is gone when it is closed, or when the process ends, however it ends.
package scratch
