//go:build darwin || freebsd

package doctor

import (
	"strings"

	"golang.org/x/sys/unix"
)

// names are the kinds by the names that the system has for them, where these differ.
var names = map[string]string{
	"smbfs": "smb", "cifs": "smb", "msdos": "fat", "msdosfs": "fat", "exfat": "fat",
	"macfuse": "fuse", "osxfuse": "fuse", "fusefs": "fuse", "unionfs": "overlay", "p9fs": "9p",
}

// FileSystemOf returns the kind of the file system that path is on. Of one of another
// machine it may begin with "network.".
func FileSystemOf(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", err
	}
	name := unix.ByteSliceToString(st.Fstypename[:])
	if other, known := names[name]; known {
		name = other
	}
	if program, of := strings.CutPrefix(name, "fusefs."); of {
		name = "fuse." + program
	}
	if st.Flags&unix.MNT_LOCAL == 0 && Local(name) == nil && kinds[familyOf(name)].Level == "" {
		name = "network." + name
	}
	return name, nil
}
