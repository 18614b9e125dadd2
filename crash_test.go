package dagstore

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// What was acknowledged before a crash is there after it, and what was
// destroyed is not, whatever the disk has kept of what was not synced.
func TestCrashLosesNothingAcknowledged(t *testing.T) {
	for seed := range uint64(12) {
		percent := []int{0, 50, 100}[seed%3]
		t.Run(fmt.Sprintf("seed %d, %d%% kept", seed, percent), func(t *testing.T) {
			r := newRig(t)
			var kept, gone [][]cartest.Block
			for i := range uint64(6) {
				key := shard.Key(fmt.Sprint(i))
				blocks, m := r.put(string(key), 100*seed+i, 30)
				r.register(key, m, &RegisterOptions{Lazy: i%3 == 2})
				switch {
				case i%2 == 1 && i != 5:
					if err := r.store.Destroy(r.ctx(), key, nil); err != nil {
						t.Fatal(err)
					}
					gone = append(gone, blocks)
				case i%3 != 2:
					kept = append(kept, blocks)
				}
				if (i+seed)%2 == 0 {
					r.crash(percent, seed)
				}
			}
			r.crash(percent, seed)
			for _, blocks := range kept {
				r.has(blocks)
			}
			for _, blocks := range gone {
				r.lacks(blocks)
			}
			for _, key := range []shard.Key{"2", "5"} {
				if in := r.info(key); in.State != shard.Registered {
					t.Errorf("lazy shard %s: %v", key, in.State)
				}
			}
		})
	}
}

// A commit that fails makes the store read-only; reads go on.
func TestFailedCommitMakesReadOnly(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 30)
	r.register("a", m, nil)
	hold := r.acquire("a")
	defer hold.Close()
	r.faults.FailAt(0, true, func(op vfstest.Op) bool { return op.Syncs() && op.Touches(".log") }, syscall.EIO)
	_, o := r.put("b.car", 2, 30)
	if err := r.store.Register(r.ctx(), "b", o, &RegisterOptions{Lazy: true}); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("register: %v", err)
	}
	if err := r.store.Register(r.ctx(), "c", o, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("register after that: %v", err)
	}
	if err := r.store.Destroy(r.ctx(), "a", nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("destroy: %v", err)
	}
	if _, err := r.store.Info(r.ctx(), "b"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("the refused batch is believed: %v", err)
	}
	r.has(blocks)
	again := r.acquire("a")
	again.Close()
	if in := r.info("a"); in.State != shard.Serving {
		t.Errorf("the held shard is %v", in.State)
	}
	r.store.Close()
	r.faults.Disarm()
	r.open()
	r.has(blocks)
	if err := r.store.Register(r.ctx(), "e", o, nil); err != nil {
		t.Errorf("opened again: %v", err)
	}
}
