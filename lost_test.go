package dagstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// A shard that a read finds to be another than was indexed is indexed again,
// also if nothing of it but its open handle is in memory at that moment.
func TestLostWhileForgotten(t *testing.T) {
	for _, others := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d others", others), func(t *testing.T) {
			r := newRig(t)
			r.cfg.Work.Handles = 1
			r.reopen()
			path, blocks := r.onDisk("a", 1, 20, 100)
			r.acquire("a").Close()
			r.await("a", shard.Available) // a holder would keep it from being indexed again
			for i := range others {       // push it out of the loop's memory
				key := shard.Key(fmt.Sprint("other ", i))
				_, o := r.put(string(key), uint64(10+i), 5)
				r.register(key, o, &RegisterOptions{Lazy: true})
			}
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
			if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[19].CID); !errors.Is(err, shard.ErrChanged) {
				t.Errorf("get of what is cut off: %v", err)
			}
			r.await("a", shard.Errored)
			if in := r.info("a"); in.Failure == nil || !errors.Is(in.Failure.Err, shard.ErrCAR) {
				t.Errorf("info: %+v", in)
			}
			if err := os.WriteFile(path, cartest.RandomV1(1, 20, 100), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			r.has(blocks)
		})
	}
}

// On a disk that writes and cannot read, each new index is lost, too. Who
// acquires gets an error soon, and the CAR is not read again and again.
func TestLostTimeAndAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		blocks, m := r.put("a.car", 1, 20)
		if err := r.store.Register(t.Context(), "a", m, nil); err != nil {
			t.Fatal(err)
		}
		r.reads.Store(0)
		index := func(op vfstest.Op) bool {
			return op.Reads() && strings.Contains(filepath.ToSlash(op.Path), "index/")
		}
		r.faults.FailAt(0, true, index, syscall.EIO)
		acquired := 0
		for range 24 * 60 { // who tries every minute, for a day
			for range 10 {
				if _, err := r.store.Acquire(t.Context(), "a", nil); err == nil {
					t.Fatal("an index that cannot be read was opened")
				} else if !errors.Is(err, shard.ErrIndex) {
					t.Fatal(err)
				}
				acquired++
			}
			time.Sleep(time.Minute)
		}
		if n := r.reads.Load(); n < 24 || n > 2+12+24 {
			t.Errorf("%d acquires had the CAR read %d times", acquired, n)
		}
		if in := r.info("a"); in.State != shard.Available {
			t.Errorf("the shard is %v: %+v", in.State, in.Failure)
		}
		r.faults.Disarm()
		r.acquire("a").Close() // its last index is a good one
		r.has(blocks)
	})
}
