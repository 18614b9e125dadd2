package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/catalog"
)

const (
	goalHeap   = 8 // bytes a shard
	filterSize = 2 // bytes a shard, of the filter that answers whether a key may exist
)

// heapIdle is what a store holds for shards that nobody uses, more than its
// catalogue alone, whose cache has a size of its own.
func heapIdle(ctx context.Context, e *env) (r result, err error) {
	dir := e.fresh()
	n := e.scale.start
	if err := fill(ctx, dir, n, catalog.NoIntent); err != nil {
		return r, err
	}
	least, err := heapOf(ctx, func() (func() error, error) {
		c, err := catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
		if err != nil {
			return nil, err
		}
		for _, err := range c.Records(ctx, catalog.Filter{}) {
			if err != nil {
				return nil, errors.Join(err, c.Close(ctx))
			}
		}
		return func() error { return c.Close(ctx) }, nil
	})
	if err != nil {
		return r, err
	}
	all, err := heapOf(ctx, func() (func() error, error) {
		s, err := dagstore.Open(ctx, dir, &dagstore.Config{NoCreate: true})
		if err != nil {
			return nil, err
		}
		return s.Close, nil
	})
	r = compared((all-least)/float64(n), filterSize, "B")
	r.goal, r.held = "≤ 8 B", r.figure <= goalHeap
	r.note = fmt.Sprintf("N = %d; measured once; the catalogue alone has %.1f MiB on the heap", n, least/(1<<20))
	return r, err
}

// heapOf returns how many bytes more the heap has once something is open and
// has stopped working.
func heapOf(ctx context.Context, open func() (func() error, error)) (bytes float64, err error) {
	before, err := restingHeap(ctx)
	if err != nil {
		return 0, err
	}
	shut, err := open()
	if err != nil {
		return 0, err
	}
	after, err := restingHeap(ctx)
	return float64(after) - float64(before), errors.Join(err, shut())
}

// restingHeap waits until next to nothing is allocated any more: what a store
// does after its start is over then.
func restingHeap(ctx context.Context) (uint64, error) {
	const (
		pause = 100 * time.Millisecond
		quiet = 1_000 // allocations in a pause
	)
	var before, after runtime.MemStats
	for runtime.ReadMemStats(&before); ; before = after {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
		runtime.ReadMemStats(&after)
		if after.Mallocs-before.Mallocs < quiet {
			for range 3 { // what pools and finalizers hold goes with the second or third
				runtime.GC()
			}
			runtime.ReadMemStats(&after)
			return after.HeapAlloc, nil
		}
	}
}
