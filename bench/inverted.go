package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dchest/siphash"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/mmap"
)

// invertedKey is the secret of the inverted indices of this program.
var invertedKey = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}

// An entries is a made inverted index: blocks 0 to shards × each, those of
// shard i from i × each on. Nothing of it is kept: any part can be made again.
type entries struct{ shards, each int }

func (n entries) total() int { return n.shards * n.each }

// of yields the multihashes of shard i, all in one buffer.
func (n entries) of(i int) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		mh := newMade()
		for block := i * n.each; block < (i+1)*n.each; block++ {
			if !yield(mh.set(block), nil) {
				return
			}
		}
	}
}

// A made is the buffer of a made multihash: SHA2-256, its digest of
// pseudo-random bits.
type made multihash.Multihash

func newMade() made { return append(made{multihash.SHA2_256, 32}, make([]byte, 32)...) }

// set makes it the multihash of a block.
func (m made) set(block int) multihash.Multihash {
	for i := range 4 {
		binary.LittleEndian.PutUint64(m[2+8*i:], mixed(4*uint64(block)+uint64(i)))
	}
	return multihash.Multihash(m)
}

// mixed is the function at the end of SplitMix64: one to one, and without a pattern.
func mixed(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A layerFolder is where layers lie, and the catalogue that knows them.
type layerFolder struct {
	dir string

	mu   sync.Mutex
	next uint32
	list map[uint32]layers.Layer
}

func newLayerFolder(dir string) (*layerFolder, error) {
	return &layerFolder{dir: dir, list: map[uint32]layers.Layer{}}, os.MkdirAll(dir, 0o755)
}

func (f *layerFolder) path(n uint32) string {
	return filepath.Join(f.dir, fmt.Sprintf("%08x.layer", n))
}

// Create implements [layers.Files].
func (f *layerFolder) Create(_ context.Context, n uint32) (layers.Sink, error) {
	file, err := os.Create(f.path(n))
	return layerSink{file}, err
}

// Open implements [layers.Files].
func (f *layerFolder) Open(_ context.Context, n uint32) (layers.File, error) {
	return mmap.Open(f.path(n))
}

// Remove implements [layers.Files].
func (f *layerFolder) Remove(_ context.Context, n uint32) error { return os.Remove(f.path(n)) }

type layerSink struct{ *os.File }

// Commit implements [layers.Sink].
func (s layerSink) Commit(context.Context) error {
	if err := s.Sync(); err != nil {
		return err
	}
	return s.Close()
}

// Abort implements [layers.Sink].
func (s layerSink) Abort() error { return os.Remove(s.Name()) }

func (f *layerFolder) number(context.Context) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.next, nil
}

func (f *layerFolder) commit(_ context.Context, c layers.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range c.Add {
		f.list[l.N] = l
	}
	for _, n := range c.Remove {
		delete(f.list, n)
	}
	return nil
}

// config is that of an index that is flushed by whoever fills it.
func (f *layerFolder) config() layers.Config {
	return layers.Config{
		Key: invertedKey, Files: f, Next: f.number, Commit: f.commit,
		MemShards: math.MaxInt32, MaxAge: math.MaxInt64, Spill: f.dir,
	}
}

// open opens the index of what is in the list.
func (f *layerFolder) open(ctx context.Context, cfg layers.Config) (*layers.Inverted, error) {
	f.mu.Lock()
	list := make([]layers.Layer, 0, len(f.list))
	for _, l := range f.list {
		list = append(list, l)
	}
	f.mu.Unlock()
	return layers.Open(ctx, cfg, list, nil)
}

// fill makes an index of count layers of equal size. A single one is merged out
// of four, which takes less memory than to gather it at once.
func (f *layerFolder) fill(ctx context.Context, n entries, count int) error {
	flushes := max(count, 4)
	perLayer := (n.shards + flushes - 1) / flushes
	cfg := f.config()
	cfg.MemEntries = min((perLayer+1)*n.each, 1<<28)
	inv, err := f.open(ctx, cfg)
	if err != nil {
		return err
	}
	for i := range n.shards {
		err = inv.Add(ctx, index.ID(i+1), n.of(i))
		if err == nil && (i+1)%perLayer == 0 {
			err = inv.Flush(ctx)
		}
		if err != nil {
			return closing(ctx, inv, err)
		}
	}
	if err := inv.Flush(ctx); err != nil {
		return closing(ctx, inv, err)
	}
	if count == 1 {
		_, err = inv.Merge(ctx)
	}
	return closing(ctx, inv, err)
}

// A sortedArray is the least that finds a key among others: all keys in order,
// and where those with the same top bits begin.
type sortedArray struct {
	keys  []uint64
	begin []uint32
	shift uint
}

func keyOfMade(mh multihash.Multihash) uint64 {
	return siphash.Hash(binary.LittleEndian.Uint64(invertedKey[:]), binary.LittleEndian.Uint64(invertedKey[8:]), mh)
}

// perSlot is how many keys of a sortedArray have the same top bits.
const perSlot = 32

func newSortedArray(n int) *sortedArray {
	width := max(1, bits.Len(uint(n/perSlot)))
	a := &sortedArray{keys: make([]uint64, n), begin: make([]uint32, 1<<width+1), shift: 64 - uint(width)}
	mh := newMade()
	for block := range n {
		a.begin[keyOfMade(mh.set(block))>>a.shift+1]++
	}
	for i := 1; i < len(a.begin); i++ {
		a.begin[i] += a.begin[i-1]
	}
	at := slices.Clone(a.begin)
	for block := range n {
		key := keyOfMade(mh.set(block))
		a.keys[at[key>>a.shift]] = key
		at[key>>a.shift]++
	}
	for i := range len(a.begin) - 1 {
		slices.Sort(a.keys[a.begin[i]:a.begin[i+1]])
	}
	return a
}

func (a *sortedArray) has(mh multihash.Multihash) bool {
	key := keyOfMade(mh)
	slot := a.keys[a.begin[key>>a.shift]:a.begin[key>>a.shift+1]]
	_, ok := slices.BinarySearch(slot, key)
	return ok
}

// spent returns the microseconds that each of n calls has taken.
func spent(n int, call func(i int) error) (float64, error) {
	began := time.Now()
	for i := range n {
		if err := call(i); err != nil {
			return 0, err
		}
	}
	return inMicros(time.Since(began)) / float64(n), nil
}
