package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

func TestResultsExactlyOne(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	out := make(chan ShardResult, 4)
	const n = 300
	for i := range n {
		if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprint(i)), m, out, nil); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[shard.Key]int{}
	for range n {
		res := <-out
		if res.Err != nil || res.Op != shard.OpRegister || res.Accessor != nil {
			t.Fatalf("%+v", res)
		}
		seen[res.Key]++
	}
	if len(seen) != n {
		t.Errorf("results for %d of %d", len(seen), n)
	}
	select {
	case res := <-out:
		t.Errorf("one too many: %+v", res)
	case <-time.After(10 * time.Millisecond):
	}
}

func TestNilChannelHoldsNothing(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 5)
	if err := r.store.RegisterShard(r.ctx(), "a", m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.store.AcquireShard(r.ctx(), "a", nil, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Available)
	r.has(blocks)
	for r.info("a").Holders > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := r.store.DestroyShard(r.ctx(), "a", nil, nil); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := r.store.Info(r.ctx(), "a"); errors.Is(err, shard.ErrUnknown) {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// One reading serves all who wait, and who leaves does not end it.
func TestWorkIsShared(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{})
	_, m := r.put("a.car", 1, 5)
	out := make(chan ShardResult, 100)
	if err := r.store.RegisterShard(r.ctx(), "a", m, out, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Initializing)
	for range 10 {
		if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.store.RecoverShard(r.ctx(), "a", out, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := r.store.Acquire(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(r.gate)
	for range 21 {
		res := <-out
		if res.Err != nil {
			t.Errorf("%+v", res)
		}
		if res.Accessor != nil {
			defer res.Accessor.Close()
		}
	}
	if n := r.reads.Load(); n != 1 {
		t.Errorf("the CAR was read %d times", n)
	}
}

// Queued work is destroyed as well as running work.
func TestDestroyOfWhatIsQueued(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{})
	_, m := r.put("a.car", 1, 5)
	for i := range 50 {
		if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprint(i)), m, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		if err := r.store.Destroy(r.ctx(), shard.Key(fmt.Sprint(i)), nil); err != nil {
			t.Fatal(i, err)
		}
	}
	close(r.gate)
	for in := range r.store.Shards(r.ctx(), nil) {
		t.Errorf("left: %+v", in)
	}
}

// What does not fit into memory waits on disk, and is taken up in its turn,
// before and after a restart.
func TestQueueOfIntentsOnDisk(t *testing.T) {
	r := newRig(t)
	r.bounds.window = 8
	r.reopen()
	r.gate = make(chan struct{})
	blocks, m := r.put("a.car", 1, 5)
	const n = 200
	key := func(i int) shard.Key { return shard.Key(fmt.Sprint(i)) }
	for i := range n {
		if err := r.store.RegisterShard(r.ctx(), key(i), m, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.await(key(n-1), shard.Initializing)
	a := make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), key(n-2), a, nil); err != nil { // somebody waits for one on disk
		t.Fatal(err)
	}
	if err := r.store.Destroy(r.ctx(), key(n-3), nil); err != nil { // and one on disk goes
		t.Fatal(err)
	}
	close(r.gate)
	if res := <-a; res.Err != nil {
		t.Fatal(res.Err)
	} else {
		res.Accessor.Close()
	}
	r.reopen() // in the middle of it
	for i := range n {
		if i != n-3 {
			r.await(key(i), shard.Available)
		}
	}
	if _, err := r.store.Info(r.ctx(), key(n-3)); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("the destroyed one: %v", err)
	}
	r.has(blocks)
}

type renamed struct{ mount.FileOpener }

func (renamed) URL() string { return "once:a.car" }

// stream is a source that can be read from its first byte to its last only.
type stream struct{ mount.Mount }

func (stream) URL() string { return "once:a.car" }

func (s stream) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := s.Mount.Stat(ctx)
	st.Ranges = false
	return st, err
}

// A mount that offers neither a file nor ranges can be indexed and not read in
// place: that fails the acquire and leaves the shard available.
func TestSourceThatCannotBeServed(t *testing.T) {
	r := newRig(t)
	r.cars.Put("a.car", cartest.RandomV1(1, 5, 100))
	r.cfg.Mounts["once"] = func(string) (mount.Mount, error) {
		m, err := r.cars.Open("mem:a.car")
		return stream{m}, err
	}
	r.reopen()
	m, _ := r.cfg.Mounts["once"]("")
	r.register("a", m, &RegisterOptions{Serve: shard.InPlace})
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrSource) || !errors.Is(err, mount.ErrNoRanges) {
		t.Errorf("%v", err)
	}
	if _, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
		t.Errorf("local only: %v", err)
	}
	if in := r.info("a"); in.State != shard.Available || in.Holders != 0 {
		t.Errorf("%+v", in)
	}
}

// A million acquires in small: holds and goroutines end where they began.
func TestManyHolders(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 50)
	for i := range 10 {
		r.register(shard.Key(fmt.Sprint(i)), m, nil)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 300 {
				key := shard.Key(fmt.Sprint((g + i) % 10))
				a, err := r.store.Acquire(t.Context(), key, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := a.Blockstore().Get(t.Context(), blocks[i%50].CID); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					_, _ = io.CopyN(io.Discard, a.CAR(t.Context()), 500)
				}
				a.Close()
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		r.await(shard.Key(fmt.Sprint(i)), shard.Available)
	}
}

// More shards than may be open at once.
func TestHandlesAreBounded(t *testing.T) {
	r := newRig(t)
	r.cfg.Work.Handles = 4
	r.reopen()
	var all [][]cartest.Block
	for i := range 30 {
		blocks, m := r.put(fmt.Sprint(i, ".car"), uint64(i), 10)
		r.register(shard.Key(fmt.Sprint(i)), m, nil)
		all = append(all, blocks)
	}
	for range 2 {
		for _, blocks := range all {
			r.has(blocks)
		}
	}
}
