package filemount_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

var registry = mount.Registry{"file": filemount.Open}

// write makes a file and returns its path.
func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mounted(t *testing.T, path string) mount.Mount {
	t.Helper()
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLaws(t *testing.T) {
	for _, n := range []int{0, 1, 3, 10_000} {
		data := bytes.Repeat([]byte("0123456789abcdef!"), n)[:n]
		m := mounted(t, write(t, filepath.Join(t.TempDir(), "a car"), data))
		if err := mounttest.Test(t.Context(), registry, m, data); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// names are file names that have got lost on their way through a URL.
func names() []string {
	names := []string{
		"plain.car", "two words.car", "100%.car", "%41.car", "%2F.car", "a#b.car", "#bytes=0-1",
		"a+b&c=d;e,f@g!h$i'j(k)l.car", "~tilde", "...", "..car", "é.car", "日本.car", "a[0].car", "{x}^`",
	}
	if runtime.GOOS != "windows" {
		names = append(names,
			"what?.car", "?", "a\nb.car", "tab\there", "back\\slash", "a:b", "C:", "\"quoted\"", "<x>|y", "*", " ", "trailing ",
			"\x01\x7f", "-rf", "http:", "file:",
		)
	}
	if runtime.GOOS == "linux" {
		names = append(names, "\xff\xfe.car", "caf\xe9.car", "\xed\xa0\x80")
	}
	return names
}

// R2: a shard of a local file is gone after a restart because its path did not
// survive the URL.
func TestR02PathSurvivesURL(t *testing.T) {
	for _, name := range names() {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name) // a folder of that name, too
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			m := mounted(t, write(t, filepath.Join(dir, name), []byte(name)))
			again, err := registry.Open(m.URL())
			if err != nil {
				t.Fatalf("%q: %v", m.URL(), err)
			}
			if again.URL() != m.URL() {
				t.Errorf("%q is spelt %q when opened", m.URL(), again.URL())
			}
			r, err := again.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); string(got) != name || err != nil {
				t.Errorf("%q leads to %q, %v", m.URL(), got, err)
			}
		})
	}
}

func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	want := mounted(t, write(t, filepath.Join(dir, "x.car"), []byte("x"))).URL()
	for _, path := range []string{"x.car", "./x.car", "sub/../x.car", ".//x.car", "sub/./.././x.car"} {
		resolved, err := filepath.EvalSymlinks(dir) // as ".." makes it resolve
		if err != nil {
			t.Fatal(err)
		}
		got := mounted(t, path).URL()
		if got != want && got != mounted(t, filepath.Join(resolved, "x.car")).URL() {
			t.Errorf("%q is %q, not %q", path, got, want)
		}
	}
	// The way back out of the mount needs no working folder.
	m := mounted(t, "x.car")
	t.Chdir(sub)
	if _, err := m.Stat(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, path := range []string{"", "a\x00b"} {
		if m, err := filemount.New(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q gives %v, %v", path, m, err)
		}
	}
}

// ways are all the ways to ask for a file.
func ways(ctx context.Context, m mount.Mount) map[string]error {
	errs := make(map[string]error)
	_, errs["Stat"] = m.Stat(ctx)
	stream, err := m.Open(ctx)
	errs["Open"] = err
	part, err := mount.OpenRange(ctx, m, mount.Range{Length: 1})
	errs["OpenRange"] = err
	file, err := mount.OpenFile(ctx, m)
	errs["OpenFile"] = err
	for _, c := range []io.Closer{stream, part, file} {
		if c != nil {
			_ = c.Close()
		}
	}
	return errs
}

func wantAll(t *testing.T, m mount.Mount, want error) {
	t.Helper()
	for way, err := range ways(t.Context(), m) {
		if !errors.Is(err, want) {
			t.Errorf("%s of %s gives %v, not %v", way, m.URL(), err, want)
		}
	}
}

func TestNotThere(t *testing.T) {
	dir := t.TempDir()
	wantAll(t, mounted(t, filepath.Join(dir, "absent")), fs.ErrNotExist)
	wantAll(t, mounted(t, dir), filemount.ErrNotRegular)
}

// An error quotes the path, so that a path cannot write to a terminal.
func TestErrorsQuoteThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a\x1b[2Jb")
	for way, err := range ways(t.Context(), mounted(t, path)) {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("x1b[2Jb")) || bytes.ContainsRune([]byte(err.Error()), 0x1b) {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestVersionChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.car")
	later := time.Now()
	changes := map[string]func(){
		"longer": func() { write(t, path, []byte("longer than it was")) },
		"newer":  func() { write(t, path, []byte("was")) },
		"replaced, as old and as long": func() {
			// The other file exists before the first goes, so it has another number.
			other := write(t, path+".new", []byte("WAS"))
			if err := os.Chtimes(other, later, later); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			m := mounted(t, write(t, path, []byte("was")))
			if err := os.Chtimes(path, later, later); err != nil {
				t.Fatal(err)
			}
			before, err := m.Stat(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			change()
			if name == "newer" {
				if err := os.Chtimes(path, later, later.Add(time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			after, err := m.Stat(t.Context())
			if err != nil || after.Version == before.Version {
				t.Errorf("version %q before, %q after, %v", before.Version, after.Version, err)
			}
			r := mount.Range{Length: 1, Version: before.Version}
			if _, err := mount.OpenRange(t.Context(), m, r); !errors.Is(err, mount.ErrChanged) {
				t.Errorf("a range of the old version gives %v", err)
			}
		})
	}
}

// A file that is cut while it is read is not taken for complete.
func TestTruncatedWhileRead(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "x.car"), make([]byte, 1000))
	m := mounted(t, path)
	stream, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	file, err := mount.OpenFile(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.ReadFull(stream, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 300); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(stream)
	if len(got) != 200 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream gives %d bytes more and %v", len(got), err)
	}
	for off, want := range map[int64]int{0: 300, 250: 50, 300: 0, 900: 0} {
		n, err := file.ReadAt(make([]byte, 1000), off)
		if n != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ReadAt at %d gives %d bytes and %v", off, n, err)
		} else if n == 0 && strings.Contains(err.Error(), "ends at") {
			t.Errorf("ReadAt at %d claims to know where the file ends: %v", off, err)
		}
	}
}

// What is appended to a file while it is read belongs to another version.
func TestGrowingWhileRead(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "x.car"), []byte("old"))
	m := mounted(t, path)
	stream, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	file, err := mount.OpenFile(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write(t, path, []byte("old and new"))
	if got, err := io.ReadAll(stream); string(got) != "old" || err != nil {
		t.Errorf("the stream gives %q, %v", got, err)
	}
	buf := make([]byte, 10)
	if n, err := file.ReadAt(buf, 1); string(buf[:n]) != "ld" || err != io.EOF {
		t.Errorf("ReadAt gives %q, %v", buf[:n], err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{
		"", "file", "file:", "file://", "file://host", "file:x.car", "file:./x.car", "file:///a?b", "file:///a%00b",
		"file:///%", "file:///%4", "file:///%zz", "file:///a%2Fb", "file:///a%2fb", "http:///a", "file:///a#b",
		"file://lo%00cal/x", "file://%2F/x",
	} {
		if m, err := filemount.Open(url); !errors.Is(err, mount.ErrURL) {
			t.Errorf("%q gives %v, %v", url, m, err)
		}
	}
	if m, err := filemount.Open("file://nas/x.car"); runtime.GOOS != "windows" && !errors.Is(err, mount.ErrURL) {
		t.Errorf("another host gives %v, %v", m, err)
	}
}
