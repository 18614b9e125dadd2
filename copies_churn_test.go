package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

const (
	churnShards  = 1000
	churnRoom    = 50
	churnBlocks  = 7
	churnSize    = 1000
	churnCharge  = 8192 // of one copy
	churnWorkers = 16
)

// A churn is a store with room for a few of the copies that many want at once,
// whose sources break off, are busy, and tell lies.
type churn struct {
	*rig
	far    *remoteness
	shards int
	blocks int
	over   atomic.Int64 // times more was on disk than may be
	reads  atomic.Int64
	fails  atomic.Int64
}

func newChurn(t *testing.T, seed uint64) *churn {
	c := &churn{rig: newRig(t), shards: churnShards, blocks: churnBlocks}
	c.cfg.Copies.Quota = churnRoom * churnCharge
	c.cfg.Retry = Retry{First: time.Millisecond, Longest: time.Millisecond, Attempts: Unlimited}
	c.far = c.elsewhere()
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 99))
	draw := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n) == 0
	}
	c.far.opening = func(int64) error {
		switch {
		case draw(100):
			return fmt.Errorf("%w: try later", shard.ErrSource)
		case draw(100):
			return &mount.BusyError{After: time.Microsecond, Err: errors.New("429")}
		}
		return nil
	}
	c.far.fault = func(at int64) (int, error) {
		switch {
		case draw(200):
			return 100, io.EOF // R24
		case draw(200):
			return 10, io.ErrUnexpectedEOF
		}
		return 4 << 10, nil
	}
	return c
}

// watch looks at the disk whenever something is written to a copy.
func (c *churn) watch() {
	n := 0
	c.faults.Arm(func(op vfstest.Op) bool { return op.Writes() && op.Base() == "partial" }, func(int, vfstest.Op) error {
		if n++; n%16 == 0 {
			if sum, _ := c.copyBytes(); sum > c.cfg.Copies.Quota {
				c.over.Add(1)
			}
		}
		return nil
	})
}

func churnKey(i int) shard.Key { return shard.Key(fmt.Sprint("shard/", i)) }

// work acquires shards and reads them, and now and then pins, unpins or evicts
// one. What fails must fail for a reason that it may have.
func (c *churn) work(ctx context.Context, rng *rand.Rand) error {
	i := rng.IntN(c.shards)
	key := churnKey(i)
	switch rng.IntN(20) {
	case 0:
		return c.may(c.store.Evict(ctx, key, nil), shard.ErrHeld, shard.ErrBusy, shard.ErrLastCopy)
	case 1:
		return errors.Join(c.store.Pin(ctx, key), c.store.Unpin(ctx, key))
	}
	patience := ctx
	if rng.IntN(10) == 0 { // somebody who does not wait
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(2000))*time.Microsecond)
		defer cancel()
	}
	a, err := c.store.Acquire(patience, key, nil)
	if patience.Err() != nil && ctx.Err() == nil {
		if err == nil {
			a.Close()
		}
		return nil
	}
	if err != nil {
		return c.may(err, shard.ErrSource, shard.ErrFailed)
	}
	defer a.Close()
	for range 3 {
		n := rng.IntN(c.blocks)
		want := cartest.RandomBlock(uint64(i), n, churnSize)
		got, err := a.Blockstore().Get(ctx, want.CID)
		if err != nil {
			return fmt.Errorf("block %d of %q: %w", n, key, err)
		}
		if string(got.RawData()) != string(want.Data) { // R7
			return fmt.Errorf("block %d of %q has other bytes", n, key)
		}
		c.reads.Add(1)
	}
	return nil
}

// may lets an error pass that is one of those, and counts it.
func (c *churn) may(err error, allowed ...error) error {
	for _, a := range allowed {
		if errors.Is(err, a) {
			c.fails.Add(1)
			return nil
		}
	}
	return err
}

// run has many work at once.
func (c *churn) run(seed uint64, rounds int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for w := range churnWorkers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds {
				if err := c.work(ctx, rng); err != nil {
					c.t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// settles checks that the figures are those of the disk once nothing is under
// way, and that nothing is left that no record names.
func (c *churn) settles() {
	c.t.Helper()
	c.until("the figures are those of the disk", func() bool {
		sum, files := c.copyBytes()
		st := c.store.Stats()
		return st.CopyBytes == sum && st.Copies == files && sum <= c.cfg.Copies.Quota
	})
}

// A thousand shards want room for fifty copies: the quota is never exceeded, no
// byte is wrong, nobody is stuck, whatever the sources do, and after each crash
// all goes on (R3, R7, R15, R24).
func TestQuotaChurn(t *testing.T) {
	seed := longtest.Seed()
	c := newChurn(t, seed)
	for i := range churnShards {
		m := c.putBytes(fmt.Sprint(i), cartest.RandomV1(uint64(i), churnBlocks, churnSize))
		err := c.store.RegisterShard(c.ctx(), churnKey(i), m, nil, &RegisterOptions{Serve: shard.Copy, Lazy: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	rounds, lives := longtest.Runs(60, 2000), longtest.Runs(3, 20)
	for life := range lives {
		c.watch()
		c.run(seed+uint64(life), rounds)
		c.faults.Disarm()
		if life%2 == 0 {
			c.settles()
		}
		c.crash([]int{0, 50, 100}[life%3], seed+uint64(life))
	}
	c.settles()
	if n := c.over.Load(); n > 0 {
		t.Errorf("%d times more was on disk than may be", n)
	}
	if c.reads.Load() == 0 {
		t.Error("nothing was read")
	}
	longtest.Figure(t, "%d shards over room for %d copies from seed %d: %d crashes, %d blocks read and right, %d calls failed as they may, %d streams of sources; never over the quota",
		churnShards, churnRoom, seed, lives, c.reads.Load(), c.fails.Load(), c.far.streams.Load())
}
