package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// TestCheckpoint takes checkpoints while batches are committed, flushed and
// compacted: each opens, has all that was acknowledged before, and no half of a
// batch.
func TestCheckpoint(t *testing.T) {
	disk := vfstest.NewDisk()
	c, err := catalog.Open(t.Context(), small(disk))
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.MkdirAll(disk, "/aside"); err != nil {
		t.Fatal(err)
	}
	var l ledger
	done := make(chan error, 1)
	go func() { done <- l.work(context.WithoutCancel(t.Context()), c) }()
	taken := 0
	for busy := true; busy; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			busy = false // and one more
		default:
		}
		before := l.copy()
		dir := fmt.Sprintf("/aside/%d", taken)
		if err := c.Checkpoint(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if err := c.Checkpoint(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over what is there: %v", err)
		}
		taken++
		slack := uint64(rounds)
		if !busy {
			slack = 0
		}
		cfg := small(disk.Crash(0, 1)) // it is durable
		cfg.Dir = dir
		at, err := catalog.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := before.check(t.Context(), at, slack); err != nil {
			t.Errorf("checkpoint %d: %v", taken, err)
		}
		if first, err := at.Reserve(t.Context(), 1); err != nil || first <= before.reserved {
			t.Errorf("number %d is given out again: %v", first, err)
		}
		if at.Meta() != c.Meta() {
			t.Error("it is another catalogue")
		}
		shut(t, at)
	}
	t.Logf("%d checkpoints", taken)
	shut(t, c)
	if err := c.Checkpoint(t.Context(), "/aside/late"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCheckpointFails: whatever fails in the folder of a checkpoint, the catalogue
// itself goes on, and nothing is left.
func TestCheckpointFails(t *testing.T) {
	failed := 0
	for n, more := 0, true; more; n++ {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		c, err := catalog.Open(t.Context(), small(faults))
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.MkdirAll(disk, "/aside"); err != nil {
			t.Fatal(err)
		}
		var l ledger
		if err := l.work(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		faults.FailAt(n, n%2 == 0, func(op vfstest.Op) bool { return op.Within("/aside") || op.Path == "/aside" || op.Links() }, syscall.EIO)
		err = c.Checkpoint(t.Context(), "/aside/c")
		more = faults.Disarm() > n
		if err != nil {
			failed++
			if _, there := disk.Stat("/aside/c"); n%2 == 1 && !errors.Is(there, fs.ErrNotExist) {
				t.Errorf("operation %d: %v, and something is left: %v", n, err, there)
			}
		}
		if _, err := c.Reserve(t.Context(), 1); err != nil {
			t.Errorf("operation %d: the catalogue is broken: %v", n, err)
		}
		if err := l.check(t.Context(), c, 0); err != nil {
			t.Errorf("operation %d: %v", n, err)
		}
		shut(t, c)
	}
	if failed < 20 {
		t.Errorf("%d checkpoints failed", failed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := catalog.Open(t.Context(), small(vfstest.NewDisk()))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	if err := c.Checkpoint(ctx, "/c"); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
}
