package dagstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// fickle is a mount of which one opening in twenty goes wrong.
type fickle struct {
	mount.FileOpener
	n *atomic.Int64
}

var errFickle = errors.New("not now")

func (f fickle) OpenFile(ctx context.Context) (mount.File, error) {
	switch n := f.n.Add(1); {
	case n%40 == 19:
		panic(errFickle)
	case n%20 == 9:
		return nil, errFickle
	}
	return f.FileOpener.OpenFile(ctx)
}

// fickleStore is a store of n shards in files, few of which can be open at once.
func fickleStore(t *testing.T, n int) *Store {
	dir := t.TempDir()
	var opened atomic.Int64
	s, err := Open(t.Context(), filepath.Join(dir, "store"), &Config{
		Work: Work{Handles: n / 4}, // so that most acquires open
		Mounts: mount.Registry{"file": func(url string) (mount.Mount, error) {
			m, err := filemount.Open(url)
			if err != nil {
				return nil, err
			}
			return fickle{m.(mount.FileOpener), &opened}, nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i, ".car"))
		if err := os.WriteFile(path, cartest.RandomV1(uint64(i), 5, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := filemount.New(path)
		if err != nil {
			t.Fatal(err)
		}
		key := shard.Key(fmt.Sprint(i))
		for err := s.Register(t.Context(), key, m, nil); err != nil; err = s.Recover(t.Context(), key, nil) {
			if !errors.Is(err, shard.ErrSource) {
				t.Fatal(err)
			}
		}
	}
	return s
}

// cycles counts how acquires end.
type cycles struct{ held, failed, left atomic.Int64 }

// turn acquires a shard and lets it go. Some callers leave before they have it.
func (c *cycles) turn(t *testing.T, s *Store, key shard.Key, leaves bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if leaves {
		out := make(chan ShardResult) // never read
		if err := s.AcquireShard(ctx, key, out, nil); err != nil {
			t.Error(err)
		}
		c.left.Add(1)
		return
	}
	a, err := s.Acquire(ctx, key, nil)
	switch {
	case err == nil:
		a.Close()
		c.held.Add(1)
	case errors.Is(err, shard.ErrSource):
		c.failed.Add(1)
	default:
		t.Errorf("acquire %q: %v", key, err)
	}
}

// idle waits until nobody holds any of n shards.
func idle(t *testing.T, s *Store, n int) {
	for i := range n {
		key := shard.Key(fmt.Sprint(i))
		until(t, "everybody has let go", func() bool {
			in, err := s.Info(t.Context(), key)
			return err == nil && in.State == shard.Available && in.Holders == 0 && in.Waiting == 0
		})
	}
}

// until waits until something holds, which what says.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("never: %s", what)
		}
	}
}

// descriptors counts those of this process, where the system tells.
func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}

// A million acquires and releases, of which one in twenty goes wrong: the
// opening fails or panics, or the caller leaves. Holds, goroutines and
// descriptors are in the end where they were.
func TestHoldsComeBack(t *testing.T) {
	const shards, callers = 100, 16
	s := fickleStore(t, shards)
	var c cycles
	for i := range shards { // as many are open as may be
		c.turn(t, s, shard.Key(fmt.Sprint(i)), false)
	}
	idle(t, s, shards)
	goroutines, open := runtime.NumGoroutine(), descriptors()
	total := longtest.Runs(20_000, 1_000_000)
	var wg sync.WaitGroup
	for w := range callers {
		rng := rand.New(rand.NewPCG(longtest.Seed(), uint64(w)))
		wg.Go(func() {
			for range total / callers {
				c.turn(t, s, shard.Key(fmt.Sprint(rng.IntN(shards))), rng.IntN(20) == 0)
			}
		})
	}
	wg.Wait()
	idle(t, s, shards)
	const slack = 8 // what the catalogue and the pools may be doing
	until(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines+slack })
	until(t, "the descriptors are closed", func() bool { return descriptors() <= open+slack })
	longtest.Figure(t, "%d acquires from seed %d: %d held, %d failed, %d left before the end; goroutines %d, then %d; descriptors %d, then %d",
		total, longtest.Seed(), c.held.Load(), c.failed.Load(), c.left.Load(), goroutines, runtime.NumGoroutine(), open, descriptors())
	if c.held.Load() == 0 || c.failed.Load() == 0 || c.left.Load() == 0 {
		t.Error("something never happened")
	}
}
