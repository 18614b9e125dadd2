package dagstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount/filemount"
)

// What a backup must not touch, and how it ends before its time.
func TestBackupRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a", 1, 40)
	r.register("a", m, nil)
	refused := func(dir string, want error) {
		t.Helper()
		if _, err := r.store.Backup(r.ctx(), dir, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", dir, err, want)
		}
	}
	refused("store", fs.ErrExist)

	// A store that happens to be called so is somebody's.
	r.backup("x.partial", nil)
	refused("x", fs.ErrExist)
	r.as("x.partial").agree()

	// Two at once: the second is told.
	there, gate := make(chan struct{}), make(chan struct{})
	r.faults.Arm(func(op vfstest.Op) bool { return op.Base() == versionFile+".tmp" }, func(n int, _ vfstest.Op) error {
		if n == 0 {
			close(there)
			<-gate
		}
		return nil
	})
	done := make(chan error, 1)
	go func() {
		_, err := r.store.Backup(r.ctx(), "y", nil)
		done <- err
	}()
	soon(r, "the first backup", there)
	second := make(chan error, 1)
	go func() {
		_, err := r.store.Backup(r.ctx(), "y", nil)
		second <- err
	}()
	close(gate)
	if err := soon(r, "the end of the first", done); err != nil {
		t.Error(err)
	}
	if err := soon(r, "the end of the second", second); err == nil || !errors.Is(err, ErrInUse) && !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second: %v", err)
	}
	r.faults.Disarm()

	ctx, cancel := context.WithCancel(r.ctx())
	cancel()
	if _, err := r.store.Backup(ctx, "z", nil); !errors.Is(err, context.Canceled) || r.isThere("z") || r.isThere("z.partial") {
		t.Errorf("under a context that has ended: %v", err)
	}
	r.store.Close()
	refused("z", ErrClosed)
}

// A store that has become read-only is not backed up: nobody knows what its
// catalogue would be.
func TestBackupOfReadOnly(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a", 1, 40)
	r.faults.FailAt(0, true, commits, syscall.EIO)
	if err := r.store.Register(r.ctx(), "a", m, nil); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
	r.faults.Disarm()
	if _, err := r.store.Backup(r.ctx(), backupDir, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%v", err)
	}
	r.settled(false)
}

// On the disk of this machine: files are shared, a folder within the store is
// refused, and what is copied by hand, as "cp -r" would, serves too.
func TestBackupOnTheMachine(t *testing.T) {
	home := t.TempDir()
	blocks := cartest.Random(1, 300, 100)
	car := filepath.Join(home, "a.car")
	if err := os.WriteFile(car, cartest.RandomV1(1, 300, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := filemount.New(car)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "store")
	s, err := Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(t.Context(), "a", m, nil); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "copies", "bak")
	if _, err := s.Backup(t.Context(), inside, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("within the store: %v", err)
	}
	link := filepath.Join(home, "link")
	if err := os.Symlink(dir, link); err == nil {
		if _, err := s.Backup(t.Context(), filepath.Join(link, "bak"), nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("within the store, by a symbolic link: %v", err)
		}
	}
	to := filepath.Join(home, "new", "bak")
	report, err := s.Backup(t.Context(), to, nil)
	if err != nil || report.Linked == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	sharesIndex(t, dir, to)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	moved := filepath.Join(home, "moved")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{to, moved} {
		s, err := Open(t.Context(), at, &Config{NoCreate: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			got, err := s.Blockstore(nil).Get(t.Context(), b.CID)
			if err != nil || !bytes.Equal(got.RawData(), b.Data) {
				t.Fatalf("%s: %v", at, err)
			}
		}
		for d, err := range s.Reconcile(t.Context(), false) {
			t.Errorf("%s: %+v, %v", at, d, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// sharesIndex wants an index file of a store to be that of its backup.
func sharesIndex(t *testing.T, store, backup string) {
	t.Helper()
	shared := 0
	err := filepath.WalkDir(filepath.Join(store, "index"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(store, path)
		if err != nil {
			return err
		}
		a, err := os.Stat(path)
		if err != nil {
			return err
		}
		b, err := os.Stat(filepath.Join(backup, rel))
		if err == nil && os.SameFile(a, b) {
			shared++
		}
		return err
	})
	if err != nil || shared == 0 {
		t.Errorf("%d files are shared: %v", shared, err)
	}
}
