package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
)

// findLayers is in how many layers the entries lie.
var findLayers = [...]int{1, 4, 8, 15}

// The goals, in microseconds.
const (
	goalLayers    = 4 // at which they have to be reached
	goalHit       = 1
	goalConfirmed = 2
	goalMiss      = 0.8
)

// errWrongShard says that a look-up was not right, and so that its time means nothing.
var errWrongShard = errors.New("a block was not found in its shard, or one that there is not was")

// findTimes are microseconds for each look-up: medians.
type findTimes struct{ hit, confirmed, miss, limit float64 }

func findHit(ctx context.Context, e *env) (result, error) {
	all, err := e.findAll(ctx)
	if err != nil {
		return result{}, err
	}
	t := all[goalLayers]
	r := compared(t.confirmed, t.limit, "µs")
	r.goal = fmt.Sprintf("≤ %v µs confirmed, ≤ %v unconfirmed", goalConfirmed, goalHit)
	r.held = t.confirmed <= goalConfirmed && t.hit <= goalHit
	r.note = e.findNote(all, func(t findTimes) string {
		return fmt.Sprintf("%.2f confirmed, %.2f unconfirmed (%.2f×)", t.confirmed, t.hit, t.hit/t.limit)
	})
	return r, nil
}

func findMiss(ctx context.Context, e *env) (result, error) {
	all, err := e.findAll(ctx)
	if err != nil {
		return result{}, err
	}
	t := all[goalLayers]
	r := compared(t.miss, t.limit, "µs")
	r.goal, r.held = fmt.Sprintf("≤ %v µs", goalMiss), t.miss <= goalMiss
	r.note = e.findNote(all, func(t findTimes) string { return fmt.Sprintf("%.2f (%.2f×)", t.miss, t.miss/t.limit) })
	return r, nil
}

func (e *env) findNote(all map[int]findTimes, times func(findTimes) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d entries in %d shards; at %d layers", e.scale.finds.total(), e.scale.finds.shards, goalLayers)
	for _, n := range findLayers {
		fmt.Fprintf(&b, "; %d layers: %s", n, times(all[n]))
	}
	return b.String()
}

// findAll measures look-ups at each number of layers, once for all rows.
func (e *env) findAll(ctx context.Context) (map[int]findTimes, error) {
	if e.finds != nil {
		return e.finds, nil
	}
	n := e.scale.finds
	dir := e.fresh()
	files, err := writeIndices(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	defer closeIndices(files)
	array := newSortedArray(n.total())
	all := map[int]findTimes{}
	for _, count := range findLayers {
		if all[count], err = e.findAt(ctx, filepath.Join(dir, strconv.Itoa(count)), n, count, files, array); err != nil {
			return nil, err
		}
	}
	e.finds = all
	return all, nil
}

// writeIndices writes the index of each shard, and opens it.
func writeIndices(ctx context.Context, dir string, n entries) (files []*index.File, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for i := range n.shards {
		f, err := writeIndex(ctx, filepath.Join(dir, fmt.Sprintf("%d.idx", i)), n, i)
		if err != nil {
			closeIndices(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func writeIndex(ctx context.Context, name string, n entries, i int) (*index.File, error) {
	out, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	b := index.NewBuilder(nil)
	defer func() { _ = b.Close() }() // it spills nothing that matters by then
	at := int64(100)
	for mh, err := range n.of(i) {
		if err == nil {
			err = b.Add(mh, index.Position{Offset: at, Size: 100, Head: 38})
		}
		if err != nil {
			return nil, errors.Join(err, out.Close())
		}
		at += 138
	}
	_, err = b.WriteTo(ctx, out, [16]byte{})
	if err := errors.Join(err, out.Close()); err != nil {
		return nil, err
	}
	return index.OpenFile(name)
}

func closeIndices(files []*index.File) {
	for _, f := range files {
		_ = f.Close() // it was only read
	}
}

// findAt measures at one number of layers.
func (e *env) findAt(ctx context.Context, dir string, n entries, count int, files []*index.File, array *sortedArray) (t findTimes, err error) {
	q, done, err := newFinder(ctx, dir, n, count, files)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, done()) }()
	return q.measure(ctx, e.scale, array)
}

// newFinder makes an inverted index of count layers in a folder, which done
// removes, and touches all of it.
func newFinder(ctx context.Context, dir string, n entries, count int, files []*index.File) (q *finder, done func() error, err error) {
	f, err := newLayerFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	var inv *layers.Inverted
	done = func() error {
		var err error
		if inv != nil {
			err = closing(ctx, inv, nil)
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	if err := f.fill(ctx, n, count); err != nil {
		return nil, nil, err
	}
	if inv, err = f.open(ctx, f.config()); err != nil {
		return nil, nil, err
	}
	if have := inv.Stats().Layers; have != min(count, n.shards) {
		return nil, nil, fmt.Errorf("%d layers, not %d", have, count)
	}
	q = &finder{n: n, inv: inv, files: files, mh: newMade()}
	return q, done, q.warm(ctx)
}

// A finder looks up made blocks.
type finder struct {
	n     entries
	inv   *layers.Inverted
	files []*index.File
	mh    made
	ids   []index.ID
	at    []index.Position
	asked uint64
}

// next is the number of the next block to be asked for.
func (q *finder) next() int {
	q.asked++
	return int(mixed(q.asked) % uint64(q.n.total()))
}

// warm has nearly every page touched and verified, so that what is measured is
// the look-up and not the first sight of a page.
func (q *finder) warm(ctx context.Context) error {
	const rowsOnPage = 341
	pages := float64(q.n.total())/rowsOnPage + 1
	for i := range int(pages*math.Log(pages)*1.2) + 1 {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := q.hit(true); err != nil {
			return err
		}
	}
	return nil
}

// inArray looks one of the first n blocks up in a.
func (q *finder) inArray(a *sortedArray, n int) error {
	if !a.has(q.mh.set(q.next() % n)) {
		return errWrongShard
	}
	return nil
}

func (q *finder) hit(confirm bool) (err error) {
	block := q.next()
	mh := q.mh.set(block)
	if q.ids, err = q.inv.Find(q.ids[:0], mh, 0); err != nil {
		return err
	}
	found := false
	for _, id := range q.ids {
		i := int(id) - 1
		if confirm {
			q.at, err = q.files[i].Find(q.at[:0], mh, 1)
			if err != nil {
				return err
			}
			found = found || len(q.at) == 1
		} else {
			found = found || i == block/q.n.each
		}
	}
	if !found {
		return errWrongShard
	}
	return nil
}

func (q *finder) miss() (err error) {
	if q.ids, err = q.inv.Find(q.ids[:0], q.mh.set(q.n.total()+q.next()), 0); err == nil && len(q.ids) > 0 {
		err = errWrongShard
	}
	return err
}

// A kind is one of the questions that are timed in turns.
type kind struct {
	ask  func(int) error
	into *float64
}

// kinds are the questions to q and to the array, with where their times go.
func (q *finder) kinds(t *findTimes, array *sortedArray) []kind {
	return []kind{
		{func(int) error { return q.hit(false) }, &t.hit},
		{func(int) error { return q.inArray(array, q.n.total()) }, &t.limit},
		{func(int) error { return q.hit(true) }, &t.confirmed},
		{func(int) error { return q.miss() }, &t.miss},
	}
}

func (q *finder) measure(ctx context.Context, s scale, array *sortedArray) (t findTimes, err error) {
	err = inTurns(ctx, s.rounds*s.gets, q.kinds(&t, array)...)
	return t, err
}

// turn is how many look-ups of a kind are timed before it is the next one's
// turn: less than a millisecond of them. What else the machine does then either
// meets all kinds alike, or takes the CPU away from a few turns, which the
// medians leave out.
const turn = 250

// inTurns asks n questions of each kind, some at a time, and puts the median
// microseconds of one where they belong.
func inTurns(ctx context.Context, n int, kinds ...kind) error {
	times := make([][]float64, len(kinds))
	for done := 0; done < n; done += turn {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, k := range kinds {
			micros, err := spent(min(turn, n), k.ask)
			if err != nil {
				return err
			}
			times[i] = append(times[i], micros)
		}
	}
	for i, k := range kinds {
		*k.into = median(times[i])
	}
	return nil
}

// closing closes inv and returns what failed first.
func closing(ctx context.Context, inv *layers.Inverted, err error) error {
	return errors.Join(err, inv.Close(context.WithoutCancel(ctx)))
}
