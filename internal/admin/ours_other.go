//go:build !unix

package admin

import "io/fs"

// onlyOurs trusts the rights of the folder, which a mode does not show here.
func onlyOurs(string, fs.FileInfo) error { return nil }
