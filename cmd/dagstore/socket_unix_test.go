//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// meeting is the rendezvous of a new store, whose run folder is dir.
func meeting(t *testing.T, dir, configured string) *rendezvous {
	t.Helper()
	r, err := meet(t.TempDir(), configured, func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return dir
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSocket(t *testing.T) {
	dir := shortDir(t)
	r := meeting(t, dir, "")
	listener, err := r.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := listener.Addr().String()
	if filepath.Dir(path) != filepath.Join(dir, "dagstore") {
		t.Errorf("it lies at %s", path)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its folder: %v, %v", info, err)
	}
	// Nobody who answers is replaced.
	if _, err := listenAt(t.Context(), path); err == nil || !strings.Contains(err.Error(), "somebody answers") {
		t.Errorf("a second one: %v", err)
	}
	// Who was killed leaves a socket on which nobody answers.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	again, err := listenAt(t.Context(), path)
	if err != nil {
		t.Fatalf("in place of a stale one: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	// What is no socket is left alone.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := listenAt(t.Context(), path); err == nil {
		_ = other.Close()
		t.Error("it took the place of a file")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// TestBusySocket: who has more callers than it can take now is not replaced.
func TestBusySocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a full queue looks as if nobody listened")
	}
	path := filepath.Join(shortDir(t), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		conn, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil || n == 100 {
			t.Fatalf("caller %d: %v", n, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := listenAt(t.Context(), path); err == nil {
		_ = other.Close()
		t.Error("it took the place of one that is busy")
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the socket is another: %v", err)
	}
}

// TestLongSocket: a path that is too long for a socket falls back to the run
// folder, and a run folder that is to a shorter one.
func TestLongSocket(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("l", 100))
	dir := shortDir(t)
	r := meeting(t, dir, filepath.Join(long, "socket"))
	if !strings.HasPrefix(r.paths[0], dir) {
		t.Errorf("a long one: %v", r.paths)
	}
	short := filepath.Join(dir, "s")
	if r := meeting(t, dir, short); r.paths[0] != short {
		t.Errorf("a short one: %v", r.paths)
	}
	r = meeting(t, long, "")
	for _, path := range r.paths {
		if len(path) > longestSocket || strings.HasPrefix(path, long) {
			t.Errorf("%s is too long", path)
		}
	}
	if len(r.paths) == 0 {
		t.Error("there is no place left")
	}
	listener, err := r.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
}

// TestSocketsAreNotTrusted: a folder in which others can put things is no place
// to meet.
func TestSocketsAreNotTrusted(t *testing.T) {
	dir := shortDir(t)
	if err := keptFromOthers(dir, os.Geteuid()); err != nil {
		t.Errorf("one's own: %v", err)
	}
	if err := keptFromOthers(dir, os.Geteuid()+1); err == nil {
		t.Error("somebody else's was trusted")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	if err := keptFromOthers(link, os.Geteuid(), 0); err == nil {
		t.Error("a link was trusted")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := keptFromOthers(dir, os.Geteuid()); err == nil {
		t.Error("one that others can write in was trusted")
	}
	if _, err := listenAt(t.Context(), filepath.Join(dir, "s")); err == nil {
		t.Error("it listens where others can write")
	}
}

// TestSocketByAnyPath: a store is found by whatever path it is named.
func TestSocketByAnyPath(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	a, errA := meet(dir, "", none)
	b, errB := meet(link, "", none)
	other, errC := meet(t.TempDir(), "", none)
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	if a.paths[0] != b.paths[0] || a.paths[0] == other.paths[0] {
		t.Errorf("%s, %s, %s", a.paths[0], b.paths[0], other.paths[0])
	}
	if c, _, _ := a.find(t.Context()); c != nil {
		t.Error("somebody answers for a store that nobody holds")
	}
}

// TestAnotherStoreAnswers: whoever answers for another store is not taken for
// the holder of this one.
func TestAnotherStoreAnswers(t *testing.T) {
	_, repo := serverOf(t, "--admin", "none")
	theirs, err := meet(repo, "", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	if c, at, _ := theirs.find(t.Context()); c == nil || at.PID != syscall.Getpid() {
		t.Fatalf("the holder is not found: %+v", at)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
	mine, err := meet(t.TempDir(), "", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	mine.paths = theirs.paths
	if c, _, _ := mine.find(t.Context()); c != nil {
		t.Error("the holder of another store was taken for that of this one")
	}
}
