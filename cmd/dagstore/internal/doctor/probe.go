package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// rounds is how often a sync is timed.
const rounds = 25

// spillFolder is where a store has files that do not outlive a process, and what
// their names begin with: what is left there is removed by the next start.
const (
	spillFolder = "spill"
	spillPrefix = "dagstore-"
)

// Beneath is dir, or what of it is there: the folder above that exists.
func Beneath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", errors.New(dir + " is no folder")
		case !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir:
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// TimeSync writes to the disk that dir is on, 4 KiB at a time, each durable before
// the next, and says how long that took and what time the file got.
func TimeSync(dir string) (times []time.Duration, written time.Time, err error) {
	at := dir
	if spill := filepath.Join(dir, spillFolder); isFolder(spill) {
		at = spill
	}
	f, err := os.CreateTemp(at, spillPrefix+"doctor-*")
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 4096)
	for range rounds {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, time.Time{}, err
		}
		if err := f.Sync(); err != nil {
			return nil, time.Time{}, err
		}
		times = append(times, time.Since(began))
	}
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	return times, info.ModTime(), nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
