package extract

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// treeOf returns what lies below dir: content by path; "/" for folders, "-> "
// and the target for symlinks.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case entry.IsDir():
			found[filepath.ToSlash(name)] = "/"
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[filepath.ToSlash(name)] = "-> " + target
			return err
		}
		data, err := os.ReadFile(path)
		found[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantEmpty wants nothing in dir: no result, and nothing left from making one.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if found := treeOf(t, dir); len(found) > 0 {
		t.Errorf("left behind: %v", slices.Sorted(maps.Keys(found)))
	}
}
