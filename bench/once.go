package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagstore/dagstore"
)

// lazy10m is measured by name alone, since it takes minutes and a few GiB:
// very many lazy shards in one store, registered through the store itself.
func lazy10m(ctx context.Context, e *env) (r result, err error) {
	dir := e.fresh()
	n := e.scale.vast
	seconds, heap, err := registerVast(ctx, e, dir, n)
	if err != nil {
		return r, err
	}
	disk, err := folderSize(dir)
	if err != nil {
		return r, err
	}
	began := time.Now()
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{NoCreate: true})
	if err != nil {
		return r, err
	}
	_, err = s.Info(ctx, lazyKey(n/2))
	started := time.Since(began)
	r.figure, r.unit, r.goal, r.held = float64(n)/seconds, "/s", "reported", true
	r.note = fmt.Sprintf("N = %d: %.0f s; %.0f B a shard on disk, %.1f B on the heap; open and Info %.0f ms",
		n, seconds, float64(disk)/float64(n), heap/float64(n), started.Seconds()*1e3)
	return r, errors.Join(err, s.Close())
}

// registerVast registers n lazy shards, in portions, so that their plans do not
// count as the store's heap.
func registerVast(ctx context.Context, e *env, dir string, n int) (seconds, heap float64, err error) {
	before, err := restingHeap(ctx)
	if err != nil {
		return 0, 0, err
	}
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for made := 0; made < n; {
		plans, err := planLazy(e.dir, made, min(n-made, e.scale.lazy))
		if err != nil {
			return 0, 0, err
		}
		rate, err := registerMany(ctx, s, plans, e.scale.outstanding)
		if err != nil {
			return 0, 0, err
		}
		made += len(plans)
		seconds += float64(len(plans)) / rate
	}
	after, err := restingHeap(ctx)
	return seconds, float64(after) - float64(before), err
}
