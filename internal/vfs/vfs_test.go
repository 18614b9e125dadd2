package vfs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// TestWriteFile fails every operation in turn and cuts the power after it: the
// file has its old content or its new one, and the new one if that was said.
func TestWriteFile(t *testing.T) {
	failed := 0
	for n := 0; ; n++ {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		if err := vfs.MkdirAll(faults, "/a/b"); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(faults, "/a/b/f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		faults.FailAt(n, n%2 == 0, nil, syscall.EIO)
		err := vfs.WriteFile(faults, "/a/b/f", []byte("new"))
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("operation %d: %v", n, err)
			}
		}
		count := faults.Disarm()
		for _, percent := range []int{0, 50, 100} {
			got, rerr := vfs.ReadFile(disk.Crash(percent, uint64(n)), "/a/b/f", 10)
			if s := string(got); rerr != nil || s != "new" && (s != "old" || err == nil) {
				t.Errorf("operation %d, write: %v: reads %q, %v", n, err, s, rerr)
			}
		}
		if n >= count {
			break
		}
	}
	if failed < 5 {
		t.Errorf("only %d writes failed", failed)
	}
}

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := vfs.WriteFile(vfs.Default, name, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	if got, err := vfs.ReadFile(vfs.Default, name, 5); err != nil || string(got) != "12345" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := vfs.ReadFile(vfs.Default, name, 4); err == nil {
		t.Error("a file that is too long is read")
	}
	if _, err := vfs.ReadFile(vfs.Default, name+"x", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestWriterEnds(t *testing.T) {
	disk := vfstest.NewDisk()
	for i, end := range []func(*vfs.Writer) error{(*vfs.Writer).Commit, (*vfs.Writer).Abort} {
		w, err := vfs.Create(disk, "/aside", "/target")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("abc")); err != nil || w.Size() != 3 {
			t.Errorf("size %d, %v", w.Size(), err)
		}
		if err := end(w); err != nil {
			t.Error(err)
		}
		_, err = w.Write(nil)
		for _, err := range []error{err, w.Commit(), w.Abort()} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%d: after the end: %v", i, err)
			}
		}
		if _, err := disk.Stat("/aside"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d: aside: %v", i, err)
		}
	}
}

func TestMkdirAll(t *testing.T) {
	disk := vfstest.NewDisk()
	if err := vfs.MkdirAll(disk, "/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if info, err := disk.Crash(0, 0).Stat("/a/b/c"); err != nil || !info.IsDir() {
		t.Errorf("after a crash: %v, %v", info, err)
	}
	if err := vfs.WriteFile(disk, "/a/f", nil); err != nil {
		t.Fatal(err)
	}
	if err := vfs.MkdirAll(disk, "/a/f"); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// TestMkdirAllAgain fails every operation in turn and repeats the call: what it
// then says is durable, also where the first call made the folder and did not
// get as far as syncing its name.
func TestMkdirAllAgain(t *testing.T) {
	failed := 0
	for n := 0; ; n++ {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		faults.FailAt(n, true, nil, syscall.EIO)
		if err := vfs.MkdirAll(faults, "/a/b"); err != nil {
			failed++
		}
		count := faults.Disarm()
		if err := vfs.MkdirAll(faults, "/a/b"); err != nil {
			t.Fatalf("operation %d: again: %v", n, err)
		}
		if info, err := disk.Crash(0, 0).Stat("/a/b"); err != nil || !info.IsDir() {
			t.Errorf("operation %d: after a crash: %v, %v", n, info, err)
		}
		if n >= count {
			break
		}
	}
	if failed < 5 {
		t.Errorf("only %d calls failed", failed)
	}
}

// TestMkdirAllBelowForeign: a folder that is there is taken also where the one
// above cannot be synced, which it would not be if that had been tried and
// failed.
func TestMkdirAllBelowForeign(t *testing.T) {
	disk := vfstest.NewDisk()
	if err := vfs.MkdirAll(disk, "/a/b"); err != nil {
		t.Fatal(err)
	}
	faults := vfstest.Wrap(disk)
	for err, taken := range map[error]bool{syscall.EACCES: true, syscall.EINVAL: true, syscall.ENOTSUP: true, syscall.EIO: false} {
		faults.FailAt(0, true, vfstest.Op.Syncs, err)
		if got := vfs.MkdirAll(faults, "/a/b"); taken != (got == nil) || !taken && !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestLockFolder(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	lock, err := vfs.LockFolder(vfs.Default, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link, filepath.Join(dir, ".")} {
		if _, err := vfs.LockFolder(vfs.Default, name); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("%s: %v, want locked", name, err)
		}
	}
	for range 2 { // a second Close does nothing
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	}
	lock, err = vfs.LockFolder(vfs.Default, link)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if _, err := vfs.LockFolder(vfs.Default, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
	faults := vfstest.Wrap(vfstest.NewDisk())
	faults.FailAt(0, true, nil, syscall.EIO)
	if _, err := vfs.LockFolder(faults, "/"); !errors.Is(err, syscall.EIO) || errors.Is(err, vfs.ErrLocked) {
		t.Errorf("failing disk: %v", err)
	}
}

// TestLockedByAnother: a lock excludes other processes and ends with its
// process, however that ends.
func TestLockedByAnother(t *testing.T) {
	if dir := os.Getenv("DAGSTORE_TEST_LOCK"); dir != "" {
		if _, err := vfs.LockFolder(vfs.Default, dir); err != nil {
			t.Fatal(err)
		}
		fmt.Println("locked")
		_, _ = io.Copy(io.Discard, os.Stdin) // until we are killed
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockedByAnother$")
	child.Env = append(os.Environ(), "DAGSTORE_TEST_LOCK="+dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if _, err := vfs.LockFolder(vfs.Default, dir); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("while another holds it: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child was killed and ended well")
	}
	lock, err := vfs.LockFolder(vfs.Default, dir)
	if err != nil {
		t.Fatalf("after the other was killed: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

func TestNative(t *testing.T) {
	if p, ok := vfs.Native(vfstest.Wrap(vfs.Default), "/x"); !ok || p != "/x" {
		t.Errorf("%q, %t", p, ok)
	}
	if p, ok := vfs.Native(vfstest.Wrap(vfstest.NewDisk()), "/x"); ok {
		t.Errorf("in memory: %q", p)
	}
}
