package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
)

// inverted1g is measured by name alone, since it takes half an hour and 30 GiB
// of disk: a billion entries in one inverted index, filled, flushed and merged
// as the engine does, each by a goroutine of its own.
func inverted1g(ctx context.Context, e *env) (r result, err error) {
	dir := e.fresh()
	f, err := newLayerFolder(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bigBuild{counted: countedFolder{layerFolder: f}, n: e.scale.giga, within: e.scale.gigaTime, progress: e.progress}
	cfg := f.config()
	cfg.Files, cfg.MemShards = &b.counted, 0
	if b.inv, err = f.open(ctx, cfg); err != nil {
		return r, err
	}
	defer func() { err = closing(ctx, b.inv, err) }()
	if err := b.run(ctx); err != nil {
		return r, err
	}
	q := &finder{n: b.n, inv: b.inv, mh: newMade()}
	s := b.inv.Stats()
	t, err := q.hitAndMiss(ctx, e.scale)
	r = compared(t.hit, t.limit, "µs")
	r.goal, r.held = "reported", true
	r.note = fmt.Sprintf("%d entries in %d shards: added durably in %.0f s (%.2f M/s), merged %.0f s later (%.2f M/s in all), %.0f s of CPU; "+
		"%d layers, at most %d; %.2f B an entry on disk; write amplification %.2f; "+
		"RssAnon at most %d MiB, at the end %d MiB, mapped %d MiB; unconfirmed hit %.2f µs, the first time %.2f, miss %.2f µs, the first time %.2f",
		b.n.total(), b.n.shards, b.added.Seconds(), rate(b.n.total(), b.added), (b.merged - b.added).Seconds(), rate(b.n.total(), b.merged), b.cpu.Seconds(),
		s.Layers, b.most.Load(), float64(s.Bytes)/float64(b.n.total()), float64(b.counted.written.Load())/float64(s.Bytes),
		b.anon.Load()>>20, resident("RssAnon")>>20, resident("RssFile")>>20, t.hit, t.firstHit, t.miss, t.firstMiss)
	return r, err
}

// rate is in millions a second.
func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() / 1e6 }

// A bigBuild fills an index.
type bigBuild struct {
	counted  countedFolder
	inv      *layers.Inverted
	n        entries // as many shards as were added in time
	within   time.Duration
	progress io.Writer

	added, merged time.Duration // since it began
	cpu           time.Duration // that all of it took

	done atomic.Int64 // shards that were added
	most atomic.Int64 // layers
	anon atomic.Int64 // the most bytes resident that are no file's
}

const (
	watchEvery = 50 * time.Millisecond
	tellEvery  = 30 * time.Second
)

// watch notes what the most was until done is closed, and says now and then how far it is.
func (b *bigBuild) watch(began time.Time, done <-chan struct{}) {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	told := began
	for {
		s := b.inv.Stats()
		b.most.Store(max(b.most.Load(), int64(s.Layers)))
		b.anon.Store(max(b.anon.Load(), resident("RssAnon")))
		if time.Since(told) >= tellEvery {
			told = time.Now()
			n := int(b.done.Load()) * b.n.each
			fmt.Fprintf(b.progress, "%5.0f s: %d entries added (%.2f M/s); %d layers, at most %d; %.2f GB on disk, %.2f GB written; RssAnon at most %d MiB; %.0f s of CPU\n",
				time.Since(began).Seconds(), n, rate(n, time.Since(began)), s.Layers, b.most.Load(),
				float64(s.Bytes)/1e9, float64(b.counted.written.Load())/1e9, b.anon.Load()>>20, cpuTime().Seconds())
		}
		select {
		case <-every.C:
		case <-done:
			return
		}
	}
}

// run adds everything, or what it can within the time, and merges until nothing
// is to be merged.
func (b *bigBuild) run(ctx context.Context) error {
	began, cpu := time.Now(), cpuTime()
	due, merge := make(chan struct{}, 1), make(chan struct{}, 1)
	done := make(chan struct{})
	var others, watcher sync.WaitGroup
	var errs [3]error
	watcher.Go(func() { b.watch(began, done) })
	others.Go(func() {
		defer close(merge)
		for range due {
			if b.inv.Due() { // or else it was written out meanwhile
				errs[0] = errors.Join(errs[0], b.inv.Flush(ctx))
				wake(merge)
			}
		}
		errs[0] = errors.Join(errs[0], b.inv.Flush(ctx))
		b.added = time.Since(began)
	})
	others.Go(func() {
		for range merge {
			errs[1] = errors.Join(errs[1], b.mergeAll(ctx))
		}
		errs[1] = errors.Join(errs[1], b.mergeAll(ctx))
	})
	shards := 0
	for shards < b.n.shards && time.Since(began) <= b.within {
		if errs[2] = b.inv.Add(ctx, index.ID(shards+1), b.n.of(shards)); errs[2] != nil {
			break
		}
		if b.inv.Due() {
			wake(due)
		}
		shards++
		b.done.Store(int64(shards))
	}
	close(due)
	others.Wait()
	b.merged, b.cpu = time.Since(began), cpuTime()-cpu
	close(done)
	watcher.Wait()
	b.n.shards = shards
	return errors.Join(errs[:]...)
}

// wake wakes who waits for c, unless it is to wake already.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (b *bigBuild) mergeAll(ctx context.Context) error {
	for b.inv.MergeDue() {
		if _, err := b.inv.Merge(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A countedFolder counts what is written.
type countedFolder struct {
	*layerFolder
	written atomic.Int64
}

// Create implements [layers.Files].
func (f *countedFolder) Create(ctx context.Context, n uint32) (layers.Sink, error) {
	s, err := f.layerFolder.Create(ctx, n)
	return countedSink{s, &f.written}, err
}

type countedSink struct {
	layers.Sink
	written *atomic.Int64
}

func (s countedSink) Write(p []byte) (int, error) {
	n, err := s.Sink.Write(p)
	s.written.Add(int64(n))
	return n, err
}

// A bigFind is what look-ups without confirmation take, in microseconds: each
// the first time, when most of them meet a page that nobody has seen and that is
// held against its checksum, and the same ones again.
type bigFind struct{ firstHit, firstMiss, hit, miss, limit float64 }

// hitAndMiss takes the times beside those of look-ups in a sorted array of as
// many of the keys as are found in the shards of find-hit.
func (q *finder) hitAndMiss(ctx context.Context, s scale) (t bigFind, err error) {
	array := newSortedArray(s.finds.total())
	ask := func(hit, miss *float64) error {
		q.asked = 0
		return inTurns(ctx, s.rounds*s.gets,
			kind{func(int) error { return q.hit(false) }, hit},
			kind{func(int) error { return q.miss() }, miss},
			kind{func(int) error { return q.inArray(array, s.finds.total()) }, &t.limit})
	}
	err = errors.Join(ask(&t.firstHit, &t.firstMiss), ask(&t.hit, &t.miss))
	return t, err
}

// resident returns a line of /proc/self/status in bytes, or what is closest to
// it where there is no such file: all that Go has from the system.
func resident(name string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.Sys)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
