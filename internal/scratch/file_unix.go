//go:build unix

package scratch

import (
	"errors"
	"os"
)

// File makes an empty file in dir, or where temporary files go if dir is "". The
// last "*" of pattern stands for what tells it from others. It has no name any more.
func File(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
