//go:build !unix && !windows

package filemount

import (
	"io/fs"
	"os"
)

const openFlags = os.O_RDONLY

// fileNumber is 0: this system has none.
func fileNumber(fs.FileInfo) uint64 { return 0 }
