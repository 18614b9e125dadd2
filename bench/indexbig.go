package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

const bigSize = 1 << 20 // bytes of a block

// indexBig registers a CAR of large blocks without hashing them, so that only
// their heads have to be read: from the disk, which is where it matters.
func indexBig(ctx context.Context, e *env) (r result, err error) {
	c, err := e.car("big", e.scale.big, bigSize)
	if err != nil {
		return r, err
	}
	// The first registration in a store makes folders and takes numbers.
	one, err := e.car("one", 1, bigSize)
	if err != nil {
		return r, err
	}
	dir := e.fresh()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close(), os.RemoveAll(dir)) }()
	if err := register(ctx, s, []*carFile{one}); err != nil {
		return r, err
	}
	var times [2][2]float64 // cold and warm, figure and limit
	for i, cold := range []bool{true, false} {
		figure := func() (float64, error) { return registerBig(ctx, s, c, cold) }
		limit := func() (float64, error) { return bigLimit(c, filepath.Join(e.dir, "index-limit"), cold) }
		if times[i][0], times[i][1], err = pairs(ctx, e.scale.rounds, figure, limit); err != nil {
			return r, err
		}
	}
	r = compared(times[0][0]*1e3, times[0][1]*1e3, "ms")
	r.goal, r.held = "≤ 1.5× L", r.ratio <= 1.5
	r.note = fmt.Sprintf("N = %d × 1 MiB, not in the page cache; in it: %.2f ms, L %.2f, %.2f; L: a range for each head, records of as many bytes written, one sync",
		e.scale.big, times[1][0]*1e3, times[1][1]*1e3, times[1][0]/times[1][1])
	return r, nil
}

// registerBig registers c, and takes it out of the store again. It returns the
// seconds of the former.
func registerBig(ctx context.Context, s *dagstore.Store, c *carFile, cold bool) (float64, error) {
	if err := c.warm(cold); err != nil {
		return 0, err
	}
	m, err := filemount.New(c.path)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := s.Register(ctx, c.key, m, nil); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	return took, s.Destroy(ctx, c.key, nil)
}

// warm reads the heads of c, after it was thrown out of the page cache; if cold
// is set, it only does the latter.
func (c *carFile) warm(cold bool) error {
	f, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := forget(f); err != nil || cold {
		return err
	}
	return hop(c, 16<<10)
}

// bigLimit reads the head of each section by a range of its own, writes a
// record for each, and syncs.
func bigLimit(c *carFile, to string, cold bool) (float64, error) {
	if err := c.warm(cold); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := hop(c, headSize); err != nil {
		return 0, err
	}
	f, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, c.blocks*rowSize)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	return took, errors.Join(f.Close(), os.Remove(to))
}

const headSize = binary.MaxVarintLen64 + cidLength

// hop goes from head to head, and reads size bytes of each section.
func hop(c *carFile, size int) error {
	f, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, size)
	n := 0
	for at := int64(len(carHead) + cidLength + len(carTail)); ; n++ {
		if got, err := f.ReadAt(head, at); errors.Is(err, io.EOF) && got == 0 {
			break
		} else if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		length, width := binary.Uvarint(head)
		at += int64(width) + int64(length)
	}
	if n != c.blocks {
		return fmt.Errorf("%s: %d heads, not %d", c.path, n, c.blocks)
	}
	return nil
}

// indexVerify registers with every body hashed, and compares the rate with
// that of hashing the file on all processors.
func indexVerify(ctx context.Context, e *env) (result, error) {
	figure, limit, err := e.verify(ctx, "big", e.scale.big, bigSize)
	if err != nil {
		return result{}, err
	}
	mid, midLimit, err := e.verify(ctx, "mid", e.scale.mid, midSize)
	if err != nil {
		return result{}, err
	}
	r := compared(figure, limit, "MB/s")
	r.goal, r.held = "≥ 0.8× L", r.ratio >= 0.8
	r.note = fmt.Sprintf("N = %d × 1 MiB; L: SHA-256 of the file in pieces of 1 MiB on %d processors; N = %d × 1 KiB: %.0f, L %.0f, %.2f",
		e.scale.big, runtime.GOMAXPROCS(0), e.scale.mid, mid, midLimit, mid/midLimit)
	return r, nil
}

// verify returns rates in MB/s.
func (e *env) verify(ctx context.Context, name string, n, size int) (figure, limit float64, err error) {
	c, err := e.car(name, n, size)
	if err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return 0, 0, err
	}
	if _, err := hashFile(c.path); err != nil { // it is in the page cache from now on
		return 0, 0, err
	}
	f, l, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) {
			r, err := registerOnce(ctx, e, c, &dagstore.RegisterOptions{Verify: true})
			return r.seconds, err
		},
		func() (float64, error) { return hashFile(c.path) })
	if err != nil {
		return 0, 0, err
	}
	mb := float64(info.Size()) / 1e6
	return mb / f, mb / l, nil
}

// hashFile hashes a file in pieces on all processors and returns the seconds.
func hashFile(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	began := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(errs) {
		all.Go(func() {
			buf := make([]byte, 1<<20)
			for {
				n, err := f.ReadAt(buf, (next.Add(1)-1)<<20)
				_ = sha256.Sum256(buf[:n])
				if err != nil {
					if !errors.Is(err, io.EOF) {
						errs <- err
					}
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return time.Since(began).Seconds(), <-errs
}

// diskPerBlock is what all indices take on disk, for each block.
func diskPerBlock(ctx context.Context, e *env) (r result, err error) {
	const goal, least = 60, 40 + 5 + 12 + 1.2
	sizes := map[string]float64{}
	for _, w := range []struct {
		name    string
		n, size int
	}{{"mid", e.scale.mid, midSize}, {"tiny", e.scale.tiny, tinySize}} {
		c, err := e.car(w.name, w.n, w.size)
		if err != nil {
			return r, err
		}
		if sizes[w.name], err = diskOf(ctx, e, c); err != nil {
			return r, err
		}
	}
	r = compared(max(sizes["mid"], sizes["tiny"]), least, "B")
	r.goal, r.held = "≤ 60 B", r.figure <= goal
	r.note = fmt.Sprintf("mid (N = %d) %.1f, tiny (N = %d) %.1f; each one layer, so there is nothing to merge; L: 40 + 5 + 12 + 1.2",
		e.scale.mid, sizes["mid"], e.scale.tiny, sizes["tiny"])
	return r, nil
}

// diskOf is the size of the index and of the layers of one CAR, by block.
func diskOf(ctx context.Context, e *env, c *carFile) (size float64, err error) {
	dir := e.fresh()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := filemount.New(c.path)
	if err == nil {
		err = s.Register(ctx, c.key, m, nil)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return 0, err
	}
	var total int64
	for _, folder := range []string{"index", "top"} {
		n, err := folderSize(filepath.Join(dir, folder))
		if err != nil {
			return 0, err
		}
		total += n
	}
	return float64(total) / float64(c.blocks), nil
}
