package dagstore

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
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
