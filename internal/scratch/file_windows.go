package scratch

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// File makes an empty file in dir, or where temporary files go if dir is "". The
// last "*" of pattern stands for what tells it from others. The system removes it
// with the last handle of it.
func File(dir, pattern string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	name := pattern + rand.Text()
	if i := strings.LastIndexByte(pattern, '*'); i >= 0 {
		name = pattern[:i] + rand.Text() + pattern[i+1:]
	}
	path := filepath.Join(dir, name)
	wide, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	handle, err := windows.CreateFile(wide,
		windows.GENERIC_READ|windows.GENERIC_WRITE|windows.DELETE, windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, nil,
		windows.CREATE_NEW, windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(handle), path), nil
}
