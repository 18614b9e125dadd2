package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
)

// together is how many blocks are asked for in one call of GetMany.
const together = 1000

// getMany asks for many blocks at once, in an order of their own, that lie
// close together: what a traversal asks for, or a gateway that sends a file. A
// source that is far away is where it pays; here is what it costs on this
// machine, where a read is short and all that lies between is read too.
func getMany(ctx context.Context, e *env) (r result, err error) {
	c, err := e.car("mid", e.scale.mid, midSize)
	if err != nil {
		return r, err
	}
	s, err := e.store(ctx, "mid", []*carFile{c})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	held, err := s.Acquire(ctx, c.key, nil)
	if err != nil {
		return r, err
	}
	defer func() { _ = held.Close() }() // which returns nil
	q, err := newQuiz([]*carFile{c}, 1)
	if err != nil {
		return r, err
	}
	defer q.close()

	n := min(together, len(c.asked))
	asks := stretches(c.asked, n, max(1, e.scale.gets/n))
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) { return manyAtOnce(ctx, held.Blockstore(), asks) },
		func() (float64, error) { return manyAlone(q, asks) })
	if err != nil {
		return r, err
	}
	r = compared(figure, limit, "µs")
	r.goal, r.held = "reported", true
	r.note = fmt.Sprintf("N = %d × %d B, every %d. block of a stretch, %d at once, in random order; per block",
		c.blocks, midSize, max(1, c.blocks/len(c.asked)), n)
	return r, nil
}

// stretches are count times n blocks in a row, of those that a CAR remembers.
func stretches(blocks []block, n, count int) [][]block {
	random := rand.New(rand.NewPCG(5, 6))
	out := make([][]block, count)
	for i := range out {
		out[i] = blocks[random.IntN(len(blocks)-n+1):][:n]
	}
	return out
}

// manyAtOnce is the microseconds of a block.
func manyAtOnce(ctx context.Context, bs *dagstore.Blockstore, asks [][]block) (float64, error) {
	random := rand.New(rand.NewPCG(7, 8))
	var took time.Duration
	got := 0
	for _, ask := range asks {
		cids := make([]cid.Cid, len(ask))
		for i, j := range random.Perm(len(ask)) {
			cids[i] = ask[j].cid
		}
		began := time.Now()
		for b, err := range bs.GetMany(ctx, cids) {
			if err != nil {
				return 0, err
			}
			if len(b.RawData()) != midSize {
				return 0, errWrongBlock
			}
			got++
		}
		took += time.Since(began)
	}
	if got != len(asks)*len(asks[0]) {
		return 0, errWrongBlock
	}
	return inMicros(took) / float64(got), nil
}

// manyAlone reads and hashes each of the same blocks, in the order in which
// they lie.
func manyAlone(q *quiz, asks [][]block) (float64, error) {
	var took time.Duration
	n := 0
	for _, ask := range asks {
		questions := make([]question, len(ask))
		for i, b := range ask {
			questions[i] = question{b, q.ask[0].key, q.ask[0].file}
		}
		slices.SortFunc(questions, func(a, b question) int { return int(a.off - b.off) })
		began := time.Now()
		for i := range questions {
			if err := questions[i].readRight(true); err != nil {
				return 0, err
			}
		}
		took += time.Since(began)
		n += len(questions)
	}
	return inMicros(took) / float64(n), nil
}
