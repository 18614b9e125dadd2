package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// Rows about CARs that lie on a server are measured behind each kind of server,
// on this machine: what a request costs is then the least that it can cost.

const (
	dagSize   = 256 << 10 // bytes of a block: a chunk of UnixFS, as most have it
	dagBlocks = 512
	firsts    = 9 // stores that are opened for remote-first, in a round
)

// registerFar registers CARs where f has them, many at once, and waits until
// all are indexed. name is that of a CAR on the server.
func registerFar(ctx context.Context, s *dagstore.Store, f *far, cars []*carFile, name func(i int) string, opts *dagstore.RegisterOptions) error {
	results := make(chan dagstore.ShardResult, len(cars))
	for i, c := range cars {
		m, err := f.mounts.Open(f.at + name(i))
		if err != nil {
			return err
		}
		key := c.key
		if len(cars) > 1 {
			key += "/" + keyOf(strconv.Itoa(i))
		}
		if err := s.RegisterShard(ctx, key, m, results, opts); err != nil {
			return err
		}
	}
	return collected(ctx, results, len(cars))
}

// offered has a server offer c, and indexes it in a store, which is closed. The
// folder of the store is removed with the stage.
func (e *env) offered(ctx context.Context, f *far, c *carFile, opts *dagstore.RegisterOptions) (dir string, err error) {
	if err := f.put(ctx, string(c.key), c.path); err != nil {
		return "", err
	}
	dir = e.fresh()
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{Mounts: f.mounts})
	if err != nil {
		return "", err
	}
	err = registerFar(ctx, s, f, []*carFile{c}, func(int) string { return string(c.key) }, opts)
	return dir, errors.Join(err, s.Close())
}

// counting opens a store all of whose requests are counted, has use ask for
// what it wants, and returns what the server was asked.
func counting(ctx context.Context, f *far, dir string, use func(s *dagstore.Store) error) (a asked, err error) {
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{Mounts: f.watch})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	before, err := f.asked(ctx)
	if err != nil {
		return a, err
	}
	if err := use(s); err != nil {
		return a, err
	}
	after, err := f.asked(ctx)
	return after.since(before), err
}

// remoteFirst is the first block out of a CAR on a server, by a store that has
// just been opened and has no connection, beside one request for the same bytes.
func remoteFirst(ctx context.Context, e *env) (result, error) {
	c, err := e.car("mid", e.scale.mid, midSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (result, error) { return e.firstOf(ctx, f, c, nil) }, lowRatio)
}

// firstOf is remote-first out of c.
func (e *env) firstOf(ctx context.Context, f *far, c *carFile, opts *dagstore.RegisterOptions) (r result, err error) {
	dir, err := e.offered(ctx, f, c, opts)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	random := rand.New(rand.NewPCG(9, 10))
	some := func() block { return c.asked[random.IntN(len(c.asked))] }
	var most asked
	for range 3 {
		a, err := counting(ctx, f, dir, func(s *dagstore.Store) error { return getRight(ctx, s.Blockstore(nil), some()) })
		if err != nil {
			return r, err
		}
		most.requests, most.bytes = max(most.requests, a.requests), max(most.bytes, a.bytes)
	}
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) {
			return medianOf(firsts, func() (time.Duration, error) { return firstBlock(ctx, f, dir, some()) })
		},
		func() (float64, error) {
			return medianOf(firsts, func() (time.Duration, error) { return firstBytes(ctx, f, c, some()) })
		})
	if err != nil {
		return r, err
	}
	r = compared(figure, limit, "µs")
	r.goal, r.held = "≤ 2 requests", most.requests <= 2
	r.note = fmt.Sprintf("%d requests, %d B for %d B of a CAR of %d MiB; %.0f µs, one range request on a new connection %.0f µs",
		most.requests, most.bytes, c.asked[0].size, c.bytes>>20, figure, limit)
	return r, nil
}

// firstBlock opens a store, and returns what a block takes then.
func firstBlock(ctx context.Context, f *far, dir string, b block) (took time.Duration, err error) {
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{Mounts: f.mounts})
	if err != nil {
		return 0, err
	}
	f.idle()
	began := time.Now()
	err = getRight(ctx, s.Blockstore(nil), b)
	took = time.Since(began)
	return took, errors.Join(err, s.Close())
}

// firstBytes is one request for the bytes of a block, on a new connection.
func firstBytes(ctx context.Context, f *far, c *carFile, b block) (time.Duration, error) {
	f.client.CloseIdleConnections()
	began := time.Now()
	n, err := f.download(ctx, io.Discard, string(c.key), fmt.Sprintf("bytes=%d-%d", b.off, b.off+int64(b.size)-1))
	took := time.Since(began)
	if err == nil && n != int64(b.size) {
		err = errWrongBlock
	}
	return took, err
}

func getRight(ctx context.Context, bs *dagstore.Blockstore, b block) error {
	got, err := bs.Get(ctx, b.cid)
	if err == nil && len(got.RawData()) != b.size {
		err = errWrongBlock
	}
	return err
}

// medianOf is the median of n times, in microseconds.
func medianOf(n int, measure func() (time.Duration, error)) (float64, error) {
	times := make([]float64, n)
	for i := range times {
		took, err := measure()
		if err != nil {
			return 0, err
		}
		times[i] = inMicros(took)
	}
	return median(times), nil
}

// remoteDAG gets all blocks of a CAR on a server, one after the other in the
// order of a traversal, beside a download of the CAR that looks at nothing.
func remoteDAG(ctx context.Context, e *env) (result, error) {
	large, err := e.car("dag", min(dagBlocks, e.scale.mid), dagSize)
	if err != nil {
		return result{}, err
	}
	small, err := e.car("dag-1k", min(maxAsked, e.scale.mid), midSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (r result, err error) {
		big, err := e.traversed(ctx, f, large)
		if err != nil {
			return r, err
		}
		little, err := e.traversed(ctx, f, small)
		if err != nil {
			return r, err
		}
		r = big
		r.goal, r.held = "≥ 0.7 of a download", r.ratio >= 0.7
		r.note = fmt.Sprintf("%d × 256 KiB: %s; %d × 1 KiB: %s", large.blocks, big.note, small.blocks, little.note)
		return r, nil
	}, highRatio)
}

// traversed measures the traversal of one CAR, in MB/s.
func (e *env) traversed(ctx context.Context, f *far, c *carFile) (r result, err error) {
	dir, err := e.offered(ctx, f, c, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := func(s *dagstore.Store) error {
		held, err := s.Acquire(ctx, c.key, nil)
		if err != nil {
			return err
		}
		bs := held.Blockstore()
		for _, b := range c.asked {
			if err := getRight(ctx, bs, b); err != nil {
				return errors.Join(err, held.Close())
			}
		}
		return held.Close()
	}
	a, err := counting(ctx, f, dir, all)
	if err != nil {
		return r, err
	}
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) {
			rates, err := traverse(ctx, f, dir, c, 1, all)
			return rates[0], err
		},
		func() (float64, error) { return e.downloaded(ctx, f, c, io.Discard) })
	if err != nil {
		return r, err
	}
	rates, err := traverse(ctx, f, dir, c, 3, all)
	if err != nil {
		return r, err
	}
	hashed := make([]float64, e.scale.rounds)
	for i := range hashed {
		if hashed[i], err = e.downloaded(ctx, f, c, sha256.New()); err != nil {
			return r, err
		}
	}
	r = compared(figure, limit, "MB/s")
	r.note = fmt.Sprintf("%.0f of %.0f MB/s, %.2f, and %.2f of one that is hashed; %d requests, %.2f of its bytes; in the same store a second time %.0f MB/s, a third %.0f",
		figure, limit, r.ratio, figure/median(hashed), a.requests, float64(a.bytes)/float64(c.bytes), rates[1], rates[2])
	return r, nil
}

// traverse opens a store, and returns how fast all is times over, in MB/s: what
// was read there before decides what has to be asked of the server.
func traverse(ctx context.Context, f *far, dir string, c *carFile, times int, all func(s *dagstore.Store) error) (rates []float64, err error) {
	rates = make([]float64, times)
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{Mounts: f.mounts})
	if err != nil {
		return rates, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for i := range rates {
		if rates[i], err = megabytes(c.bytes, func() error { return all(s) }); err != nil {
			return rates, err
		}
	}
	return rates, nil
}

// downloaded is how fast c comes as it is and goes to w, in MB/s.
func (e *env) downloaded(ctx context.Context, f *far, c *carFile, w io.Writer) (float64, error) {
	return megabytes(c.bytes, func() error {
		n, err := f.download(ctx, w, string(c.key), "")
		if err == nil && n != c.bytes {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

func megabytes(size int64, do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return float64(size) / 1e6 / time.Since(began).Seconds(), err
}

// copyPass has a store copy a CAR from a server, hash every block of it and
// index it, all in one pass, beside the slower one of a download that looks at
// nothing and of hashing.
func copyPass(ctx context.Context, e *env) (result, error) {
	c, err := e.car("dag", min(dagBlocks, e.scale.mid), dagSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (r result, err error) {
		if err := f.put(ctx, string(c.key), c.path); err != nil {
			return r, err
		}
		var hashing, plain, written []float64
		figure, limit, err := pairs(ctx, e.scale.rounds,
			func() (float64, error) {
				return e.copied(ctx, f, c, string(c.key), &dagstore.Config{Mounts: f.mounts})
			},
			func() (float64, error) {
				d, err := e.downloaded(ctx, f, c, io.Discard)
				if err != nil {
					return 0, err
				}
				h, err := hashedAlone(c)
				if err != nil {
					return 0, err
				}
				w, err := e.written(c)
				plain, hashing, written = append(plain, d), append(hashing, h), append(written, w)
				return min(d, h), err
			})
		if err != nil {
			return r, err
		}
		r = compared(figure, limit, "MB/s")
		r.goal, r.held = "≥ 0.8 of the slower", r.ratio >= 0.8
		r.note = fmt.Sprintf("%d × 256 KiB: %.0f MB/s, a download %.0f, SHA-256 %.0f; the same bytes written to this disk and synced %.0f",
			c.blocks, figure, median(plain), median(hashing), median(written))
		return r, nil
	}, highRatio)
}

// copied is how fast c, which f has under a name, is registered with a copy, synced, in
// MB/s.
func (e *env) copied(ctx context.Context, f *far, c *carFile, name string, cfg *dagstore.Config) (rate float64, err error) {
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := dagstore.Open(ctx, dir, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	opts := &dagstore.RegisterOptions{Serve: shard.Copy, Verify: true}
	rate, err = megabytes(c.bytes, func() error {
		return registerFar(ctx, s, f, []*carFile{c}, func(int) string { return name }, opts)
	})
	if err == nil && s.Stats().Copies != 1 {
		err = errors.New("bench: no copy was made")
	}
	return rate, err
}

// hashedAlone is how fast the bytes of c are hashed, in MB/s.
func hashedAlone(c *carFile) (float64, error) {
	file, err := os.Open(c.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return megabytes(c.bytes, func() error {
		_, err := io.CopyBuffer(sha256.New(), struct{ io.Reader }{file}, make([]byte, 1<<20))
		return err
	})
}

// written is how fast a file like c is written and synced, in MB/s.
func (e *env) written(c *carFile) (rate float64, err error) {
	from, err := os.Open(c.path)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	path := e.fresh()
	to, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close(), os.Remove(path)) }()
	return megabytes(c.bytes, func() error {
		_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20))
		return errors.Join(err, to.Sync())
	})
}
