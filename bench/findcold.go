package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/mmap"
)

// goalReads is how many reads of the device a look-up may take with nothing cached.
const goalReads = 2

// findCold counts what look-ups of present blocks read from the device after
// the page cache of the layers was dropped: page faults that had to wait for
// it, and requests to read ahead. Beside that it counts them after what a store
// does at its start, which is to have filters read.
func findCold(ctx context.Context, e *env) (r result, err error) {
	n := e.scale.finds
	r = result{unit: "reads", limit: 1, goal: fmt.Sprintf("≤ %d reads", goalReads)}
	for _, count := range [...]int{1, goalLayers} {
		f, err := newLayerFolder(e.fresh())
		if err != nil {
			return r, err
		}
		err = f.fill(ctx, n, count)
		var c, started coldTimes
		if err == nil {
			c, err = e.coldReads(ctx, f, n, false)
		}
		if err == nil {
			started, err = e.coldReads(ctx, f, n, true)
		}
		if err := errors.Join(err, os.RemoveAll(f.dir)); err != nil {
			return r, err
		}
		r.figure, r.ratio = c.all, c.all
		r.note += fmt.Sprintf("%d layers: %.2f for each of the first %d look-ups, %.2f for each of %d (%.1f µs); "+
			"after %.0f requests for filters at the start: %.2f and %.2f (%.1f µs); ",
			count, c.first, e.scale.coldFirst(), c.all, e.scale.gets, c.micros, started.before, started.first, started.all, started.micros)
	}
	r.held = r.figure <= goalReads
	r.note += fmt.Sprintf("%d entries; counted: major faults and requests to read ahead; dropped by posix_fadvise", n.total())
	return r, nil
}

// coldTimes are the reads before the first look-up, those of one of the first
// and of one of all, and the microseconds of one.
type coldTimes struct{ before, first, all, micros float64 }

// coldFirst is how many look-ups are the first.
func (s scale) coldFirst() int { return max(1, s.gets/500) }

// coldReads counts. If warm is set it has filters read first, as a store does.
func (e *env) coldReads(ctx context.Context, f *layerFolder, n entries, warm bool) (t coldTimes, err error) {
	for number := range f.list {
		if err := dropCache(f.path(number)); err != nil {
			return t, err
		}
	}
	counted := &prefetchFolder{layerFolder: f}
	cfg := f.config()
	cfg.Files = counted
	inv, err := f.open(ctx, cfg)
	if err != nil {
		return t, err
	}
	defer func() { err = closing(ctx, inv, err) }()
	q := &finder{n: n, inv: inv, mh: newMade()}
	faults, err := majorFaults()
	if err != nil {
		return t, err
	}
	reads := func() (float64, error) {
		now, err := majorFaults()
		return float64(now - faults + counted.prefetches.Load()), err
	}
	if warm {
		if err := inv.Warm(ctx); err != nil {
			return t, err
		}
	}
	if t.before, err = reads(); err != nil {
		return t, err
	}
	began := time.Now()
	for i := range e.scale.gets {
		if err := q.hit(false); err != nil {
			return t, err
		}
		if i+1 == e.scale.coldFirst() {
			if t.first, err = reads(); err != nil {
				return t, err
			}
		}
	}
	t.micros = inMicros(time.Since(began)) / float64(e.scale.gets)
	t.all, err = reads()
	t.first = (t.first - t.before) / float64(e.scale.coldFirst())
	t.all = (t.all - t.before) / float64(e.scale.gets)
	return t, err
}

// A prefetchFolder counts the requests to read ahead.
type prefetchFolder struct {
	*layerFolder
	prefetches atomic.Int64
}

// Open implements [layers.Files].
func (f *prefetchFolder) Open(_ context.Context, n uint32) (layers.File, error) {
	m, err := mmap.Open(f.path(n))
	return prefetchFile{m, &f.prefetches}, err
}

type prefetchFile struct {
	*mmap.Mapping
	count *atomic.Int64
}

// Prefetch counts, and passes on.
func (f prefetchFile) Prefetch(off, n int64) {
	f.count.Add(1)
	f.Mapping.Prefetch(off, n)
}
