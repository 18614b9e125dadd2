//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// ownerOf is the user whose file it is.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// idOf tells a folder from all others of this machine, by whatever path it is
// reached.
func idOf(path string, info fs.FileInfo) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	}
	return path
}

// keptFromOthers makes sure that dir is a folder of one of some users, in which
// nobody else can put anything: not a link, and not a socket that pretends.
func keptFromOthers(dir string, users ...int) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write in %s", dir)
	case !slices.Contains(users, ownerOf(info)):
		return fmt.Errorf("%s belongs to somebody else", dir)
	}
	return nil
}
