//go:build unix

package filemount_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
)

// What is no file is an error at once: nobody waits for a writer that never
// comes, and no device is set going.
func TestNotRegular(t *testing.T) {
	dir := shortTempDir(t)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, socket, link, "/dev/zero", "/dev/null", "/", dir} {
		wantAll(t, mounted(t, path), filemount.ErrNotRegular)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	wantAll(t, mounted(t, loop), syscall.ELOOP)
	wantAll(t, mounted(t, filepath.Join(dir, strings.Repeat("x", 300))), syscall.ENAMETOOLONG)
	wantAll(t, mounted(t, filepath.Join(fifo, "below")), syscall.ENOTDIR)
}

// shortTempDir is a folder whose name leaves room in the address of a socket.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "car")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestNotPermitted(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "x.car"), []byte("x"))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	m := mounted(t, path)
	if f, err := os.Open(path); err == nil {
		_ = f.Close()
		t.Log("this user may read everything; the mount may, too")
		if _, err := m.Open(t.Context()); err != nil {
			t.Error(err)
		}
		return
	}
	if _, err := m.Open(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Open gives %v", err)
	}
	if _, err := mount.OpenFile(t.Context(), m); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("OpenFile gives %v", err)
	}
}

// ".." after a link is the folder above the one that the link leads to, as it
// is for every other program.
func TestDotDotFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "far", "away"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join("far", "away"), link); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "x.car"), []byte("near"))
	write(t, filepath.Join(dir, "far", "x.car"), []byte("far"))
	for _, path := range []string{link + "/../x.car", link + "/./../../far/x.car"} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := mounted(t, path).Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != string(want) || err != nil {
			t.Errorf("%q is %q, %v; the system says %q", path, got, err, want)
		}
		_ = r.Close()
	}
	if m, err := filemount.New(filepath.Join(dir, "absent") + "/../x.car"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("\"..\" after what is absent gives %v, %v", m, err)
	}
}

// Paths without a drive; TestURLs and TestWindowsSpellings have the others.
func TestOpenSpellsCanonically(t *testing.T) {
	for url, want := range map[string]string{
		"file:///srv/x.car":                "file:///srv/x.car",
		"file:/srv/x.car":                  "file:///srv/x.car",
		"file://localhost/srv/x.car":       "file:///srv/x.car",
		"file://LOCALHOST/srv/x.car":       "file:///srv/x.car",
		"FILE:///srv/x.car":                "file:///srv/x.car",
		"file:////srv//x.car":              "file:///srv/x.car",
		"file:///srv/./a/../x.car":         "file:///srv/x.car",
		"file:///../../srv/x.car":          "file:///srv/x.car",
		"file:///srv/%78.%63ar":            "file:///srv/x.car",
		"file:///srv/%c3%a9 \xff":          "file:///srv/%C3%A9%20%FF",
		"file:///srv/x.car#bytes=10-19":    "file:///srv/x.car#bytes=10-19",
		"file:///srv/%23bytes=1-2":         "file:///srv/%23bytes=1-2",
		"file:///srv/x%25#bytes=0-0":       "file:///srv/x%25#bytes=0-0",
		"file:///srv/a%5Cb%3f":             "file:///srv/a%5Cb%3F",
		"file:///srv/!$&'()*+,;=:@-._~%21": "file:///srv/!$&'()*+,;=:@-._~!",
	} {
		if m, err := registry.Open(url); err != nil || m.URL() != want {
			t.Errorf("%q: %v, %v; not %q", url, m, err, want)
		}
	}
}
