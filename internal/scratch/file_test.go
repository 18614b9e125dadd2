package scratch_test

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dagstore/dagstore/internal/scratch"
)

// TestFile: a file is read and written like any other, and nothing is left of it.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	f, err := scratch.File(dir, "some-*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); runtime.GOOS != "windows" && (err != nil || len(left) != 0) {
		t.Errorf("it can be seen: %v, %v", left, err)
	}
	if _, err := io.WriteString(f, "text"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if f, err := scratch.File(filepath.Join(dir, "none"), "*"); err == nil {
		t.Error("there is one in no folder")
		_ = f.Close()
	}
}
