package vfs_test

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

func goOn() error { return nil }

// TestLinkOrCopy: a link where that can be, else a copy, and never over what is
// there.
func TestLinkOrCopy(t *testing.T) {
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	if err := vfs.MkdirAll(disk, "/d"); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFile(disk, "/d/f", []byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if linked, size, err := vfs.LinkOrCopy(faults, "/d/f", "/d/linked", goOn); !linked || size != 5 || err != nil {
		t.Errorf("%v, %d, %v", linked, size, err)
	}
	faults.FailAt(0, true, vfstest.Op.Links, syscall.EXDEV)
	if linked, size, err := vfs.LinkOrCopy(faults, "/d/f", "/d/copied", goOn); linked || size != 5 || err != nil {
		t.Errorf("%v, %d, %v", linked, size, err)
	}
	for _, name := range []string{"/d/linked", "/d/copied"} {
		if text, err := vfs.ReadFile(disk, name, 10); string(text) != "bytes" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if _, _, err := vfs.LinkOrCopy(faults, "/d/f", name, goOn); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over %s: %v", name, err)
		}
	}
	faults.Disarm()
	if _, _, err := vfs.LinkOrCopy(faults, "/d/f", "/d/linked", goOn); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link over what is there: %v", err)
	}
	if _, _, err := vfs.LinkOrCopy(faults, "/d/none", "/d/x", goOn); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := vfs.Copy(faults, "/d/f", "/d/x", func() error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
	if _, err := disk.Stat("/d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was not copied to its end is left: %v", err)
	}
}

// TestCopyFails: whatever operation fails, there is a whole synced copy, or an
// error and nothing.
func TestCopyFails(t *testing.T) {
	failed := 0
	for n, more := 0, true; more; n++ {
		disk := vfstest.NewDisk()
		if err := vfs.WriteFile(disk, "/f", []byte("bytes")); err != nil {
			t.Fatal(err)
		}
		faults := vfstest.Wrap(disk)
		faults.FailAt(n, false, nil, syscall.EIO)
		_, err := vfs.Copy(faults, "/f", "/g", goOn)
		more = faults.Disarm() > n
		text, readErr := vfs.ReadFile(disk, "/g", 10)
		switch {
		case err == nil && string(text) != "bytes":
			t.Errorf("operation %d: %q, %v", n, text, readErr)
		case err != nil && !errors.Is(err, syscall.EIO):
			t.Errorf("operation %d: %v", n, err)
		case err != nil && !errors.Is(readErr, fs.ErrNotExist):
			t.Errorf("operation %d: %q is left", n, text)
		case err != nil:
			failed++
		}
	}
	if failed < 5 {
		t.Errorf("only %d runs failed", failed)
	}
}
