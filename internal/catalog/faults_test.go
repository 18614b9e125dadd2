package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

const (
	groups  = 4
	members = 25
	rounds  = 40
)

// A ledger does work on a catalogue and remembers what was acknowledged. Each
// batch changes all members of one group to the same revision, so that half a
// batch would show.
type ledger struct {
	mu       sync.Mutex
	revision [groups]uint64
	reserved uint32
}

func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{revision: l.revision, reserved: l.reserved}
}

func member(g, i int) shard.Key { return shard.Key(fmt.Sprintf("group %d/member %02d", g, i)) }

// record is what a member is at a revision: at even ones it has an intent, and
// at each it has an index of its own.
func record(g, i int, rev uint64) *catalog.Record {
	r := &catalog.Record{
		Key: member(g, i), Revision: rev, State: shard.Available,
		URL:    fmt.Sprintf("file:///%d/%d/%d", g, i, rev),
		Labels: map[string]string{"padding": strings.Repeat(fmt.Sprintf("%d %d %d;", rev, g, i), 40)},
		Index:  catalog.IndexRef{ID: indexOf(g, i, rev)},
	}
	if rev%2 == 0 {
		r.Intent = catalog.Recover
	}
	return r
}

func indexOf(g, i int, rev uint64) index.ID {
	return index.ID(1_000_000*rev + uint64(1000*g+i+1))
}

// work runs until it is done or the catalogue refuses.
func (l *ledger) work(ctx context.Context, c catalog.Catalog) error {
	for n := range rounds {
		g := n % groups
		rev := l.revision[g] + 1
		b := &catalog.Batch{}
		for i := range members {
			b.Puts = append(b.Puts, catalog.Put{Record: record(g, i, rev), Expect: rev - 1})
			b.AddPending = append(b.AddPending, indexOf(g, i, rev))
			if rev > 1 {
				b.DelPending = append(b.DelPending, indexOf(g, i, rev-1))
			}
		}
		if err := c.Apply(ctx, b); err != nil {
			return err
		}
		l.mu.Lock()
		l.revision[g] = rev
		l.mu.Unlock()
		first, err := c.Reserve(ctx, 10)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.reserved = first + 9
		l.mu.Unlock()
	}
	return nil
}

// check holds a catalogue against the ledger. slack is how many batches more
// than were acknowledged may be there: 0 in the process that was refused.
func (l *ledger) check(ctx context.Context, c catalog.Catalog, slack uint64) error {
	want := map[shard.Key]uint64{}
	queue := map[shard.Key]bool{}
	pending := map[index.ID]bool{}
	for g := range groups {
		rev := l.revision[g]
		if r, err := c.Get(ctx, member(g, 0)); err == nil {
			if r.Revision < rev || r.Revision > rev+slack {
				return fmt.Errorf("group %d is at %d, acknowledged was %d", g, r.Revision, rev)
			}
			rev = r.Revision
		} else if !errors.Is(err, catalog.ErrNotFound) || rev > 0 {
			return fmt.Errorf("group %d was acknowledged at %d: %w", g, rev, err)
		}
		for i := 0; rev > 0 && i < members; i++ {
			want[member(g, i)] = rev
			pending[indexOf(g, i, rev)] = true
			if rev%2 == 0 {
				queue[member(g, i)] = true
			}
			if key, err := c.Owner(ctx, indexOf(g, i, rev)); err != nil || key != member(g, i) {
				return fmt.Errorf("owner of %d: %q, %w", indexOf(g, i, rev), string(key), err)
			}
		}
	}
	return l.checkLists(ctx, c, want, queue, pending)
}

func (l *ledger) checkLists(
	ctx context.Context, c catalog.Catalog, want map[shard.Key]uint64, queue map[shard.Key]bool, pending map[index.ID]bool,
) error {
	have := map[shard.Key]uint64{}
	for r, err := range c.Records(ctx, catalog.Filter{}) {
		if err != nil {
			return err
		}
		have[r.Key] = r.Revision
	}
	if !maps.Equal(have, want) {
		return fmt.Errorf("records are %v, want %v", have, want)
	}
	queued := map[shard.Key]bool{}
	for q, err := range c.Intents(ctx, 0) {
		if err != nil {
			return err
		}
		queued[q.Key] = true
	}
	pend := map[index.ID]bool{}
	for id, err := range c.Pending(ctx) {
		if err != nil {
			return err
		}
		pend[id] = true
	}
	if !maps.Equal(queued, queue) || !maps.Equal(pend, pending) {
		return fmt.Errorf("queue %v, pending %v, want %v, %v", queued, pend, queue, pending)
	}
	return nil
}

// small makes flushes and compactions happen in a short test.
func small(fsys vfs.FS) catalog.Config {
	return catalog.Config{FS: fsys, Dir: "/store/catalog", Table: 64 << 10, Cache: 1 << 20}
}

// bounded ends the run if f takes so long that it must be stuck.
func bounded(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Minute):
		panic(what + " hangs") // shows what all goroutines are about
	}
}

// TestCrashAnywhere cuts the power before every operation that changes the
// disk and opens what is left.
func TestCrashAnywhere(t *testing.T) {
	type image struct {
		disk  *vfstest.Disk
		acked *ledger
		n     int
	}
	var images []image
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	l := &ledger{}
	every := 1
	faults.Arm(vfstest.Op.Changes, func(n int, _ vfstest.Op) error {
		if n%every == 0 {
			acked := l.copy() // before the cut: this much must be there
			images = append(images, image{disk.Crash(50*(n%3), uint64(n)), acked, n})
		}
		if len(images) > 150 {
			every *= 2
			images = thin(images)
		}
		return nil
	})
	c, err := catalog.Open(t.Context(), small(faults))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.work(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	t.Logf("%d operations, %d cuts", faults.Disarm(), len(images))
	for _, im := range images {
		c, err := catalog.Open(t.Context(), small(im.disk))
		if err != nil {
			t.Fatalf("cut at %d: %v", im.n, err)
		}
		if err := im.acked.check(t.Context(), c, 1); err != nil {
			t.Errorf("cut at %d: %v", im.n, err)
		}
		if first, err := c.Reserve(t.Context(), 1); err != nil || first <= im.acked.reserved {
			t.Errorf("cut at %d: reserved %d after %d, %v", im.n, first, im.acked.reserved, err)
		}
		shut(t, c)
	}
}

// thin keeps every second element.
func thin[T any](s []T) []T {
	kept := s[:0]
	for i := 0; i < len(s); i += 2 {
		kept = append(kept, s[i])
	}
	return kept
}

// TestFaultAnywhere fails each operation that changes the disk in turn, once
// or for good.
func TestFaultAnywhere(t *testing.T) {
	step, brokenRuns := 1, 0
	for n := 0; ; n += step {
		sticky := n%2 == 0
		cause := []error{syscall.EIO, syscall.ENOSPC}[n/2%2]
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		c, err := catalog.Open(t.Context(), small(faults))
		if err != nil {
			t.Fatal(err)
		}
		faults.FailAt(n, sticky, vfstest.Op.Changes, cause)
		l := &ledger{}
		err = bounded(t, "work", func() error { return l.work(t.Context(), c) })
		if err != nil {
			brokenRuns++
			checkBroken(t, n, c, l, err, cause)
		}
		if err := bounded(t, "close", func() error { return c.Close(context.WithoutCancel(t.Context())) }); err != nil {
			t.Errorf("operation %d: close: %v", n, err)
		}
		count := faults.Disarm()
		checkReopened(t, n, []*vfstest.Disk{disk.Crash(0, 0), disk.Crash(50, uint64(n)), disk}[n%3], l)
		if t.Failed() || n >= count {
			break
		}
		if n > 20 {
			step = 13 // the rest is much alike
		}
	}
	if brokenRuns < 20 {
		t.Errorf("only %d runs were broken", brokenRuns)
	}
	t.Logf("%d runs were broken", brokenRuns)
}

func checkBroken(t *testing.T, n int, c *catalog.Embedded, l *ledger, err, cause error) {
	t.Helper()
	if !errors.Is(err, catalog.ErrBroken) || !errors.Is(err, cause) {
		t.Errorf("operation %d: error is %v", n, err)
	}
	if _, err := c.Reserve(t.Context(), 1); !errors.Is(err, catalog.ErrBroken) {
		t.Errorf("operation %d: reserve afterwards: %v", n, err)
	}
	b := &catalog.Batch{AddDead: []index.ID{1}}
	if err := c.Apply(t.Context(), b); !errors.Is(err, catalog.ErrBroken) {
		t.Errorf("operation %d: apply afterwards: %v", n, err)
	}
	if err := l.check(t.Context(), c, 0); err != nil {
		t.Errorf("operation %d: reading on: %v", n, err)
	}
}

func checkReopened(t *testing.T, n int, disk *vfstest.Disk, l *ledger) {
	t.Helper()
	c, err := catalog.Open(t.Context(), small(disk))
	if err != nil {
		t.Errorf("operation %d: open afterwards: %v", n, err)
		return
	}
	if err := l.check(t.Context(), c, 1); err != nil {
		t.Errorf("operation %d: afterwards: %v", n, err)
	}
	shut(t, c)
}

// usedDisk is what a crash leaves of a catalogue that was worked on.
func usedDisk(t *testing.T, l *ledger) *vfstest.Disk {
	t.Helper()
	disk := vfstest.NewDisk()
	c, err := catalog.Open(t.Context(), small(disk))
	if err == nil {
		err = l.work(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	after := disk.Crash(100, 0)
	shut(t, c)
	return after
}

// TestFaultOnOpen fails each operation while a catalogue is made and while it
// is opened again.
func TestFaultOnOpen(t *testing.T) {
	for _, used := range []bool{false, true} {
		failed := 0
		before := vfstest.NewDisk()
		l := &ledger{}
		if used {
			before = usedDisk(t, l)
		}
		for n := 0; ; n++ {
			disk := before.Crash(100, 0)
			faults := vfstest.Wrap(disk)
			faults.FailAt(n, n%2 == 0, nil, syscall.EIO)
			err := bounded(t, "open", func() error {
				c, err := catalog.Open(t.Context(), small(faults))
				if err == nil {
					return c.Close(t.Context())
				}
				return err
			})
			count := faults.Disarm()
			if err != nil {
				failed++
			}
			checkReopened(t, n, disk, l)
			if t.Failed() || n >= count {
				break
			}
		}
		if failed < 10 {
			t.Errorf("only %d openings failed", failed)
		}
		t.Logf("used: %t, %d openings failed", used, failed)
	}
}

// TestFatal fails just what Pebble calls Fatalf or panics over.
func TestFatal(t *testing.T) {
	for name, selects := range map[string]func(vfstest.Op) bool{
		"write of the log":      func(o vfstest.Op) bool { return o.Touches(".log") && o.Changes() && !o.Syncs() },
		"sync of the log":       func(o vfstest.Op) bool { return o.Touches(".log") && o.Syncs() },
		"write of the manifest": func(o vfstest.Op) bool { return o.Touches("MANIFEST") && o.Changes() && !o.Syncs() },
		"sync of the manifest":  func(o vfstest.Op) bool { return o.Touches("MANIFEST") && o.Syncs() },
		"a table":               func(o vfstest.Op) bool { return o.Touches(".sst") && o.Changes() },
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfstest.NewDisk()
			faults := vfstest.Wrap(disk)
			c, err := catalog.Open(t.Context(), small(faults))
			if err != nil {
				t.Fatal(err)
			}
			l := &ledger{}
			if err := l.work(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			faults.FailAt(0, true, selects, syscall.EIO)
			err = bounded(t, "work", func() error {
				for {
					if err := l.work(t.Context(), c); err != nil {
						return err
					}
				}
			})
			checkBroken(t, 0, c, l, err, syscall.EIO)
			shut(t, c)
			faults.Disarm()
			checkReopened(t, 0, disk, l)
		})
	}
}

// The manifest that a marker names is durable before the marker, and the
// marker before the one that it replaces is gone: a disk need not keep the
// order of names in a folder.
func TestMarkerFollowsItsManifest(t *testing.T) {
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	var ops []vfstest.Op
	faults.Arm(vfstest.Op.Changes, func(_ int, op vfstest.Op) error {
		ops = append(ops, op)
		return nil
	})
	for range 2 {
		c, err := catalog.Open(t.Context(), catalog.Config{FS: faults, Dir: "catalog"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	faults.Disarm()
	markers := 0
	for i, op := range ops {
		if op.Kind != errorfs.OpCreate || !op.Touches("marker.manifest.") {
			continue
		}
		markers++
		for _, j := range []int{i - 1, i + 1} {
			if !ops[j].Syncs() || ops[j].Base() != "catalog" {
				t.Errorf("beside %q: %q", op, ops[j])
			}
		}
	}
	if markers < 2 {
		t.Errorf("%d markers were made", markers)
	}
}
