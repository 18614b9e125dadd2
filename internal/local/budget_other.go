//go:build !unix

package local

// descriptors is how many files this process may have open where the system
// sets no limit that can be asked for.
func descriptors() int { return 1 << 14 }
