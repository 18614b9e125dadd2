//go:build unix

package admin

import "os"

// hide takes a file's name away, so that it goes with the process, however that
// ends.
func hide(f *os.File) { _ = os.Remove(f.Name()) }
