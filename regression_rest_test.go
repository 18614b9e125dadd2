package dagstore

// The regression bank, the last of it: R19 to R24.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/shard"
)

// R19: lock order. Shards are destroyed from within a listing of all of them,
// while others list and ask.
func TestR19ListWhileDestroying(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	const n = 300
	for i := range n {
		r.register(shard.Key(fmt.Sprintf("%03d", i)), m, &RegisterOptions{Lazy: i%10 > 0})
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				for in, err := range r.store.Shards(r.ctx(), nil) {
					if err != nil {
						t.Error(err)
					}
					if _, err := r.store.Info(r.ctx(), in.Key); err != nil && !errors.Is(err, shard.ErrUnknown) {
						t.Error(err)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	left := n
	for in, err := range r.store.Shards(r.ctx(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Destroy(r.ctx(), in.Key, &DestroyOptions{Held: Force}); err != nil {
			t.Fatal(err)
		}
		left--
	}
	close(done)
	wg.Wait()
	if keys := r.keys(); left != 0 || len(keys) > 0 {
		t.Errorf("%d were not listed, %q are left", left, keys)
	}
}

// R20: an unparsable record is skipped at start and its shard forgotten. It is
// kept and listed as damaged until somebody destroys it by force.
func TestR20DamagedRecord(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	more, o := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", o, nil)
	r.stop()
	r.damage(m.URL())
	for range 2 { // over restarts
		r.open()
		r.isDamaged("a", m)
		r.has(more)
		r.acquire("b").Close()
		r.stop()
	}
	r.open()
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatalf("destroy by force: %v", err)
	}
	r.lacks(blocks)
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("info after that: %v", err)
	}
	r.reopen()
	if keys := r.keys(); !slices.Equal(keys, []shard.Key{"b"}) {
		t.Errorf("left: %q", keys)
	}
	r.register("a", m, nil)
	r.has(blocks)
	r.reopen()
	r.has(blocks)
	r.has(more)
}

// R22: start-up with more failed shards than workers never finishes. Here the
// start waits for none of them, and all are tried again, a window at a time.
func TestR22MoreFailedThanWorkers(t *testing.T) {
	const n = 60
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Work = Work{Indexings: 2}
		r.cfg.Retry = Retry{When: OnOpen, Attempts: 2}
		r.bounds.window = 4
		i := r.illness()
		key := func(k int) shard.Key { return shard.Key(fmt.Sprint(k)) }
		for k := range n {
			_, m := r.put(fmt.Sprint(k, ".car"), uint64(k), 5)
			if err := r.store.Register(t.Context(), key(k), m, nil); !errors.Is(err, errIll) {
				t.Fatal(err)
			}
		}
		asked := i.asks.Load()
		r.reopen() // at once: no wait is over
		synctest.Wait()
		if i.asks.Load() != asked {
			t.Error("shards were tried before their wait was over")
		}
		time.Sleep(time.Hour)
		i.on.Store(false)
		i.pause.Store(int64(2 * time.Second))
		began := time.Now()
		r.reopen()
		if d := time.Since(began); d > 0 {
			t.Errorf("the start took %v", d)
		}
		_, m := r.put("new.car", 1000, 5)
		r.register("new", m, nil) // goes before them
		if d := time.Since(began); d > 15*time.Second {
			t.Errorf("a new shard waited %v", d)
		}
		time.Sleep(10 * time.Minute)
		for k := range n {
			if in := r.info(key(k)); in.State != shard.Available {
				t.Fatalf("%d is %v: %v", k, in.State, in.Failure)
			}
		}
	})
}

// R23: a panic in an indexer or a mount takes the process down.
func TestR23Panics(t *testing.T) {
	t.Run("reading", func(t *testing.T) { mended(t, mounttest.Fault{At: 0, Do: mounttest.Panic}, shard.ErrSource) })
	t.Run("reading late", func(t *testing.T) { mended(t, mounttest.Fault{At: 200, Do: mounttest.Panic}, shard.ErrSource) })
	t.Run("opening", func(t *testing.T) { mended(t, mounttest.Fault{At: -1, Do: mounttest.Panic}, shard.ErrSource) })
	t.Run("making the mount", factoryPanics)
	t.Run("indexer", indexerPanics)
}

func indexerPanics(t *testing.T) {
	r := newRig(t)
	r.cfg.Indexers = map[string]index.Indexer{"panics": func(context.Context, io.Reader, func(index.Record) error) error { panic("on fire") }}
	r.reopen()
	blocks, m := r.put("a.car", 1, 20)
	if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Indexer: "panics"}); !errors.Is(err, shard.ErrIndex) {
		t.Errorf("register: %v", err)
	}
	if in := r.info("a"); in.State != shard.Errored {
		t.Errorf("it is %v", in.State)
	}
	r.register("b", m, nil)
	r.has(blocks)
}

// The function that makes a mount is a part of it: its panic is the error of the
// call that needed it.
func factoryPanics(t *testing.T) {
	r := newRig(t)
	var bad atomic.Bool
	r.mounts(func(m mount.Mount) mount.Mount {
		if bad.Load() {
			panic("no mounts today")
		}
		return m
	})
	r.reopen()
	blocks, m := r.put("a.car", 1, 20)
	more, o := r.put("b.car", 2, 20)
	r.register("index", m, &RegisterOptions{Lazy: true})
	r.register("near", o, &RegisterOptions{Lazy: true})
	r.register("open", m, nil)

	bad.Store(true)
	if err := r.store.Register(r.ctx(), "new", m, nil); !errors.Is(err, shard.ErrSource) {
		t.Errorf("register: %v", err)
	}
	for key, want := range map[shard.Key]shard.State{"index": shard.Errored, "open": shard.Available} {
		if _, err := r.store.Acquire(r.ctx(), key, nil); !errors.Is(err, shard.ErrSource) {
			t.Errorf("acquire %q: %v", key, err)
		}
		if in := r.info(key); in.State != want {
			t.Errorf("%q is %v, not %v", key, in.State, want)
		}
	}
	if _, err := r.store.Acquire(r.ctx(), "near", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
		t.Errorf("local only: %v", err)
	}
	if in := r.info("near"); in.State != shard.Registered {
		t.Errorf("local only changed the shard: %v", in.State)
	}

	bad.Store(false)
	if err := r.store.Recover(r.ctx(), "index", nil); err != nil {
		t.Errorf("recover: %v", err)
	}
	for _, key := range []shard.Key{"index", "near", "open"} {
		r.acquire(key).Close()
	}
	r.has(blocks)
	r.has(more)
}

// R24: a short fetch is accepted as complete.
func TestR24ShortFetch(t *testing.T) {
	mended(t, mounttest.Fault{At: 300, Do: mounttest.Short}, shard.ErrSource)
}
