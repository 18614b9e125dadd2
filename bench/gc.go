package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
)

const (
	goalGC   = time.Millisecond // what GC may add to the p99
	gcOpen   = 64               // shards that are acquired
	gcStrays = 1_000            // files that belong to nobody, for each GC
	idRange  = 1_000            // records in a batch
)

// acquireGC is acquire while GC runs without a pause, in a store of many
// indexed shards of which some are used, beside the same without GC. Each GC
// finds files that belong to no shard.
func acquireGC(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("many", min(gcOpen, e.scale.many), e.scale.perCAR, tinySize)
	if err != nil {
		return result{}, err
	}
	dir := e.fresh()
	like, err := e.crowd(ctx, dir, cars)
	if err != nil {
		return result{}, err
	}
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return result{}, err
	}
	g := &collector{s: s, dir: dir, like: like}
	r, err := g.compete(ctx, e, cars)
	return r, errors.Join(err, s.Close(), os.RemoveAll(dir))
}

// indexPath is where an index lies in a store.
func indexPath(dir string, id uint32) string {
	return filepath.Join(dir, "index", fmt.Sprintf("%02x", id&0xff), fmt.Sprintf("%08x.idx", id))
}

// crowd makes a store of cars and of many more indexed shards, which share
// their CARs and have index files that are linked to theirs: a file bears so
// many names. It returns the path of one of these.
func (e *env) crowd(ctx context.Context, dir string, cars []*carFile) (like string, err error) {
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return "", err
	}
	if err := errors.Join(register(ctx, s, cars), s.Close()); err != nil {
		return "", err
	}
	c, err := catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	records := make([]*catalog.Record, len(cars))
	for i, car := range cars {
		if records[i], err = c.Get(ctx, car.key); err != nil {
			return "", err
		}
		like = indexPath(dir, uint32(records[i].Index.ID))
	}
	for left := e.scale.crowd; left > 0; left -= idRange {
		n := uint32(min(left, idRange))
		from, err := c.Reserve(ctx, n)
		if err != nil {
			return "", err
		}
		var b catalog.Batch
		for id := from; id < from+n; id++ {
			r := records[id%uint32(len(cars))]
			more := *r
			more.Key, more.Revision, more.Index.ID = fillKey(int(id)), 1, index.ID(id)
			b.Puts = append(b.Puts, catalog.Put{Record: &more})
			if err := link(indexPath(dir, uint32(r.Index.ID)), indexPath(dir, id)); err != nil {
				return "", err
			}
		}
		if err := c.Apply(ctx, &b); err != nil {
			return "", err
		}
	}
	return like, nil
}

func link(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.Link(from, to)
}

// A collector runs one GC after the other.
type collector struct {
	s         *dagstore.Store
	dir, like string
	runs      int
	files     int64
	took      time.Duration
}

// run has GC run until stop is closed.
func (g *collector) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		for i := range uint32(gcStrays) {
			if err := link(g.like, indexPath(g.dir, 1<<31+i)); err != nil {
				return err
			}
		}
		began := time.Now()
		report, err := g.s.GC(ctx)
		if err != nil {
			return err
		}
		g.took += time.Since(began)
		g.runs++
		g.files += report.Files
	}
}

func (g *collector) compete(ctx context.Context, e *env, cars []*carFile) (r result, err error) {
	release, err := acquireAll(ctx, g.s, cars)
	if err != nil {
		return r, err
	}
	release() // they stay open, and nobody holds them
	q, err := newQuiz(cars, e.scale.acquires)
	if err != nil {
		return r, err
	}
	defer q.close()
	visit := func(_ int, q *question) error { return acquireGetClose(ctx, g.s, q) }
	if _, err := g.s.GC(ctx); err != nil { // after what the start does by itself
		return r, err
	}
	if _, err := takeTurns(q, 1, visit); err != nil {
		return r, err
	}
	var with, without []pace
	_, _, err = pairs(ctx, e.scale.rounds, func() (float64, error) {
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- g.run(ctx, stop) }()
		p, err := takeTurns(q, 1, visit)
		close(stop)
		with = append(with, p)
		return p.rate, errors.Join(err, <-done)
	}, func() (float64, error) {
		p, err := takeTurns(q, 1, visit)
		without = append(without, p)
		return p.rate, err
	})
	if err != nil {
		return r, err
	}
	w, wo := medianPace(with), medianPace(without)
	r = compared(inMicros(w.p99), inMicros(wo.p99), "µs")
	r.goal, r.held = "p99 ≤ 1 ms over without GC", w.p99-wo.p99 <= goalGC
	r.note = fmt.Sprintf("%d indexed shards, %d in use; p50 %.1f µs (without GC %.1f); %d GCs of %.0f ms, each of %d files",
		e.scale.crowd+len(cars), len(cars), inMicros(w.p50), inMicros(wo.p50),
		g.runs, g.took.Seconds()*1e3/float64(max(1, g.runs)), g.files/int64(max(1, g.runs)))
	return r, nil
}
