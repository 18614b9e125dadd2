//go:build unix

package filemount

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe takes the place of the file after it was looked at. Nobody waits for
// its writer.
func TestPipeAtTheLastMoment(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "x.car"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, d := range map[string]door{
		"anywhere": {path: filepath.Join(dir, "x.car")},
		"within":   {path: "x.car", root: root},
	} {
		opened := make(chan error, 1)
		go func() {
			_, _, err := d.open()
			opened <- err
		}()
		select {
		case err := <-opened:
			if !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: it waits for a writer", name)
		}
	}
}

// Somebody who may write in the folder swaps a part of the path for a link
// that leads outside, between the check and the opening.
func TestLinkAtTheLastMoment(t *testing.T) {
	for name, swap := range map[string]func(dir string) (path, target string){
		"file, relative":   func(string) (string, string) { return "in/sub/x.car", "../../out/x.car" },
		"file, absolute":   func(dir string) (string, string) { return "in/sub/x.car", filepath.Join(dir, "out", "x.car") },
		"folder, relative": func(string) (string, string) { return "in/sub", "../out" },
		"folder, absolute": func(dir string) (string, string) { return "in/sub", filepath.Join(dir, "out") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"in/sub", "out"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, sub, "x.car"), []byte(sub), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			d, err := (&fence{dirs: []string{filepath.Join(dir, "in")}}).door(filepath.Join(dir, "in", "sub", "x.car"))
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			path, target := swap(dir)
			path = filepath.Join(dir, path)
			if err := os.Rename(path, filepath.Join(dir, "aside")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			if fi, err := d.stat(); err == nil {
				t.Errorf("Stat reaches %v", fi)
			}
			if f, _, err := d.open(); err == nil {
				_ = f.Close()
				t.Error("the file outside is open")
			}
		})
	}
}
