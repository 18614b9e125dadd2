package catalog_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/catalog/catalogtest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shut(t *testing.T, c *catalog.Embedded) {
	t.Helper()
	if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		disk := vfstest.NewDisk()
		var last *catalog.Embedded
		open := func() (catalog.Catalog, error) {
			c, err := catalog.Open(t.Context(), catalog.Config{FS: disk, Dir: "/store/catalog"})
			last = c
			return c, err
		}
		crash := func() error {
			after := disk.Crash(percent, 1)
			err := last.Close(t.Context())
			disk = after
			return err
		}
		if err := catalogtest.Test(t.Context(), open, crash); err != nil {
			t.Errorf("%d %% of what was not synced is kept: %v", percent, err)
		}
	}
}

func TestSuiteOnTheMachine(t *testing.T) {
	dir := t.TempDir()
	var last *catalog.Embedded
	open := func() (catalog.Catalog, error) {
		c, err := catalog.Open(t.Context(), catalog.Config{Dir: dir})
		last = c
		return c, err
	}
	crash := func() error { return last.Close(t.Context()) } // a real disk cannot be cut off here
	if err := catalogtest.Test(t.Context(), open, crash); err != nil {
		t.Error(err)
	}
}

func TestLocked(t *testing.T) {
	for name, cfg := range map[string]catalog.Config{
		"memory":  {FS: vfstest.NewDisk(), Dir: "/store/catalog"},
		"machine": {Dir: t.TempDir()},
	} {
		c, err := catalog.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := catalog.Open(t.Context(), cfg); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("%s: second open: %v, want locked", name, err)
		}
		shut(t, c)
		c, err = catalog.Open(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: open after close: %v", name, err)
		}
		shut(t, c)
	}
}
