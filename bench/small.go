package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
)

// leastPerBlock is what a block of SHA-256 takes at least: digest and offset as
// go-car has them, size and head, key and id in the inverted index, its filter.
const leastPerBlock = 40 + 5 + 12 + 1.2

// smallCARs are the CARs of the workload scale.
func (e *env) smallCARs() ([]*carFile, error) {
	return e.several("small", e.scale.small, coldBlocks, coldSize)
}

// registerSmall registers and indexes small CARs, all of which are in the
// queue at once, beside the least that this costs: each CAR opened and read, by
// as many as there are processors, and a record of the same size written by
// Pebble alone.
func registerSmall(ctx context.Context, e *env) (r result, err error) {
	cars, err := e.smallCARs()
	if err != nil {
		return r, err
	}
	alone, err := openPebble(e.fresh())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, alone.close()) }()
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) { return registerRate(ctx, e, cars) },
		func() (float64, error) {
			took, err := readAll(cars)
			if err != nil {
				return 0, err
			}
			rate, err := alone.put(len(cars), max(1, e.scale.outstanding/2))
			return float64(len(cars)) / (took.Seconds() + float64(len(cars))/rate), err
		})
	r = compared(figure, limit, "/s")
	r.goal, r.held = "reported", true
	r.note = fmt.Sprintf("%d CARs of %d × %d B", len(cars), coldBlocks, coldSize)
	return r, err
}

// registerRate registers cars in a new store and returns how many a second
// are indexed.
func registerRate(ctx context.Context, e *env, cars []*carFile) (rate float64, err error) {
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began := time.Now()
	err = register(ctx, s, cars)
	return float64(len(cars)) / time.Since(began).Seconds(), err
}

// readAll opens and reads every one of cars.
func readAll(cars []*carFile) (time.Duration, error) {
	began := time.Now()
	readers := runtime.GOMAXPROCS(0)
	failed := make([]error, readers)
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			for at := i; at < len(cars) && failed[i] == nil; at += readers {
				_, failed[i] = os.ReadFile(cars[at].path)
			}
		})
	}
	all.Wait()
	return time.Since(began), errors.Join(failed...)
}

// diskPerShard is what a store of small shards takes on the disk, all indices
// and logs included, after it was closed and its layers were merged.
func diskPerShard(ctx context.Context, e *env) (r result, err error) {
	cars, err := e.smallCARs()
	if err != nil {
		return r, err
	}
	s, err := e.store(ctx, "small", cars)
	if err != nil {
		return r, err
	}
	_, err = s.GC(ctx) // merges what is left to be merged
	if err = errors.Join(err, s.Close()); err != nil {
		return r, err
	}
	n := float64(len(cars))
	dir := e.stores["small"]
	size, err := folderSize(dir)
	if err != nil {
		return r, err
	}
	records, err := folderSize(filepath.Join(dir, catalogFolder))
	r = compared(float64(size)/n, coldBlocks*leastPerBlock, "B")
	r.goal, r.held = "≤ 600 B a shard", r.figure <= 600
	r.note = fmt.Sprintf("%d CARs of %d × %d B; %.0f B in the catalogue, the rest in the inverted index", len(cars), coldBlocks, coldSize, float64(records)/n)
	return r, err
}
