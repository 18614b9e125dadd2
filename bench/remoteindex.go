package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
)

// indexed is what a server is asked while CARs that lie there are indexed in a
// new store.
func (e *env) indexed(ctx context.Context, f *far, cars []*carFile, name func(i int) string, opts *dagstore.RegisterOptions) (a asked, took time.Duration, err error) {
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, err = counting(ctx, f, dir, func(s *dagstore.Store) error {
		watched := *f
		watched.mounts = f.watch
		began := time.Now()
		err := registerFar(ctx, s, &watched, cars, name, opts)
		took = time.Since(began)
		return err
	})
	return a, took, err
}

// hopBlocks are few: what small blocks cost shows with these.
const hopBlocks = 8 << 10

// remoteIndex is what it costs to index a CAR on a server, by reading all of it
// and by its heads alone.
func remoteIndex(ctx context.Context, e *env) (result, error) {
	small, err := e.car("hop-1k", min(hopBlocks, e.scale.mid), midSize)
	if err != nil {
		return result{}, err
	}
	big, err := e.car("big", e.scale.big, bigSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (r result, err error) {
		var cost [2][2]asked
		for i, c := range []*carFile{big, small} {
			if err := f.put(ctx, string(c.key), c.path); err != nil {
				return r, err
			}
			for j, policy := range []dagstore.IndexPolicy{dagstore.Hop, dagstore.Scan} {
				cost[i][j], _, err = e.indexed(ctx, f, []*carFile{c}, func(int) string { return string(c.key) }, &dagstore.RegisterOptions{Index: policy})
				if err != nil {
					return r, err
				}
			}
		}
		a := func(a asked, c *carFile) string {
			return fmt.Sprintf("%d requests, %.0f B a block", a.requests, float64(a.bytes)/float64(c.blocks))
		}
		r = compared(float64(cost[0][0].bytes)/float64(big.blocks), float64(cost[0][1].bytes)/float64(big.blocks), "B")
		r.goal, r.held = "reported", true
		r.note = fmt.Sprintf("%d × 1 MiB: hop %s, scan %s; %d × 1 KiB: hop %s, scan %s",
			big.blocks, a(cost[0][0], big), a(cost[0][1], big), small.blocks, a(cost[1][0], small), a(cost[1][1], small))
		return r, nil
	}, lowRatio)
}

const (
	attachBlocks = 1000
	attachSize   = 4 << 10
	attachFiles  = 4 // that nginx has over and over
)

// attach20k takes in CARs on a server with an index beside each, which is
// believed after a sample.
func attach20k(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("attach", attachFiles, attachBlocks, attachSize)
	if err != nil {
		return result{}, err
	}
	beside := make([]string, len(cars))
	for i, c := range cars {
		if beside[i], err = writeBeside(ctx, c); err != nil {
			return result{}, err
		}
	}
	return behindEach(e, func(f *far) (r result, err error) {
		n := e.scale.attach
		if f.name != "nginx" {
			n = min(n, e.scale.attachS3)
		}
		many := make([]*carFile, n)
		for i := range many {
			many[i] = cars[i%len(cars)]
		}
		name := func(i int) string { return fmt.Sprintf("copies/%d/%s", i, many[i].key) }
		if f.name != "nginx" {
			if err := offerAll(ctx, f, many, beside, name); err != nil {
				return r, err
			}
		}
		a, took, err := e.indexed(ctx, f, many, name, &dagstore.RegisterOptions{Index: dagstore.Sample})
		if err != nil {
			return r, err
		}
		requests, bytes := float64(a.requests)/float64(n), float64(a.bytes)/float64(n)
		r = compared(requests, 20, "requests")
		r.goal, r.held = "≤ 20 requests, ≤ 1 MiB a shard", requests <= 20 && bytes <= 1<<20
		r.note = fmt.Sprintf("%d CARs of %d × 4 KiB: %.2f requests, %.0f KiB a shard, %.0f shards/s",
			n, attachBlocks, requests, bytes/(1<<10), float64(n)/took.Seconds())
		return r, nil
	}, lowRatio)
}

// offerAll has a server offer each of cars, with its index, under its own name.
func offerAll(ctx context.Context, f *far, cars []*carFile, beside []string, name func(i int) string) error {
	const writers = 8
	failed := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < len(cars) && failed[w] == nil; i += writers {
				failed[w] = f.put(ctx, name(i), cars[i].path)
				if failed[w] == nil && beside != nil {
					failed[w] = f.put(ctx, name(i)+".idx", beside[i%len(beside)])
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// writeBeside writes the index of c beside it, as other tools have it.
func writeBeside(ctx context.Context, c *carFile) (string, error) {
	b := index.NewBuilder(nil)
	for i := range c.asked {
		at := &c.asked[i]
		head := uvarintSize(uint64(cidLength+at.size)) + cidLength
		pos := index.Position{Offset: at.off - int64(head), Head: head, Size: int64(at.size)}
		if err := b.Add(at.cid.Hash(), pos); err != nil {
			return "", errors.Join(err, b.Close())
		}
	}
	var whole bytes.Buffer
	_, err := b.WriteTo(ctx, &whole, [16]byte{})
	if err = errors.Join(err, b.Close()); err != nil {
		return "", err
	}
	file, err := index.NewFile(bytes.NewReader(whole.Bytes()), int64(whole.Len()))
	if err != nil {
		return "", err
	}
	var bare bytes.Buffer
	if err := index.WriteBare(&bare, file); err != nil {
		return "", err
	}
	path := c.path + ".idx"
	return path, os.WriteFile(path, bare.Bytes(), 0o600)
}

func uvarintSize(v uint64) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}

// remoteSmall indexes many small CARs on a server as a store does by itself,
// beside one request for each, as many at once.
func remoteSmall(ctx context.Context, e *env) (result, error) {
	cars, err := e.several("remote-small", e.scale.remoteSmall, coldBlocks, coldSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (r result, err error) {
		name := func(i int) string { return string(cars[i].key) }
		if err := offerAll(ctx, f, cars, nil, name); err != nil {
			return r, err
		}
		a, _, err := e.indexed(ctx, f, cars, name, nil)
		if err != nil {
			return r, err
		}
		plain := *f
		plain.watch = f.mounts
		figure, limit, err := pairs(ctx, min(2, e.scale.rounds),
			func() (float64, error) {
				_, took, err := e.indexed(ctx, &plain, cars, name, nil)
				return float64(len(cars)) / took.Seconds(), err
			},
			func() (float64, error) { return fetchAll(ctx, f, cars) })
		if err != nil {
			return r, err
		}
		r = compared(figure, limit, "/s")
		r.goal, r.held = "reported", true
		r.note = fmt.Sprintf("%d CARs of %d × %d B: %.2f requests, %.0f of %d B a shard; %.0f shards/s, one request for each %.0f/s",
			len(cars), coldBlocks, coldSize, float64(a.requests)/float64(len(cars)), float64(a.bytes)/float64(len(cars)), cars[0].bytes, figure, limit)
		return r, nil
	}, highRatio)
}

// fetchers are as many as a store has at once by default.
const fetchers = 8

// fetchAll downloads each of cars, and returns how many a second.
func fetchAll(ctx context.Context, f *far, cars []*carFile) (float64, error) {
	began := time.Now()
	failed := make([]error, fetchers)
	var all sync.WaitGroup
	for w := range fetchers {
		all.Go(func() {
			for i := w; i < len(cars) && failed[w] == nil; i += fetchers {
				_, failed[w] = f.download(ctx, io.Discard, filepath.Base(cars[i].path), "")
			}
		})
	}
	all.Wait()
	return float64(len(cars)) / time.Since(began).Seconds(), errors.Join(failed...)
}
