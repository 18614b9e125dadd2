package filemount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dagstore/dagstore/mount"
)

// Within is an opener that refuses every file outside the given folders,
// symbolic links followed, with an error that wraps [mount.ErrDenied]. With no
// folders it refuses every file.
//
// A path outside is refused by the opener, before anything is asked about it.
// A link that leads outside is refused by Stat and Open; one that leads from
// one of the folders into another is not. Nobody who may write in the folders
// can lead a reader out of them by changing links while a file is opened. A
// folder itself may be a link, or be absent until a disk is mounted: it is
// looked up at each use.
func Within(dirs ...string) (mount.Opener, error) {
	f := new(fence)
	for _, dir := range dirs {
		abs, err := absolute(dir)
		if err != nil {
			return nil, fmt.Errorf("filemount: folder %q: %w", dir, reason(err))
		}
		f.dirs = append(f.dirs, abs)
		f.names = append(f.names, abs)
		if resolved, err := filepath.EvalSymlinks(abs); err == nil && resolved != abs {
			f.names = append(f.names, resolved)
		}
	}
	return f.openURL, nil
}

// A fence is a set of folders.
type fence struct {
	dirs  []string // absolute
	names []string // by which a path may refer to one of them: dirs, and dirs with links resolved
}

func (f *fence) openURL(url string) (mount.Mount, error) {
	path, err := pathOf(url)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(f.names, func(dir string) bool { return inside(dir, path) != "" }) {
		return nil, fmt.Errorf("%w: %q is outside of the folders that are", mount.ErrDenied, path)
	}
	return &file{path: path, within: f}, nil
}

// door finds out in which folder path leads, links resolved, and returns a way
// to it that cannot leave this folder: the links may have changed by the time
// that it is used, and [os.Root] then refuses to follow them.
func (f *fence) door(path string) (door, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return door{}, err
	}
	for _, dir := range f.dirs {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // absent now; the others may have it
		}
		rel := inside(real, resolved)
		if rel == "" {
			continue
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return door{}, err
		}
		return door{root: root, path: rel}, nil
	}
	return door{}, fmt.Errorf("%w: it leads outside of the folders that are", mount.ErrDenied)
}

// inside returns path relative to dir, or "" if it does not lie below.
func inside(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return ""
	}
	return rel
}
