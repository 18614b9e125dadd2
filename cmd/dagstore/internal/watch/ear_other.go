//go:build !linux

package watch

import (
	"errors"
	"io/fs"
	"time"
)

var errNoEar = errors.New("this system cannot tell of changes in folders")

func newEar(func(below string, n news)) (ear, error) { return nil, errNoEar }

// changeTime is not known: the time of modification can be set by anybody.
func changeTime(fs.FileInfo) time.Time { return time.Time{} }
