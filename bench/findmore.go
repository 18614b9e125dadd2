package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
)

// flat is how much longer something may take that has to be flat.
const flat = 1.3

// findShards compares look-ups, confirmed, among few shards and among many of
// equal total size.
func findShards(ctx context.Context, e *env) (r result, err error) {
	total := e.scale.finds.total()
	few := entries{shards: 10, each: max(1, total/10)}
	many := entries{shards: min(10_000, total/2), each: max(2, total/10_000)}
	var confirmed [2]float64
	var kinds []kind
	for i, n := range [...]entries{few, many} {
		q, done, failed := e.findApart(ctx, n)
		if failed != nil {
			return r, failed
		}
		defer func() { err = errors.Join(err, done()) }()
		kinds = append(kinds, kind{func(int) error { return q.hit(true) }, &confirmed[i]})
	}
	if err := inTurns(ctx, e.scale.rounds*e.scale.gets, kinds...); err != nil {
		return r, err
	}
	r = compared(confirmed[1], confirmed[0], "µs")
	r.goal, r.held = fmt.Sprintf("≤ %v×", flat), r.ratio <= flat
	r.note = fmt.Sprintf("%d shards of %d blocks, the limit %d of %d; %d layers", many.shards, many.each, few.shards, few.each, goalLayers)
	return r, nil
}

// findApart is for look-ups among n, with indices of their own.
func (e *env) findApart(ctx context.Context, n entries) (q *finder, done func() error, err error) {
	dir := e.fresh()
	files, err := writeIndices(ctx, dir, n)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	q, closed, err := newFinder(ctx, filepath.Join(dir, "layers"), n, goalLayers, files)
	if err != nil {
		closeIndices(files)
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return q, func() error {
		err := closed()
		closeIndices(files)
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// sharedWindow is over how many shards adding is timed at least: a few flushes.
const sharedWindow = 8 * 1024

// sharedBlock adds shards that have one block in common, with flushes and
// merges as they are due, and compares the last of them with the first.
func sharedBlock(ctx context.Context, e *env) (r result, err error) {
	f, err := newLayerFolder(e.fresh())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(f.dir)) }()
	cfg := f.config()
	cfg.MemShards = 0 // the default
	inv, err := f.open(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = closing(ctx, inv, err) }()
	n := e.scale.sharing
	begin := max(1, min(n/2, max(n/100, sharedWindow)))
	early, err := addSharing(ctx, inv, 0, begin)
	if err != nil {
		return r, err
	}
	first, err := findNewest(inv, begin, e.scale.gets)
	if err != nil {
		return r, err
	}
	if _, err := addSharing(ctx, inv, begin, n-begin); err != nil {
		return r, err
	}
	late, err := addSharing(ctx, inv, n-begin, n)
	if err != nil {
		return r, err
	}
	last, err := findNewest(inv, n, e.scale.gets)
	r = compared(last, first, "µs")
	r.goal, r.held = fmt.Sprintf("≤ %v×, adding too", flat), r.ratio <= flat && late <= flat*early
	r.note = fmt.Sprintf("N = %d, the limit is at %d; adding %.2f µs a shard, at the beginning %.2f, flushes and merges in it; "+
		"in the inverted index alone; %d layers", n, begin, late, early, inv.Stats().Layers)
	return r, err
}

// addSharing adds shards from up to to, and returns the microseconds of one.
func addSharing(ctx context.Context, inv *layers.Inverted, from, to int) (float64, error) {
	one := entries{shards: 1, each: 1}
	return spent(max(0, to-from), func(i int) error {
		if err := inv.Add(ctx, index.ID(from+i+1), one.of(0)); err != nil || !inv.Due() {
			return err
		}
		if err := inv.Flush(ctx); err != nil {
			return err
		}
		for inv.MergeDue() {
			if _, err := inv.Merge(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// findNewest looks for the shared block, and has to find shard n first.
func findNewest(inv *layers.Inverted, n, gets int) (float64, error) {
	mh, ids := newMade().set(0), []index.ID(nil)
	return spent(gets, func(int) (err error) {
		if ids, err = inv.Find(ids[:0], mh, 1); err == nil && (len(ids) != 1 || int(ids[0]) != n) {
			err = errWrongShard
		}
		return err
	})
}

// readMerge compares the slowest hundredth of what a Get does while layers are
// merged with that when they are not.
func readMerge(ctx context.Context, e *env) (r result, err error) {
	c, err := e.car("mid", e.scale.mid, midSize)
	if err != nil {
		return r, err
	}
	car, err := os.Open(c.path)
	if err != nil {
		return r, err
	}
	defer car.Close()
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := writeIndices(ctx, dir, e.scale.adds)
	if err != nil {
		return r, err
	}
	defer closeIndices(files)
	var beside, without []float64
	gets := 0
	for i := range max(1, e.scale.rounds/2) {
		b, w, n, err := mergeRound(ctx, filepath.Join(dir, fmt.Sprint("layers", i)), e.scale, files, car, c)
		if err != nil {
			return r, err
		}
		beside, without, gets = append(beside, b), append(without, w), gets+n
	}
	r = compared(median(beside), median(without), "µs")
	r.goal, r.held = "p99 ≤ 1.5×", r.ratio <= 1.5
	r.note = fmt.Sprintf("p99 of look-up, place, pread of 1 KiB and SHA-256; %d entries in %d layers; %d gets during merges in all",
		e.scale.adds.total(), goalLayers, gets)
	return r, nil
}

// mergeRound returns both p99 in microseconds, and how many gets were made
// while layers were merged.
func mergeRound(ctx context.Context, dir string, s scale, files []*index.File, car *os.File, c *carFile) (beside, without float64, n int, err error) {
	f, err := newLayerFolder(dir)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := f.fill(ctx, s.adds, goalLayers); err != nil {
		return 0, 0, 0, err
	}
	inv, err := f.open(ctx, f.config())
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = closing(ctx, inv, err) }()
	q := &finder{n: s.adds, inv: inv, files: files, mh: newMade()}
	if err := q.warm(ctx); err != nil {
		return 0, 0, 0, err
	}
	data := make([]byte, midSize)
	get := func() (time.Duration, error) { return q.timed(car, c, data) }
	var quiet, busy []time.Duration
	for range s.gets {
		took, err := get()
		if err != nil {
			return 0, 0, 0, err
		}
		quiet = append(quiet, took)
	}
	var merging atomic.Bool
	merging.Store(true)
	merged := make(chan error, 1)
	go func() {
		_, err := inv.Merge(ctx)
		merging.Store(false)
		merged <- err
	}()
	for merging.Load() && err == nil {
		var took time.Duration
		took, err = get()
		busy = append(busy, took)
	}
	if err := errors.Join(err, <-merged); err != nil {
		return 0, 0, 0, err
	}
	if len(busy) == 0 { // the merge was over before the first
		busy = quiet
	}
	return inMicros(percentile(busy, 99)), inMicros(percentile(quiet, 99)), len(busy), nil
}

// timed is how long a look-up, and the read and check of some block of c, take.
func (q *finder) timed(car *os.File, c *carFile, data []byte) (time.Duration, error) {
	began := time.Now()
	if err := q.hit(true); err != nil {
		return 0, err
	}
	b := &c.asked[int(q.asked)%len(c.asked)]
	if _, err := car.ReadAt(data, b.off); err != nil {
		return 0, err
	}
	if digest := sha256.Sum256(data); string(digest[:]) != string(b.cid.Hash()[2:]) {
		return 0, errWrongBlock
	}
	return time.Since(began), nil
}
