package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

const (
	midSize  = 1 << 10 // bytes of a block
	tinySize = 100
)

func indexMid(ctx context.Context, e *env) (result, error) {
	return indexRow(ctx, e, "mid", e.scale.mid, midSize)
}

func indexTiny(ctx context.Context, e *env) (result, error) {
	return indexRow(ctx, e, "tiny", e.scale.tiny, tinySize)
}

// indexRow registers a CAR in an empty store, until the answer: index,
// inverted index and commit are in it.
func indexRow(ctx context.Context, e *env, name string, n, size int) (result, error) {
	c, err := e.car(name, n, size)
	if err != nil {
		return result{}, err
	}
	// Not counted: it brings the CAR into the page cache and tells the length
	// of the index file.
	first, err := registerOnce(ctx, e, c, nil)
	if err != nil {
		return result{}, err
	}
	scratch := filepath.Join(e.dir, "index-limit")
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) {
			r, err := registerOnce(ctx, e, c, nil)
			return r.seconds, err
		},
		func() (float64, error) { return indexLimit(c, scratch, first.indexBytes) })
	if err != nil {
		return result{}, err
	}
	r := compared(figure, limit, "s")
	r.goal, r.held = "≤ 1.5× L", r.ratio <= 1.5
	r.note = fmt.Sprintf("N = %d × %d B; index file of %.1f B a block; %.0f MiB allocated, %.2f allocations a block",
		n, size, float64(first.indexBytes)/float64(n), float64(first.allocBytes)/(1<<20), float64(first.allocs)/float64(n))
	return r, nil
}

// A registration is what registering one CAR took.
type registration struct {
	seconds            float64
	indexBytes         int64 // of the shard's index file
	allocBytes, allocs uint64
}

func registerOnce(ctx context.Context, e *env, c *carFile, opts *dagstore.RegisterOptions) (r registration, err error) {
	dir := e.fresh()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close(), os.RemoveAll(dir)) }()
	m, err := filemount.New(c.path)
	if err != nil {
		return r, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	if err := s.Register(ctx, c.key, m, opts); err != nil {
		return r, err
	}
	r.seconds = time.Since(began).Seconds()
	runtime.ReadMemStats(&after)
	r.allocBytes, r.allocs = after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
	r.indexBytes, err = folderSize(filepath.Join(dir, "index"))
	return r, err
}
