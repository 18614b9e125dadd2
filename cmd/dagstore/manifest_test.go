package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadAnew: a command that begins anew, as its holder has ended, takes all of
// what it reads or nothing, never the rest.
func TestReadAnew(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	path := filepath.Join(t.TempDir(), "members")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	for name, in := range map[string]io.Reader{"a file": file, "a pipe": strings.NewReader(text)} {
		r := &anew{in: in}
		if err := r.start(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.start(); err != nil {
			t.Errorf("%s of which nothing was read: %v", name, err)
		}
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		err := r.start()
		if in == io.Reader(file) {
			if all, readErr := io.ReadAll(r); err != nil || readErr != nil || string(all) != text {
				t.Errorf("%s again: %q, %v, %v", name, all, err, readErr)
			}
		} else if err == nil {
			t.Errorf("%s was taken for what was left of it", name)
		}
	}
}
