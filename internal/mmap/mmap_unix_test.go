//go:build unix && !aix

package mmap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nobody writes to the FIFO: opening it would wait for ever.
func TestOpenRefusesPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Open(path)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open = %v, want fs.ErrInvalid", err)
		}
	case <-time.After(time.Minute):
		t.Error("Open hangs")
		// A writer lets it go.
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		<-done
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
