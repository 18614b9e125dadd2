package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dagstore/dagstore"
)

var errWrongBlock = errors.New("the block is not the one that was asked for")

// maxAllocs is how many allocations a Get may take.
const maxAllocs = 4

func get1k(ctx context.Context, e *env) (result, error) {
	c, err := e.car("mid", e.scale.mid, midSize)
	if err != nil {
		return result{}, err
	}
	blocks := func(_ *dagstore.Store, a *dagstore.Accessor) *dagstore.Blockstore {
		return a.Blockstore().With(&dagstore.BlockstoreOptions{Unchecked: true})
	}
	r, allocs, err := getRow(ctx, e, "mid", []*carFile{c}, false, blocks)
	r.goal, r.held = "≤ 1.3× pread, ≤ 4 allocations", r.ratio <= 1.3 && allocs <= maxAllocs
	return r, err
}

func get1kChecked(ctx context.Context, e *env) (result, error) {
	c, err := e.car("mid", e.scale.mid, midSize)
	if err != nil {
		return result{}, err
	}
	r, _, err := getRow(ctx, e, "mid", []*carFile{c}, true, ofAccessor)
	r.goal, r.held = "≤ 1.3× pread + SHA-256", r.ratio <= 1.3
	return r, err
}

// getAll asks the blockstore over all shards, which checks, and is compared
// with a read that does not.
func getAll(ctx context.Context, e *env) (result, error) {
	n := max(1, e.scale.mid/e.scale.apart)
	cars, err := e.several("apart", e.scale.apart, n, midSize)
	if err != nil {
		return result{}, err
	}
	r, _, err := getRow(ctx, e, "apart", cars, false, overAll(nil))
	if err != nil {
		return r, err
	}
	unchecked, _, err := getRow(ctx, e, "apart", cars, false, overAll(&dagstore.BlockstoreOptions{Unchecked: true}))
	r.goal, r.held = "≤ 2× pread", r.ratio <= 2
	r.note += fmt.Sprintf("; checked, the limit is not; unchecked %.2f µs, %.2f×", unchecked.figure, unchecked.ratio)
	return r, err
}

// A view chooses the blockstore that a row asks, given one of the accessors.
type view func(*dagstore.Store, *dagstore.Accessor) *dagstore.Blockstore

func ofAccessor(_ *dagstore.Store, a *dagstore.Accessor) *dagstore.Blockstore { return a.Blockstore() }

func overAll(o *dagstore.BlockstoreOptions) view {
	return func(s *dagstore.Store, _ *dagstore.Accessor) *dagstore.Blockstore { return s.Blockstore(o) }
}

// getRow gets random blocks of cars, all of which are held, and compares that
// with reads of the files, hashed if check is set.
func getRow(ctx context.Context, e *env, name string, cars []*carFile, check bool, blocks view) (r result, allocs float64, err error) {
	s, err := e.store(ctx, name, cars)
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	release, err := acquireAll(ctx, s, cars)
	if err != nil {
		return r, 0, err
	}
	defer release()
	held, err := s.Acquire(ctx, cars[0].key, nil)
	if err != nil {
		return r, 0, err
	}
	defer func() { _ = held.Close() }() // which returns nil
	q, err := newQuiz(cars, e.scale.gets)
	if err != nil {
		return r, 0, err
	}
	defer q.close()

	bs := blocks(s, held)
	figure := func(q *question) error { return get(ctx, bs, q) }
	for i := range q.ask { // touches what is mapped
		if err := figure(&q.ask[i]); err != nil {
			return r, 0, err
		}
	}
	r, allocs, err = q.laps(ctx, e.scale.rounds, figure, func(q *question) error { return q.readRight(check) })
	r.note = fmt.Sprintf("N = %d × %d B, CARs: %d, %d gets a round, %.1f allocations",
		len(cars)*cars[0].blocks, cars[0].asked[0].size, len(cars), len(q.ask), allocs)
	return r, allocs, err
}

// perTurn is how many questions are asked before the other side has its turn.
const perTurn = 500

// laps asks figure and limit all questions in their order, rounds times over,
// and compares the medians of their turns. These are short, so that what else
// the machine does meets both alike, and many of them not at all. The limit is
// half a lap ahead: neither finds in the processor's cache what the other has
// just read. allocs are those of one figure, the least that a turn has seen:
// others are of somebody else.
func (q *quiz) laps(ctx context.Context, rounds int, figure, limit func(*question) error) (r result, allocs float64, err error) {
	n := min(perTurn, len(q.ask))
	parts := len(q.ask) / n
	allocs = math.Inf(1)
	i, j := 0, parts/2
	f, l, err := turns(ctx, rounds*parts, func() (float64, error) {
		part := q.ask[i%parts*n:][:n]
		i++
		micros, made, err := each(n, func(k int) error { return figure(&part[k]) })
		allocs = min(allocs, made)
		return micros, err
	}, func() (float64, error) {
		part := q.ask[j%parts*n:][:n]
		j++
		micros, _, err := each(n, func(k int) error { return limit(&part[k]) })
		return micros, err
	})
	return compared(f, l, "µs"), allocs, err
}

func get(ctx context.Context, bs *dagstore.Blockstore, q *question) error {
	b, err := bs.Get(ctx, q.cid)
	if err != nil {
		return err
	}
	if len(b.RawData()) != q.size {
		return errWrongBlock
	}
	return nil
}

// readRight is read, for which a wrong block is an error.
func (q *question) readRight(check bool) error {
	right, err := q.read(check)
	if err == nil && !right {
		err = errWrongBlock
	}
	return err
}
