package dagstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// The regression bank, continued: those about who waits for whom, R13 to R18.

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

// R15: a hung source keeps its slot for ever; two hung sources stop all remote
// shards.
func TestR15HungSources(t *testing.T) {
	t.Run("opening", hungOpening)
	t.Run("fetches", hungFetches)
}

// An opening that nobody waits for gives its slot back.
func hungOpening(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	blocks, o := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", o, nil)
	r.stop()
	h := newHang(func(url string) bool { return url == m.URL() })
	r.mounts(h.wrap)
	r.cfg.Work.Opens = 1
	r.open()
	for _, key := range []shard.Key{"a", "a"} { // and it may be tried again
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() {
			_, err := r.store.Acquire(ctx, key, nil)
			got <- err
		}()
		soon(r, "opening", h.entered)
		cancel()
		if err := soon(r, "acquire", got); !errors.Is(err, context.Canceled) {
			t.Errorf("acquire: %v", err)
		}
	}
	r.acquire("b").Close()
	r.has(blocks)
	h.on.Store(false)
	r.acquire("a").Close()
}

// Fetches hold their slots for the stall time, and no longer.
func hungFetches(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		t.Run(fmt.Sprintf("heeds %v", heeds), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.Work = Work{Fetches: 2}
				hung := func(url string) bool { return url == "mem:hung1.car" || url == "mem:hung2.car" }
				s := &sleepy{at: atRead, heeds: heeds, only: hung}
				r.sleeps(s, false)
				s.on.Store(true)
				results := make(chan ShardResult, 100)
				register := func(name string, seed uint64) {
					_, m := r.put(name+".car", seed, 20)
					if err := r.store.RegisterShard(t.Context(), shard.Key(name), m, results, nil); err != nil {
						t.Fatal(err)
					}
				}
				register("hung1", 1)
				register("hung2", 2)
				for i := range 20 {
					register(fmt.Sprint("good", i), uint64(10+i))
				}
				began := time.Now()
				for range 22 {
					var res ShardResult
					select {
					case res = <-results:
					case <-time.After(time.Hour):
						t.Fatal("some never end")
					}
					is := res.Key == "hung1" || res.Key == "hung2"
					if is != errors.Is(res.Err, shard.ErrStalled) || !is && res.Err != nil {
						t.Errorf("%q: %v", res.Key, res.Err)
					}
				}
				if d := time.Since(began); d > defaultStall+5*time.Second {
					t.Errorf("it took %v", d)
				}
				close(s.wakes)
				synctest.Wait()
			})
		})
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

// R17: GC holds up every acquire. What destroyed shards left is removed beside
// everything else, however long the disk takes.
func TestR17RemovingHoldsUpNobody(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	const n = 20
	for i := range n {
		r.register(shard.Key(fmt.Sprint(i)), m, nil)
	}
	r.register("kept", m, nil)
	r.stop()
	s := &stuck{FS: r.disk, removing: make(chan struct{}, n), gate: make(chan struct{})}
	r.openOn(vfstest.Wrap(s))
	open := sync.OnceFunc(func() { close(s.gate) })
	defer open()
	for i := range n {
		if err := r.store.Destroy(r.ctx(), shard.Key(fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	soon(r, "removing", s.removing)
	collected := make(chan error, 1)
	go func() {
		_, err := r.store.GC(r.t.Context())
		collected <- err
	}()
	for range 100 {
		r.acquire("kept").Close()
	}
	fresh, o := r.put("new.car", 2, 20)
	r.register("new", o, nil)
	r.has(fresh)
	if err := r.store.Destroy(r.ctx(), "new", nil); err != nil {
		t.Error(err)
	}
	open()
	if err := soon(r, "end of GC", collected); err != nil {
		t.Error(err)
	}
	r.until("all is removed", func() bool { return r.files() == 1 })
}

// stuck is a file system whose index files are not removed before the gate is
// open.
type stuck struct {
	vfs.FS
	removing chan struct{}
	gate     chan struct{}
}

func (s *stuck) Remove(name string) error {
	if strings.HasSuffix(name, ".idx") {
		select {
		case s.removing <- struct{}{}:
		default:
		}
		<-s.gate
	}
	return s.FS.Remove(name)
}

// R18: a shard left Recovering or New by a crash or a stop is never taken up
// again.
func TestR18IntentsAreTakenUp(t *testing.T) {
	t.Run("stop", func(t *testing.T) { takenUp(t, (*rig).stop) })
	t.Run("crash", func(t *testing.T) { takenUp(t, func(r *rig) { r.crashed(0) }) })
	t.Run("while the queue runs dry", deferredWhileTheQueueRunsDry)
	t.Run("what Close cuts off", cutOffByClose)
}

// takenUp ends the store while twenty shards are being indexed.
func takenUp(t *testing.T, end func(*rig)) {
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
	end(r)
	close(r.gate)
	r.open()
	for i := range 20 {
		r.await(shard.Key(fmt.Sprint(i)), shard.Available)
	}
	r.has(blocks)
}

// R18: a shard left New by a crash is never taken up again. Nor may one be
// forgotten that was put off to the queue on disk while its record was on its
// way there: it is looked for only once it can be found.
func deferredWhileTheQueueRunsDry(t *testing.T) {
	r := newRig(t)
	r.stop()
	h := newHang(nil)
	gate := make(chan struct{})
	r.mounts(func(m mount.Mount) mount.Mount {
		if m.URL() == "mem:c.car" {
			return m
		}
		return gated{m.(mount.FileOpener), gate, h.entered}
	})
	r.bounds.window = 1
	r.cfg.Work.Indexings = 1
	r.open()
	register := func(key shard.Key) {
		r.put(string(key)+".car", 3, 5)
		m, err := r.cfg.Mounts.Open("mem:" + string(key) + ".car")
		if err == nil {
			err = r.store.RegisterShard(r.ctx(), key, m, nil, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	register("a")
	soon(r, "indexing of a", h.entered)
	register("b")
	r.await("b", shard.Initializing)
	under, release := r.holdCommit(nil)
	register("c")
	soon(r, "commit of c", under)
	gate <- struct{}{}
	soon(r, "indexing of b", h.entered)
	gate <- struct{}{}
	// The queue in memory is dry, and is filled from disk, where c is not yet.
	r.until("b has ended", func() bool { return r.info("b").Progress == nil })
	release()
	r.await("c", shard.Available)
}

// R18: a shard left Recovering or New by a stop is taken up again, whatever
// its mount had to say about being cut off: that was no failure of the shard.
func cutOffByClose(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.stop()
	h := newHang(func(url string) bool { return url == m.URL() })
	h.answer = errors.New("use of closed connection")
	r.mounts(h.wrap)
	r.open()
	if err := r.store.RegisterShard(r.ctx(), "a", m, nil, nil); err != nil {
		t.Fatal(err)
	}
	soon(r, "indexing", h.entered)
	r.await("a", shard.Initializing)
	r.closeBehindACommit(h)
	h.on.Store(false)
	r.open()
	r.await("a", shard.Available)
	r.has(blocks)
	if in := r.info("a"); in.Failure != nil {
		t.Errorf("being closed counts as a failure: %v", in.Failure.Err)
	}
	if in := r.info("late"); in.State != shard.Registered {
		t.Errorf("what was being committed is %v", in.State)
	}
}
