package dagstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// briefly bounds what must not wait for a tick of the engine, in a bubble: by its
// clock nothing else takes long.
func (r *rig) briefly() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), 8*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

// Who waits for a copy to go hears of it if the batch that is to forget that copy
// is refused: it will not go any more.
func TestRefusedEvictionIsWaitedForByNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Copies = Copies{Quota: 8192, High: 1} // none goes but for who waits
		r.elsewhere()
		opts := &RegisterOptions{Serve: shard.Copy}
		for i, key := range []shard.Key{"a", "b"} { // of which the second has the space
			r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000)), opts)
		}
		r.settledCopies()
		under, release := r.holdCommit(syscall.EIO)
		out := make(chan error, 1)
		go func() {
			_, err := r.store.Acquire(r.briefly(), "a", nil)
			out <- err
		}()
		soon(r, "the commit of an eviction", under)
		r.until("the acquire waits for space", func() bool { return r.store.engine.Stats().Copies.Waiting == 1 })
		release()
		if err := soon(r, "the end of the acquire", out); !errors.Is(err, ErrReadOnly) {
			t.Errorf("an acquire that waits for an eviction that was refused: %v", err)
		}
		if st := r.store.Stats(); st.Copies != 1 || st.CopyBytes != 8192 {
			t.Errorf("the copy is there still: %+v", st)
		}
		if _, err := r.store.Acquire(r.briefly(), "a", nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("and one after that: %v", err)
		}
		r.restart()
		a := r.acquire("a")
		r.holds(a, cartest.Random(0, 7, 1000))
		a.Close()
		r.settledCopies()
	})
}

// A copy that was read a moment ago goes at once, if no other can.
func TestUsedCopyGoesIfNoOtherCan(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Copies = Copies{Quota: 8192, High: 1}
		r.elsewhere()
		opts := &RegisterOptions{Serve: shard.Copy}
		for i, key := range []shard.Key{"a", "b", "c"} {
			m := r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000))
			if err := r.store.Register(r.briefly(), key, m, opts); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second of which finds it open
				r.acquire(key).Close()
			}
		}
		a, err := r.store.Acquire(r.briefly(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
	})
}

// asked is a CAR elsewhere that has before called in each Stat.
type asked struct {
	remoteCAR
	before func(ctx context.Context)
}

func (m asked) Stat(ctx context.Context) (mount.Stat, error) {
	m.before(ctx)
	if ctx.Err() != nil {
		return mount.Stat{}, ctx.Err()
	}
	return m.remoteCAR.Stat(ctx)
}

// Who leaves while a source is asked for the copy that is to go has learned nothing
// about the source.
func TestEvictThatNobodyWaitsFor(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		entered := make(chan struct{}, 1)
		var hangs atomic.Bool
		r.elsewhere()
		r.mounts(func(m mount.Mount) mount.Mount {
			return asked{m.(remoteCAR), func(ctx context.Context) {
				if hangs.Load() {
					entered <- struct{}{}
					<-ctx.Done()
				}
			}}
		})
		r.reopen()
		r.register("a", r.putBytes("a.car", cartest.RandomV1(1, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
		r.ages("a")
		hangs.Store(true)
		ctx, cancel := context.WithCancel(r.briefly())
		out := make(chan error, 1)
		go func() { out <- r.store.Evict(ctx, "a", nil) }()
		soon(r, "the question", entered)
		cancel()
		if err := soon(r, "the end of it", out); !errors.Is(err, context.Canceled) || errors.Is(err, shard.ErrLastCopy) {
			t.Errorf("who has left gets %v", err)
		}
		if in := r.info("a"); in.Local.LastCopy || !in.Local.Complete {
			t.Errorf("%+v", in.Local)
		}
	})
}

// A copy that was being made when the store became read-only is read by who waited
// for it. It has no record, so it goes with the next start; until then it counts.
func TestCopyMadeWhileTheStoreBreaks(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	m := r.putBytes("a.car", cartest.RandomV1(1, 7, 1000))
	r.register("a", m, &RegisterOptions{Serve: shard.Copy})
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.settledCopies()
	entered, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	far.set(func() {
		far.fault = func(int64) (int, error) {
			once.Do(func() { close(entered); <-gate })
			return -1, nil
		}
	})
	out := make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	soon(r, "the fetch", entered)
	r.breaks()
	close(gate)
	res := soon(r, "the end of the fetch", out)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	r.holds(res.Accessor, cartest.Random(1, 7, 1000))
	if sum, files := r.copyBytes(); files != 1 || r.store.Stats().CopyBytes != sum {
		t.Errorf("%d files of %d bytes: %+v", files, sum, r.store.Stats())
	}
	r.store.Close() // which waits for what is being removed
	if _, files := r.copyBytes(); files != 1 {
		t.Error("it was removed while it was read")
	}
	res.Accessor.Close()
	r.open()
	r.until("it has gone", func() bool { _, files := r.copyBytes(); return files == 0 && r.store.Stats().CopyBytes == 0 })
}

// A source that cannot be asked for one version, and changes while it is fetched,
// may have given half of each.
func TestSourceChangesWhileItIsFetched(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	far.noRanges = true
	m := r.putBytes("a.car", cartest.RandomV1(1, 20, 1000))
	r.register("a", m, &RegisterOptions{Serve: shard.Copy})
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 0 {
				r.putBytes("a.car", cartest.RandomV1(2, 20, 1000))
			}
			return 4096, nil
		}
	})
	if a, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrChanged) {
		t.Errorf("%v, %v", a, err)
	}
	r.until("nothing is left of it", func() bool { _, files := r.copyBytes(); return files == 0 })
}
