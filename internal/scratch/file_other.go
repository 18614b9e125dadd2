//go:build !unix && !windows

package scratch

import (
	"errors"
	"os"
)

// File is not possible where a file has its name for as long as it is open.
func File(string, string) (*os.File, error) { return nil, errors.ErrUnsupported }
