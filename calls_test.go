package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
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

// R13: one unread result channel stops every other caller and Close.
func TestR13UnreadChannel(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	r.register("a", m, nil)
	before := runtime.NumGoroutine()
	unread := make(chan ShardResult)
	for range 1000 {
		if err := r.store.AcquireShard(t.Context(), "a", unread, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.acquire("a").Close()
	if n := runtime.NumGoroutine() - before; n > 4 {
		t.Errorf("%d goroutines more for one channel that nobody reads", n)
	}
	if in := r.info("a"); in.Holders < 1000 {
		t.Errorf("%d holders", in.Holders)
	}
	if err := r.store.Close(); err != nil { // takes all of them back
		t.Fatal(err)
	}
}

// R14: a cancelled acquire leaks a reference.
func TestR14CancelledAcquire(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{})
	_, m := r.put("a.car", 1, 5)
	r.register("a", m, &RegisterOptions{Lazy: true})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if a, err := r.store.Acquire(ctx, "a", nil); err == nil {
				t.Error("acquired behind a closed gate")
				a.Close()
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	out := make(chan ShardResult)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := r.store.AcquireShard(ctx, "a", out, nil); err != nil {
			t.Error(err)
		}
		cancel()
	}
	wg.Wait()
	for r.info("a").Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	close(r.gate)
	r.await("a", shard.Available)
	if in := r.info("a"); in.Holders != 0 {
		t.Errorf("%d holds are left", in.Holders)
	}
	select {
	case res := <-out:
		t.Errorf("a result after the caller had left: %+v", res)
	default:
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

// R16: Destroy during initialization: the shard comes back after a restart,
// and who waited never hears.
func TestR16DestroyDuringInitialization(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{})
	blocks, m := r.put("a.car", 1, 5)
	out := make(chan ShardResult, 10)
	if err := r.store.RegisterShard(r.ctx(), "a", m, out, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Initializing)
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res := <-out; !errors.Is(res.Err, shard.ErrDestroying) {
			t.Errorf("%+v", res)
		}
	}
	close(r.gate)
	r.reopen()
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("after a restart: %v", err)
	}
	r.lacks(blocks)
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

// R18: a shard left initializing by a stop or a crash is never taken up again.
func TestR18IntentsAreTakenUp(t *testing.T) {
	for _, how := range []string{"stop", "crash"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			r.gate = make(chan struct{})
			blocks, m := r.put("a.car", 1, 5)
			for i := range 20 {
				if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprint(i)), m, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 20 { // recorded, since it is listed
				r.await(shard.Key(fmt.Sprint(i)), shard.Initializing)
			}
			r.register("last", m, &RegisterOptions{Lazy: true}) // in a batch after theirs
			if how == "stop" {
				if err := r.store.Close(); err != nil {
					t.Fatal(err)
				}
				close(r.gate)
				r.open()
			} else {
				disk := r.disk.Crash(0, 1)
				r.store.Close()
				close(r.gate)
				r.disk = disk
				r.open()
			}
			for i := range 20 {
				r.await(shard.Key(fmt.Sprint(i)), shard.Available)
			}
			r.has(blocks)
		})
	}
}

// What does not fit into memory waits on disk, and is taken up in its turn,
// before and after a restart.
func TestQueueOfIntentsOnDisk(t *testing.T) {
	r := newRig(t)
	r.window = 8
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

// R3: one failed fetch poisons the shard. R23: a panic in a mount takes the
// process down. R24: a short fetch is accepted as complete.
func TestR3R23R24FaultySource(t *testing.T) {
	for name, fault := range map[string]mounttest.Fault{
		"fail":  {At: 100, Do: mounttest.Fail, Err: errors.New("the cable was pulled")},
		"short": {At: 300, Do: mounttest.Short},
		"panic": {At: 0, Do: mounttest.Panic},
		"late":  {At: 200, Do: mounttest.Panic},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			data := cartest.RandomV1(1, 50, 100)
			r.cars.Put("a.car", data)
			first := true
			r.cfg.Mounts["once"] = func(string) (mount.Mount, error) {
				m, err := r.cars.Open("mem:a.car")
				if err != nil {
					return nil, err
				}
				m = renamed{m.(mount.FileOpener)}
				if first {
					return mounttest.Faulty(m, fault), nil
				}
				return m, nil
			}
			r.reopen()
			m, _ := r.cfg.Mounts["once"]("")
			err := r.store.Register(r.ctx(), "a", m, nil)
			if err == nil {
				t.Fatal("a source that fails was indexed")
			}
			if name != "short" && !errors.Is(err, shard.ErrSource) {
				t.Errorf("%v", err)
			}
			if in := r.info("a"); in.State != shard.Errored {
				t.Errorf("%v", in.State)
			}
			first = false
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
				t.Fatalf("recover: %v", err)
			}
			r.has(cartest.Random(1, 50, 100))
		})
	}
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

// A mount that offers neither a file nor ranges can be indexed and not read:
// that fails the acquire and leaves the shard available.
func TestSourceThatCannotBeServed(t *testing.T) {
	r := newRig(t)
	r.cars.Put("a.car", cartest.RandomV1(1, 5, 100))
	r.cfg.Mounts["once"] = func(string) (mount.Mount, error) {
		m, err := r.cars.Open("mem:a.car")
		return stream{m}, err
	}
	r.reopen()
	m, _ := r.cfg.Mounts["once"]("")
	r.register("a", m, nil)
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
