package dagstore

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// free sets how much of a disk of 100 GiB is free, and lets the gauge notice.
func (r *rig) free(bytes uint64) {
	r.disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 100 << 30, UsedBytes: 100<<30 - bytes})
	time.Sleep(spaceEvery + time.Millisecond)
}

// With little space left new work is refused or waits, reads and removals go
// on, and all goes on by itself when there is space again.
func TestLowSpace(t *testing.T) {
	for name, left := range map[string]uint64{"low": 500 << 20, "full": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.Work.Indexings = 1
				i := r.illness()
				i.on.Store(false)
				r.free(50 << 30)
				blocks, m := r.put("held.car", 1, 20)
				r.register("held", m, nil)
				r.register("goes", m, nil)
				_, lazy := r.put("lazy.car", 2, 20)
				r.register("lazy", lazy, &RegisterOptions{Lazy: true})

				i.pause.Store(int64(10 * time.Second)) // one is under way and one waits when it happens
				results := make(chan ShardResult, 10)
				for _, key := range []shard.Key{"under way", "queued"} {
					_, m := r.put(string(key), 3, 20)
					if err := r.store.RegisterShard(t.Context(), key, m, results, nil); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				r.free(left)
				if err := r.store.Register(t.Context(), "new", m, &RegisterOptions{Lazy: true}); !errors.Is(err, ErrNoSpace) {
					t.Errorf("register: %v", err)
				}
				for _, key := range []shard.Key{"lazy", "queued"} {
					if _, err := r.store.Acquire(t.Context(), key, nil); !errors.Is(err, ErrNoSpace) {
						t.Errorf("acquire %q: %v", key, err)
					}
				}
				if err := r.store.Remount(t.Context(), "lazy", m, CompareNone); !errors.Is(err, ErrNoSpace) {
					t.Errorf("remount: %v", err)
				}
				i.pause.Store(0)
				r.has(blocks)
				a := r.acquire("held")
				a.Close()
				if err := r.store.Destroy(t.Context(), "goes", nil); err != nil {
					t.Errorf("destroy: %v", err)
				}
				time.Sleep(time.Hour)
				if s := r.info("queued").State; s != shard.Initializing {
					t.Errorf("the queued one is %v", s)
				}
				if s := r.info("under way").State; left > reserve && s != shard.Available {
					t.Errorf("the one under way is %v", s)
				}
				r.free(50 << 30)
				for range 2 {
					if res := soon(r, "result", results); res.Err != nil && (res.Key == "queued" || left > reserve || !errors.Is(res.Err, ErrNoSpace)) {
						t.Errorf("%q: %v", res.Key, res.Err)
					}
				}
				a = r.acquire("lazy")
				a.Close()
				r.register("new", m, nil)
				if left < reserve {
					if f := r.info("under way").Failure; f == nil || f.Attempts != 0 {
						t.Errorf("no room is held against the shard: %+v", f)
					}
					time.Sleep(time.Second)
				}
				a = r.acquire("under way")
				a.Close()
			})
		})
	}
}

// What a start takes up waits for space, too, and asks by itself.
func TestLowSpaceAtStart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		i := r.illness()
		i.pause.Store(int64(time.Second * 20))
		for k := range 20 {
			_, m := r.put(fmt.Sprint(k, ".car"), uint64(k), 5)
			if err := r.store.RegisterShard(t.Context(), shard.Key(fmt.Sprint(k)), m, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // all are accepted
		r.stop()
		i.pause.Store(0)
		i.on.Store(false)
		asked := i.asks.Load()
		r.free(1 << 20)
		r.open()
		time.Sleep(time.Hour)
		if n := i.asks.Load(); n != asked {
			t.Errorf("%d sources were read", n-asked)
		}
		r.free(50 << 30)
		time.Sleep(time.Minute)
		for k := range 20 {
			if in := r.info(shard.Key(fmt.Sprint(k))); in.State != shard.Available {
				t.Errorf("%d is %v: %v", k, in.State, in.Failure)
			}
		}
	})
}

// A small disk has no gigabyte to spare.
func TestSpareSpaceOfASmallDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			total, left uint64
			ok          bool
		}{
			{4 << 30, 210 << 20, true}, {4 << 30, 200 << 20, false},
			{1 << 30, 65 << 20, true}, {1 << 30, 63 << 20, false},
			{1 << 40, 1 << 30, true}, {1 << 40, 1<<30 - 1, false},
		} {
			r.disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: c.left, TotalBytes: c.total})
			time.Sleep(time.Second)
			if err := r.store.space(); (err == nil) != c.ok {
				t.Errorf("%d of %d are left: %v", c.left, c.total, err)
			}
		}
	})
}

// A disk that is full while an index is written fails this attempt, which is
// not held against the shard.
func TestNoSpaceInIndex(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Retry.Attempts = 1
		r.reopen()
		blocks, m := r.put("a.car", 1, 20)
		index := func(op vfstest.Op) bool { return op.Changes() && strings.Contains(filepath.ToSlash(op.Path), "index/") }
		r.faults.FailAt(0, true, index, syscall.ENOSPC)
		for range 5 {
			err := r.store.Register(t.Context(), "a", m, nil)
			if errors.Is(err, shard.ErrExists) {
				_, err = r.store.Acquire(t.Context(), "a", nil)
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Fatalf("with no space for the index: %v", err)
			}
			time.Sleep(time.Hour)
		}
		if r.faults.Disarm() == 0 {
			t.Fatal("no operation was selected")
		}
		a := r.acquire("a")
		a.Close()
		r.has(blocks)
	})
}
