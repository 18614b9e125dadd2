package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// registerLazy registers shards that are indexed later, with many calls
// outstanding, beside batches of the same size in Pebble alone.
func registerLazy(ctx context.Context, e *env) (r result, err error) {
	s, err := dagstore.Open(ctx, e.fresh(), nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	alone, err := openPebble(e.fresh())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, alone.close()) }()

	n, outstanding := e.scale.lazy, e.scale.outstanding
	made := 0
	// While one batch is written the next one gathers, so either has half of
	// the calls.
	size := max(1, outstanding/2)
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) {
			plans, err := planLazy(e.dir, made, n)
			if err != nil {
				return 0, err
			}
			made += n
			return registerMany(ctx, s, plans, outstanding)
		},
		func() (float64, error) { return alone.put(n, size) })
	if err != nil {
		return r, err
	}
	plans, err := planLazy(e.dir, made, max(e.scale.callers, n/10))
	if err != nil {
		return r, err
	}
	blocking, err := registerBlocking(ctx, s, plans, e.scale.callers)
	if err != nil {
		return r, err
	}
	syncs, err := syncTime(filepath.Join(e.dir, "synced"), e.scale.syncs)
	r = compared(figure, limit, "/s")
	r.goal, r.held = "≥ 100000/s", figure >= 100_000
	r.note = fmt.Sprintf("N = %d a round, %d outstanding; limit in batches of %d; fdatasync p50 %.0f µs; %d blocking callers %.0f/s",
		n, outstanding, size, inMicros(syncs), e.scale.callers, blocking)
	return r, err
}

// A plan is a shard to be registered. Plans are made beforehand: what is
// measured is the store and not its caller.
type plan struct {
	key   shard.Key
	mount mount.Mount
}

func lazyKey(i int) shard.Key { return shard.Key(fmt.Sprintf("lazy/%09d", i)) }

// planLazy plans n shards from the given number on. Their sources need not
// exist: nobody looks before a shard is used.
func planLazy(dir string, from, n int) ([]plan, error) {
	plans := make([]plan, n)
	for i := range plans {
		key := lazyKey(from + i)
		m, err := filemount.New(filepath.Join(dir, "sources", string(key)+".car"))
		if err != nil {
			return nil, err
		}
		plans[i] = plan{key, m}
	}
	return plans, nil
}

// registerMany returns how many registrations a second are acknowledged.
func registerMany(ctx context.Context, s *dagstore.Store, plans []plan, outstanding int) (rate float64, err error) {
	results := make(chan dagstore.ShardResult, outstanding)
	free := make(chan struct{}, outstanding)
	failed := make(chan error, 1)
	began := time.Now()
	go func() {
		var first error
		for range plans {
			if r := <-results; r.Err != nil && first == nil {
				first = r.Err
			}
			<-free
		}
		failed <- first
	}()
	lazy := &dagstore.RegisterOptions{Lazy: true}
	for _, p := range plans {
		free <- struct{}{}
		if err := s.RegisterShard(ctx, p.key, p.mount, results, lazy); err != nil {
			results <- dagstore.ShardResult{Err: err} // it sends none itself
		}
	}
	err = <-failed
	return float64(len(plans)) / time.Since(began).Seconds(), err
}

// registerBlocking is registerMany for callers who wait for each answer.
func registerBlocking(ctx context.Context, s *dagstore.Store, plans []plan, callers int) (rate float64, err error) {
	failed := make([]error, callers)
	lazy := &dagstore.RegisterOptions{Lazy: true}
	began := time.Now()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < len(plans) && failed[c] == nil; i += callers {
				failed[c] = s.Register(ctx, plans[i].key, plans[i].mount, lazy)
			}
		})
	}
	all.Wait()
	return float64(len(plans)) / time.Since(began).Seconds(), errors.Join(failed...)
}

// syncTime returns the median time that the device takes for 4 KiB more of a
// file.
func syncTime(name string, n int) (p50 time.Duration, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	page := make([]byte, 4096)
	times := make([]time.Duration, n)
	for i := range times {
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := syncData(f); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	return percentile(times, 50), nil
}
