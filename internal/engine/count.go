package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// counts are the shards by state, and their sizes added up. Only the loop
// changes them.
//
// They begin with what the catalogue holds, which is counted in the
// background, page by page in the order of keys. A transition changes them if
// its shard has been counted; else it is remembered while the page is read
// that may hold the shard, and goes before what that says.
type counts struct {
	by                  [shard.Gone + 1]atomic.Int64
	index, blocks, cars atomic.Int64 // the sum of all sizes
	done                atomic.Bool  // every shard is counted

	upto    shard.Key                 // the last key that is counted
	during  map[shard.Key]shard.State // what moved beyond since the reading of a page began; nil: none is read
	resized map[shard.Key]sizes       // the same for what is added up
}

// sizes are what is added up over all shards: the bytes of the index, the blocks
// and the bytes of the CAR, as far as they are known.
type sizes struct{ index, blocks, cars int64 }

// move counts a transition of key.
func (c *counts) move(key shard.Key, from, to shard.State) {
	switch {
	case c.done.Load() || key <= c.upto:
		c.add(from, -1)
		c.add(to, 1)
	case c.during != nil:
		c.during[key] = to
	}
}

// resize counts a change of the sizes of key.
func (c *counts) resize(key shard.Key, from, to sizes) {
	switch {
	case from == to:
	case c.done.Load() || key <= c.upto:
		c.sum(to, 1)
		c.sum(from, -1)
	case c.resized != nil:
		c.resized[key] = to
	}
}

// sizesOf are the sizes that a record tells of.
func sizesOf(r *catalog.Record) sizes {
	if r == nil {
		return sizes{}
	}
	return sizes{r.Index.Length, r.Sections, r.Bytes}
}

// sum adds sizes n times.
func (c *counts) sum(s sizes, n int64) {
	c.index.Add(n * s.index)
	c.blocks.Add(n * s.blocks)
	c.cars.Add(n * s.cars)
}

func (c *counts) add(s shard.State, n int64) {
	if s != shard.Gone {
		c.by[s].Add(n)
	}
}

// A tally is a page of the catalogue, to be counted.
type tally struct {
	node  node
	keys  []shard.Key   // rising
	rest  []shard.State // as the page has them
	sizes []sizes       // likewise
	upto  shard.Key     // the last key that the page tells of
	last  bool          // nothing comes after it
	ready chan struct{} // closed when it is counted, and the next may be read

	adopted []shard.Key // those whose index has to be confirmed
}

// finish counts the page. The first one is empty and begins the counting.
func (t *tally) finish(e *Engine) {
	defer close(t.ready)
	e.confirmSoon(t.adopted...)
	c := &e.counts
	for i, key := range t.keys {
		s, n := t.rest[i], t.sizes[i]
		if en := e.loop.entries[key]; en != nil && !en.loading {
			s, n = en.told, sizesOf(en.durable)
		}
		if _, moved := c.during[key]; !moved {
			c.add(s, 1)
		}
		if _, resized := c.resized[key]; !resized {
			c.sum(n, 1)
		}
	}
	t.vanishing(e)
	for key, s := range c.during {
		if t.last || key <= t.upto {
			c.add(s, 1)
		}
	}
	for key, n := range c.resized {
		if t.last || key <= t.upto {
			c.sum(n, 1)
		}
	}
	c.upto, c.during, c.resized = t.upto, nil, nil
	if t.last {
		c.done.Store(true)
		return
	}
	c.during, c.resized = map[shard.Key]shard.State{}, map[shard.Key]sizes{}
}

// vanishing counts the shards that are gone from the disk already, so that
// the page does not have them, and of which that has still to be told.
func (t *tally) vanishing(e *Engine) {
	flight := e.loop.flight
	if flight == nil {
		return
	}
	c := &e.counts
	for _, en := range flight.dirty {
		if en.key <= c.upto || !t.last && en.key > t.upto || en.durable == nil {
			continue
		}
		if _, listed := slices.BinarySearch(t.keys, en.key); listed {
			continue
		}
		if _, moved := c.during[en.key]; !moved {
			c.during[en.key] = en.told
		}
		if _, resized := c.resized[en.key]; !resized {
			c.resized[en.key] = sizesOf(en.durable)
		}
	}
}

func (t *tally) abandon(*Engine) { close(t.ready) }

// census looks at every record of the catalogue: the existence filter learns
// its key, and it is counted.
func (e *Engine) census(ctx context.Context) error {
	t := &tally{}
	for {
		if !e.tally(ctx, t) {
			return ctx.Err()
		}
		if t.last {
			e.exists.filled()
			return nil
		}
		t = &tally{upto: t.upto, last: true}
		n := 0
		for r, err := range e.cfg.Catalog.Records(ctx, catalog.Filter{After: t.upto}) {
			var damaged *catalog.DamagedError
			switch {
			case errors.As(err, &damaged): // it exists, in no state that could be told
				t.upto = damaged.Key
			case err != nil:
				return err
			default:
				t.upto = r.Key
				t.keys, t.rest, t.sizes = append(t.keys, r.Key), append(t.rest, restOf(r)), append(t.sizes, sizesOf(r))
				if r.Claim == catalog.ClaimAdopted {
					t.adopted = append(t.adopted, r.Key)
				}
			}
			e.exists.add(t.upto)
			if n++; n == censusPage {
				t.last = false
				break
			}
		}
	}
}

// censusPage is how many records are counted between two looks at the loop.
const censusPage = 1024

// tally has the loop count t, and waits for it.
func (e *Engine) tally(ctx context.Context, t *tally) bool {
	t.ready = make(chan struct{})
	t.node.what, t.node.of = whatDone, t
	e.box.complete(&t.node)
	select {
	case <-t.ready:
		return true
	case <-ctx.Done():
		return false
	}
}
