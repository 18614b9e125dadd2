package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/FastFilter/xorfilter"

	"github.com/dagstore/dagstore/index"
)

const (
	goalAdd = 3e6 // entries a second

	// addBatch is how many entries the limit sorts and writes at once: as many
	// as gather in memory.
	addBatch = 1_000_000
)

// invertedAdd fills an inverted index as the engine does: one goroutine adds,
// and another writes the table in memory out when that is due. The last entry
// is durable when the time is taken. Nothing is merged.
func invertedAdd(ctx context.Context, e *env) (result, error) {
	n := e.scale.adds
	figure, limit, err := pairs(ctx, e.scale.rounds,
		func() (float64, error) { return addEntries(ctx, e.fresh(), n) },
		func() (float64, error) { return sortEntries(ctx, e.fresh(), n) })
	r := compared(figure, limit, "/s")
	r.goal, r.held = "≥ 3,000,000/s", figure >= goalAdd
	r.note = fmt.Sprintf("%d entries in %d shards, durable", n.total(), n.shards)
	return r, err
}

// addEntries returns the entries a second.
func addEntries(ctx context.Context, dir string, n entries) (rate float64, err error) {
	f, err := newLayerFolder(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := f.config()
	cfg.MemShards = 0 // the default
	inv, err := f.open(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = closing(ctx, inv, err) }()
	due, flushed := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		var errs []error
		for range due {
			if inv.Due() { // or else it was written out meanwhile
				errs = append(errs, inv.Flush(ctx))
			}
		}
		flushed <- errors.Join(append(errs, inv.Flush(ctx))...)
	}()
	began := time.Now()
	for i := range n.shards {
		if err = inv.Add(ctx, index.ID(i+1), n.of(i)); err != nil {
			break
		}
		if inv.Due() {
			select {
			case due <- struct{}{}:
			default: // it is told already
			}
		}
	}
	close(due)
	err = errors.Join(err, <-flushed)
	return float64(n.total()) / time.Since(began).Seconds(), err
}

// sortEntries does the least that has to be done for layers: keys, sorted;
// filters of them; rows and filters written and synced.
func sortEntries(ctx context.Context, dir string, n entries) (rate float64, err error) {
	out, err := os.Create(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close(), os.Remove(dir)) }()
	var builder xorfilter.BinaryFuseBuilder
	to := bufio.NewWriterSize(out, 1<<20)
	began := time.Now()
	for from := 0; from < n.total(); from += addBatch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		keys := sortedKeys(from, min(from+addBatch, n.total()))
		for i, key := range keys {
			row := binary.LittleEndian.AppendUint64(to.AvailableBuffer(), key)
			if _, err := to.Write(binary.LittleEndian.AppendUint32(row, uint32(i))); err != nil {
				return 0, err
			}
		}
		built, err := xorfilter.BuildBinaryFuse[uint8](&builder, keys)
		if err != nil {
			return 0, err
		}
		if _, err := to.Write(built.Fingerprints); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(to.Flush(), out.Sync()); err != nil {
		return 0, err
	}
	return float64(n.total()) / time.Since(began).Seconds(), nil
}

// sortedKeys returns the keys of some blocks in order: a radix sort over two
// digits, and what little is left of disorder after it.
func sortedKeys(from, to int) []uint64 {
	const digit = 11
	mh := newMade()
	keys, other := make([]uint64, to-from), make([]uint64, to-from)
	for i := range keys {
		keys[i] = keyOfMade(mh.set(from + i))
	}
	for _, shift := range [...]uint{64 - 2*digit, 64 - digit} {
		var at [1<<digit + 1]int
		for _, key := range keys {
			at[key>>shift&(1<<digit-1)+1]++
		}
		for i := 1; i < len(at); i++ {
			at[i] += at[i-1]
		}
		for _, key := range keys {
			slot := &at[key>>shift&(1<<digit-1)]
			other[*slot] = key
			*slot++
		}
		keys, other = other, keys
	}
	for begin := 0; begin < len(keys); {
		end := begin + 1
		for end < len(keys) && keys[end]>>(64-2*digit) == keys[begin]>>(64-2*digit) {
			end++
		}
		slices.Sort(keys[begin:end])
		begin = end
	}
	return keys
}
