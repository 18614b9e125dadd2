package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/mmap"
)

const (
	coldBlocks = 4  // in each CAR of acquire-cold
	coldSize   = 64 // bytes
)

// acquireCold is acquire, get, close over more shards than stay open, so that
// nearly each has to be opened: its CAR, and its index.
func acquireCold(ctx context.Context, e *env) (r result, err error) {
	cars, err := e.several("cold", e.scale.cold, coldBlocks, coldSize)
	if err != nil {
		return r, err
	}
	s, err := e.store(ctx, "cold", cars)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	random := rand.New(rand.NewPCG(3, 4))
	round := func(visit func(c *carFile, b block) error) func() (float64, error) {
		return func() (float64, error) {
			times := make([]time.Duration, e.scale.acquires)
			for i := range times {
				c := cars[random.IntN(len(cars))]
				b := c.asked[random.IntN(len(c.asked))]
				began := time.Now()
				if err := visit(c, b); err != nil {
					return 0, err
				}
				times[i] = time.Since(began)
			}
			return inMicros(percentile(times, 50)), nil
		}
	}
	figure, limit, err := pairs(ctx, e.scale.rounds,
		round(func(c *carFile, b block) error { return acquireGetClose(ctx, s, &question{block: b, key: c.key}) }),
		round(openAndRead))
	r = compared(figure, limit, "µs")
	r.goal, r.held = "p50 ≤ 100 µs", figure <= 100
	r.note = fmt.Sprintf("%d CARs of %d × %d B, %d in a round; 1024 handles", len(cars), coldBlocks, coldSize, e.scale.acquires)
	return r, err
}

// openAndRead is the least that a cold block costs: its file opened and read,
// another one opened, mapped and touched for its index.
func openAndRead(c *carFile, b block) (err error) {
	f, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	q := question{block: b, file: f}
	if err := q.readRight(true); err != nil {
		return err
	}
	m, err := mmap.Open(c.path)
	if err != nil {
		return err
	}
	var first [8]byte
	_, err = m.ReadAt(first[:], 0)
	return errors.Join(err, m.Close())
}

// goroutines counts how many there are at most while shards are registered and
// indexed: as many for a thousand as for ten.
func goroutines(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("many", e.scale.many, e.scale.perCAR, tinySize)
	if err != nil {
		return result{}, err
	}
	few := cars[:min(len(cars), 10)]
	figure, limit, err := pairs(ctx, 1,
		func() (float64, error) { return mostGoroutines(ctx, e, cars) },
		func() (float64, error) { return mostGoroutines(ctx, e, few) })
	r := compared(figure, limit, "goroutines")
	r.goal, r.held = "constant", figure <= limit+2 // Pebble may be at work in the background
	r.note = fmt.Sprintf("N = %d, the limit is that of N = %d; looked at every 0.1 ms", len(cars), len(few))
	return r, err
}

// mostGoroutines registers cars in a new store, and returns how many
// goroutines more than before there are at most.
func mostGoroutines(ctx context.Context, e *env, cars []*carFile) (most float64, err error) {
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	before := runtime.NumGoroutine()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return 0, err
	}
	var peak atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(100 * time.Microsecond); ; {
			peak.Store(max(peak.Load(), int64(runtime.NumGoroutine())))
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	err = register(ctx, s, cars)
	close(stop)
	<-stopped
	return float64(peak.Load() - 1 - int64(before)), errors.Join(err, s.Close())
}
