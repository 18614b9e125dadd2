package dagstore

import (
	"fmt"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/shard"
)

// However many shards are to be copied and find no space yet, most of them wait on
// disk, and in nobody's way. All are copied once there is space.
func TestWhoWaitsForSpaceWaitsOnDisk(t *testing.T) {
	const many, window = 200, 16
	r := newRig(t)
	r.cfg.Work.Fetches = 2
	r.elsewhere()
	r.bounds.window = window
	show := r.slowly()
	register := func(key string, mode shard.Mode) {
		m := r.putBytes(key, cartest.RandomV1(uint64(len(key)), 2, 100))
		if err := r.store.RegisterShard(r.ctx(), shard.Key(key), m, nil, &RegisterOptions{Serve: mode}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		register(fmt.Sprint(i), shard.Copy)
	}
	register("in place", shard.InPlace) // behind all of them
	r.await("in place", shard.Available)
	r.until("nothing else is to be done", func() bool {
		st := r.store.engine.Stats()
		for _, p := range st.Pools {
			if p != (engine.Depth{}) {
				return false
			}
		}
		return st.Copies.Waiting >= window
	})
	if n := r.store.engine.Stats().Copies.Waiting; n > 3*window {
		t.Errorf("%d of them wait in memory", n)
	}
	show()
	for i := range many {
		key := shard.Key(fmt.Sprint(i))
		r.await(key, shard.Available)
		r.until("its copy is there", func() bool { return r.info(key).Local.Complete })
	}
}
