package extsort

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	keySize = 8

	// keyChunk is how many keys a bucket grows by. With 256 buckets half of
	// 256 chunks is unused: 512 KiB.
	keyChunk = 512

	// flatKeys is how many keys are gathered before they are put into buckets.
	flatKeys = 32 << 10

	// bucketKeys is how many keys the memory must hold for buckets to be made:
	// with less, chunks that are half empty would be most of it.
	bucketKeys = 1 << 20

	// leastKeys are kept in memory, however small the budget.
	leastKeys = 16

	// fewKeys are compared: they are not worth the counters.
	fewKeys = 2048

	// keyBatch is how many keys come out of a merge at a time.
	keyBatch = 1024
)

// Keys sorts numbers of 64 bits in bounded memory, and gives each different
// one once. What does not fit is spilled as sorted runs to a file of its own.
// It is for one goroutine.
//
// Keys gather in buckets by their first byte, as the rows of a [Sorter] do, so
// numbers that are spread evenly, such as hashes, are sorted in the cache.
type Keys struct {
	most   int // keys in memory, those that a bucket is sorted with included
	dir    string
	create creator

	added   int64
	flat    []uint64    // while there are no buckets
	buckets []keyBucket // none or 256
	chunks  int         // in use
	largest int         // keys in the largest bucket, about
	free    [][]uint64

	order, tmp []uint64 // of the bucket that is sorted
	counts     []uint32

	spill  *spillFile
	runs   []run
	failed error // as in Pool
	done   bool
}

// A keyBucket has the keys that begin with one byte.
type keyBucket struct {
	full [][]uint64
	last []uint64
}

func (b *keyBucket) len() int { return len(b.full)*keyChunk + len(b.last) }

// NewKeys returns an empty set of keys that uses about memory bytes, and spills
// to a file in dir, or in os.TempDir() if dir is "".
func NewKeys(memory int64, dir string) *Keys {
	return &Keys{most: int(max(memory/keySize, leastKeys)), dir: dir, create: createTemp}
}

// Len is the number of keys added, repeated ones counted.
func (k *Keys) Len() int64 { return k.added }

// Spilled says whether anything was written to the spill file.
func (k *Keys) Spilled() bool { return k.spill != nil }

// Add adds a key. An error, which is that of spilling, ends the use of k. ctx
// is looked at when keys are spilled, and at no other time.
func (k *Keys) Add(ctx context.Context, key uint64) error {
	if k.buckets != nil {
		if b := &k.buckets[key>>56]; len(b.last) < cap(b.last) {
			b.last = append(b.last, key)
			k.added++
			return nil
		}
	}
	return k.addSlowly(ctx, key)
}

// addSlowly is Add where there may be no room.
func (k *Keys) addSlowly(ctx context.Context, key uint64) error {
	if err := k.usable(); err != nil {
		return err
	}
	if k.buckets == nil {
		return k.addFlat(ctx, key)
	}
	b := &k.buckets[key>>56]
	if k.chunks > 0 && (k.chunks+1)*keyChunk+2*max(k.largest, b.len()+keyChunk) > k.most {
		if err := k.spillAll(ctx); err != nil {
			return err
		}
	}
	if len(b.last) == cap(b.last) {
		k.grow(b)
	}
	b.last = append(b.last, key)
	k.added++
	return nil
}

// addFlat is Add while there are no buckets.
func (k *Keys) addFlat(ctx context.Context, key uint64) error {
	switch {
	case k.most < bucketKeys && len(k.flat) >= k.most/2: // the other half is for sorting
		if err := k.spillAll(ctx); err != nil {
			return err
		}
	case k.most >= bucketKeys && len(k.flat) == flatKeys:
		k.split()
		return k.Add(ctx, key)
	}
	k.flat = append(k.flat, key)
	k.added++
	return nil
}

func (k *Keys) usable() error {
	if k.done {
		return ErrClosed
	}
	return k.failed
}

// split puts the keys into buckets.
func (k *Keys) split() {
	k.buckets = make([]keyBucket, 256)
	for _, key := range k.flat {
		b := &k.buckets[key>>56]
		if len(b.last) == cap(b.last) {
			k.grow(b)
		}
		b.last = append(b.last, key)
	}
	k.flat = nil
}

// grow gives b another chunk.
func (k *Keys) grow(b *keyBucket) {
	if cap(b.last) > 0 {
		b.full = append(b.full, b.last)
	}
	if n := len(k.free); n > 0 {
		b.last, k.free = k.free[n-1], k.free[:n-1]
	} else {
		b.last = make([]uint64, 0, keyChunk)
	}
	k.chunks++
	k.largest = max(k.largest, b.len()+keyChunk)
}

// drop empties b and keeps its chunks for others.
func (k *Keys) drop(b *keyBucket) {
	if cap(b.last) > 0 {
		b.full = append(b.full, b.last)
	}
	for i, c := range b.full {
		k.free = append(k.free, c[:0])
		b.full[i] = nil
	}
	k.chunks -= len(b.full)
	*b = keyBucket{full: b.full[:0]}
}

// spillAll writes what is in memory to the spill file, as a sorted run.
func (k *Keys) spillAll(ctx context.Context) error {
	if k.failed != nil || k.inMemory() == 0 {
		return k.failed
	}
	if err := k.writeRun(ctx); err != nil {
		k.failed = err
		k.flat, k.buckets, k.free, k.chunks = nil, nil, nil, 0 // so that no key is taken any more
		return err
	}
	k.flat, k.largest = k.flat[:0], 0
	return nil
}

func (k *Keys) writeRun(ctx context.Context) error {
	if k.spill == nil {
		var err error
		if k.spill, err = newSpillFile(k.dir, k.create); err != nil {
			return err
		}
	}
	off := k.spill.size
	var b [keySize]byte
	err := k.each(ctx, func(keys []uint64) error {
		for _, key := range keys {
			binary.BigEndian.PutUint64(b[:], key)
			if err := k.spill.write(b[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r, err := k.spill.end(off)
	if err != nil {
		return err
	}
	k.runs = append(k.runs, r)
	return nil
}

// inMemory is the number of keys that are not spilled.
func (k *Keys) inMemory() int { return len(k.flat) + k.chunks }

// each yields what is in memory in order, one bucket at a time, and empties it.
func (k *Keys) each(ctx context.Context, yield func(keys []uint64) error) error {
	if len(k.flat) > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := yield(k.sort(k.flat)); err != nil {
			return err
		}
	}
	for i := range k.buckets {
		b := &k.buckets[i]
		if b.len() == 0 {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k.order = k.order[:0]
		for _, c := range b.full {
			k.order = append(k.order, c...)
		}
		k.order = append(k.order, b.last...)
		k.drop(b)
		if err := yield(k.sort(k.order)); err != nil {
			return err
		}
	}
	return nil
}

// sort sorts keys in place and returns those that differ.
func (k *Keys) sort(keys []uint64) []uint64 {
	if len(keys) < fewKeys {
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	if len(k.tmp) < len(keys) {
		k.tmp = make([]uint64, len(keys)+len(keys)/8)
	}
	if k.counts == nil {
		k.counts = make([]uint32, 1<<digitBits)
	}
	sortKeys(keys, k.tmp, k.counts)
	return slices.Compact(keys)
}

// All calls yield for all keys, a batch of them at a time: rising, each once. A
// batch is yield's until it returns. All ends with the error of yield, the cause
// of ctx, or the error of the spill file. It is the last use of k but Close.
func (k *Keys) All(ctx context.Context, yield func(keys []uint64) error) error {
	if err := k.usable(); err != nil {
		return err
	}
	k.done = true
	if k.spill == nil {
		return k.each(ctx, yield)
	}
	if err := k.spillAll(ctx); err != nil {
		return err
	}
	k.flat, k.buckets, k.free, k.order, k.tmp = nil, nil, nil, nil, nil // the merge wants the memory
	batch := make([]uint64, 0, keyBatch)
	var last uint64
	first := true
	m := merger{spill: k.spill, runs: k.runs, width: keySize, memory: int64(k.most) * keySize}
	err := m.merge(ctx, func(row []byte) error {
		key := binary.BigEndian.Uint64(row)
		if !first && key == last {
			return nil
		}
		first, last = false, key
		batch = append(batch, key)
		if len(batch) < keyBatch {
			return nil
		}
		err := yield(batch)
		batch = batch[:0]
		return err
	})
	if err == nil && len(batch) > 0 {
		err = yield(batch)
	}
	return err
}

// Close removes the spill file and lets go of the memory. A second Close does
// nothing.
func (k *Keys) Close() error {
	spill := k.spill
	*k = Keys{done: true, added: k.added}
	if spill == nil {
		return nil
	}
	return spill.remove()
}

// sortKeys sorts keys with the help of as much in tmp, and of counts as large
// as the widest digit: a counting sort on the highest bits in which they
// differ, so wide that groups of a few are left.
func sortKeys(keys, tmp []uint64, counts []uint32) {
	if len(keys) <= insertionMax {
		for i := 1; i < len(keys); i++ {
			x, j := keys[i], i
			for j > 0 && x < keys[j-1] {
				keys[j] = keys[j-1]
				j--
			}
			keys[j] = x
		}
		return
	}
	var diff uint64
	for _, key := range keys {
		diff |= key ^ keys[0]
	}
	if diff == 0 {
		return
	}
	digit := min(bits.Len(uint(len(keys)))-2, digitBits, bits.Len64(diff))
	shift := bits.Len64(diff) - digit
	mask := uint64(1)<<digit - 1
	at := counts[:mask+1]
	clear(at)
	for _, key := range keys {
		at[key>>shift&mask]++
	}
	var sum uint32
	for i, n := range at {
		at[i] = sum
		sum += n
	}
	tmp = tmp[:len(keys)]
	for _, key := range keys {
		n := &at[key>>shift&mask]
		tmp[*n] = key
		*n++
	}
	copy(keys, tmp)
	for i := 0; i < len(keys); {
		j := i + 1
		for j < len(keys) && keys[j]>>shift == keys[i]>>shift {
			j++
		}
		if j > i+1 {
			sortKeys(keys[i:j], tmp, counts)
		}
		i = j
	}
}
