package dagstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// snapshot is what a folder looks like: names, bytes, modes and times.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String() + info.ModTime().Format(time.RFC3339Nano)
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(data)
		}
		all[path] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A store of a later version is refused, and not one byte of it, no name and no
// time is changed.
func TestNewerVersionIsLeftAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := FormatOf(dir); n != Format || err != nil {
		t.Errorf("FormatOf: %d, %v", n, err)
	}
	for text, want := range map[string]int{"dagstore 2\n": 2, "dagstore 99\n": 99, "dagstore x\n": 0, "": 0, "dagstore -1\n": 0} {
		if err := os.WriteFile(filepath.Join(dir, versionFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		for _, cfg := range []*Config{nil, {NoCreate: true}} {
			if s, err := Open(t.Context(), dir, cfg); !errors.Is(err, ErrVersion) {
				t.Errorf("%q opens: %v, %v", text, s, err)
			}
		}
		if n, err := FormatOf(dir); n != want || errors.Is(err, ErrVersion) != (want == 0) {
			t.Errorf("%q: FormatOf is %d, %v", text, n, err)
		}
		after := snapshot(t, dir)
		if len(before) < 5 || len(after) != len(before) {
			t.Errorf("%q: %d files were %d", text, len(after), len(before))
		}
		for path, was := range before {
			if after[path] != was {
				t.Errorf("%q: %s was changed", text, path)
			}
		}
	}
	if _, err := FormatOf(t.TempDir()); !errors.Is(err, ErrNoStore) {
		t.Errorf("an empty folder: %v", err)
	}
}
