package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
)

func acquire1k(ctx context.Context, e *env) (result, error) {
	return acquireOne(ctx, e, "many-0", e.scale.perCAR)
}

func acquire100k(ctx context.Context, e *env) (result, error) {
	return acquireOne(ctx, e, "large", e.scale.large)
}

func acquire2m(ctx context.Context, e *env) (result, error) {
	return acquireOne(ctx, e, "tiny", e.scale.tiny)
}

func acquireMany(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("many", e.scale.many, e.scale.perCAR, tinySize)
	if err != nil {
		return result{}, err
	}
	return acquireAlone(ctx, e, "many", cars)
}

func acquireOne(ctx context.Context, e *env, name string, blocks int) (result, error) {
	c, err := e.car(name, blocks, tinySize)
	if err != nil {
		return result{}, err
	}
	return acquireAlone(ctx, e, name, []*carFile{c})
}

// acquireAlone is one caller who acquires, gets a block, and closes.
func acquireAlone(ctx context.Context, e *env, name string, cars []*carFile) (result, error) {
	v, err := compete(ctx, e, name, cars, 1)
	r := compared(inMicros(v.figure.p50), inMicros(v.limit.p50), "µs")
	r.goal, r.held = "p50 ≤ 10 µs", r.figure <= 10
	r.note = fmt.Sprintf("CARs open: %d × %d × %d B, %d in a round; p99 %.0f µs (limit %.0f); %.1f allocations",
		len(cars), cars[0].blocks, tinySize, e.scale.acquires, inMicros(v.figure.p99), inMicros(v.limit.p99), v.figure.allocs)
	return r, err
}

// acquire64 is 64 callers at once.
func acquire64(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("many", e.scale.many, e.scale.perCAR, tinySize)
	if err != nil {
		return result{}, err
	}
	v, err := compete(ctx, e, "many", cars, e.scale.callers)
	r := compared(v.figure.rate, v.limit.rate, "/s")
	r.goal = "≥ 200000/s, p99 ≤ 3 ms"
	r.held = r.figure >= 200_000 && v.figure.p99 <= 3*time.Millisecond
	r.note = fmt.Sprintf("CARs open: %d × %d × %d B, %d callers; p50 %.0f µs, p99 %.2f ms (limit %.2f ms)",
		len(cars), cars[0].blocks, tinySize, e.scale.callers, inMicros(v.figure.p50), v.figure.p99.Seconds()*1e3, v.limit.p99.Seconds()*1e3)
	return r, err
}

// A pace is how a number of callers got on.
type pace struct {
	p50, p99     time.Duration
	rate, allocs float64
}

type contest struct{ figure, limit pace }

// compete measures callers of the store beside callers who have the same block
// read and hashed after a word with one goroutine that serves all: no store
// that keeps one account of its holders does less.
func compete(ctx context.Context, e *env, name string, cars []*carFile, callers int) (v contest, err error) {
	s, err := e.store(ctx, name, cars)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	release, err := acquireAll(ctx, s, cars)
	if err != nil {
		return v, err
	}
	release() // they stay open, and nobody holds them
	q, err := newQuiz(cars, e.scale.acquires)
	if err != nil {
		return v, err
	}
	defer q.close()
	clerk := newClerk()
	defer clerk.close()

	visit := func(_ int, q *question) error { return acquireGetClose(ctx, s, q) }
	if _, err := takeTurns(q, callers, visit); err != nil {
		return v, err
	}
	var figures, limits []pace
	round := func(into *[]pace, op func(int, *question) error) func() (float64, error) {
		return func() (float64, error) {
			p, err := takeTurns(q, callers, op)
			*into = append(*into, p)
			return p.rate, err
		}
	}
	replies := make([]chan struct{}, callers)
	for i := range replies {
		replies[i] = make(chan struct{})
	}
	_, _, err = pairs(ctx, e.scale.rounds, round(&figures, visit), round(&limits, func(caller int, q *question) error {
		clerk.ask(replies[caller])
		return q.readRight(true)
	}))
	return contest{medianPace(figures), medianPace(limits)}, err
}

func acquireGetClose(ctx context.Context, s *dagstore.Store, q *question) error {
	a, err := s.Acquire(ctx, q.key, nil)
	if err != nil {
		return err
	}
	if err := get(ctx, a.Blockstore(), q); err != nil {
		return errors.Join(err, a.Close())
	}
	return a.Close()
}

// takeTurns shares the questions among callers, and times each answer.
func takeTurns(q *quiz, callers int, op func(caller int, q *question) error) (pace, error) {
	times := make([]time.Duration, len(q.ask))
	failed := make([]error, callers)
	micros, allocs, err := each(1, func(int) error {
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				for i := c; i < len(q.ask) && failed[c] == nil; i += callers {
					start := time.Now()
					failed[c] = op(c, &q.ask[i])
					times[i] = time.Since(start)
				}
			})
		}
		all.Wait()
		return errors.Join(failed...)
	})
	n := float64(len(q.ask))
	return pace{
		p50: percentile(times, 50), p99: percentile(times, 99),
		rate: n / micros * 1e6, allocs: allocs / n,
	}, err
}

// medianPace is the median of each number by itself.
func medianPace(all []pace) pace {
	of := func(f func(pace) float64) float64 {
		values := make([]float64, len(all))
		for i, p := range all {
			values[i] = f(p)
		}
		return median(values)
	}
	if len(all) == 0 {
		return pace{}
	}
	return pace{
		p50:    time.Duration(of(func(p pace) float64 { return float64(p.p50) })),
		p99:    time.Duration(of(func(p pace) float64 { return float64(p.p99) })),
		rate:   of(func(p pace) float64 { return p.rate }),
		allocs: of(func(p pace) float64 { return p.allocs }),
	}
}

// A clerk is one goroutine that answers everybody.
type clerk struct {
	asked chan chan struct{}
	done  chan struct{}
}

func newClerk() *clerk {
	c := &clerk{asked: make(chan chan struct{}, 64), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for reply := range c.asked {
			reply <- struct{}{}
		}
	}()
	return c
}

func (c *clerk) ask(reply chan struct{}) {
	c.asked <- reply
	<-reply
}

func (c *clerk) close() {
	close(c.asked)
	<-c.done
}
