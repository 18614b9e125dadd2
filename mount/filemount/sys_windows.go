package filemount

import (
	"io/fs"
	"os"
	"syscall"
)

const openFlags = os.O_RDONLY

// fileNumber is the time of creation: another one when another file has taken
// the place. Windows tells the true number of open files only.
func fileNumber(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Win32FileAttributeData); ok {
		return uint64(st.CreationTime.Nanoseconds())
	}
	return 0
}
