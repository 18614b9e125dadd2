package doctor

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// OpenFiles returns how many files a process of this user may have open; 0: there
// is no such limit.
func OpenFiles() uint64 { return 0 }

// FileSystemOf returns "smb" for a path on another machine, be it by a letter or by
// \\server\share, else "".
func FileSystemOf(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	if err != nil {
		return "", err
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return "smb", nil
	}
	return "", nil
}
