package catalog_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// A counter counts what is logged as an error.
type counter struct {
	slog.Handler
	errors *atomic.Int64
}

func (c counter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (c counter) Handle(context.Context, slog.Record) error {
	c.errors.Add(1)
	return nil
}

// TestUnreadableTable: a compaction that cannot read its tables is tried again
// now and then, not thousands of times a second, and who waits for it is told.
// When the disk can be read again, all is well.
func TestUnreadableTable(t *testing.T) {
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	var logged atomic.Int64
	cfg := small(faults)
	cfg.Cache = 1
	cfg.Logger = slog.New(counter{slog.DiscardHandler, &logged})
	c, err := catalog.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	faults.FailAt(0, true, func(o vfstest.Op) bool {
		return o.Touches(".sst") && (o.Kind == errorfs.OpFileRead || o.Kind == errorfs.OpFileReadAt)
	}, syscall.EIO)
	// Ids are added without anything being read, and lie all over each other.
	acked := 0
	err = bounded(t, "work", func() error {
		for n := range 200 {
			b := &catalog.Batch{}
			for i := range 500 {
				b.AddDead = append(b.AddDead, index.ID(i*200+n))
			}
			if err := c.Apply(t.Context(), b); err != nil {
				return err
			}
			acked += len(b.AddDead)
		}
		return nil
	})
	if !errors.Is(err, catalog.ErrBroken) || !errors.Is(err, syscall.EIO) {
		t.Errorf("after %d ids: %v", acked, err)
	}
	if n := logged.Load(); n == 0 || n > 30 {
		t.Errorf("%d errors were logged", n)
	}
	faults.Disarm()
	again, err := catalog.Open(t.Context(), small(disk.Crash(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, again)
	have := 0
	for _, err := range again.Dead(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		have++
	}
	if have != acked {
		t.Errorf("%d ids are there, %d were acknowledged", have, acked)
	}
}
