package engine

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/dagstore/dagstore/shard"
)

// A filter answers whether a key may exist, at about two bytes a key, so that
// a new registration need not ask the disk. Until it has seen all keys of the
// catalogue, every key may exist. It never forgets: a key that was destroyed
// may exist until the next start. It is a row of blocked Bloom filters, each
// twice as large as the one before, so it grows without being rebuilt.
type filter struct {
	ready atomic.Bool // it has seen every key

	mu    sync.RWMutex
	seed  maphash.Seed
	parts []filterPart
}

// A filterPart is one Bloom filter. A key sets 8 bits in one block of 512.
type filterPart struct {
	blocks [][8]uint64
	room   int // keys that it still takes
}

const (
	firstPart     = 4096 // keys in the first part
	keysPerBlock  = 32   // 16 bits a key
	bitsPerFilter = 8
)

// may reports whether key may exist.
func (f *filter) may(key shard.Key) bool {
	if !f.ready.Load() {
		return true
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	h := maphash.String(f.seed, string(key))
	for i := range f.parts {
		if f.parts[i].has(h) {
			return true
		}
	}
	return false
}

// add remembers that key exists.
func (f *filter) add(key shard.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parts == nil {
		f.seed = maphash.MakeSeed()
	}
	h := maphash.String(f.seed, string(key))
	for i := range f.parts {
		if f.parts[i].has(h) {
			return // it was there before, or passes for another: it needs no room
		}
	}
	last := len(f.parts) - 1
	if last < 0 || f.parts[last].room == 0 {
		n := firstPart << len(f.parts)
		f.parts = append(f.parts, filterPart{blocks: make([][8]uint64, n/keysPerBlock), room: n})
		last++
	}
	f.parts[last].set(h)
	f.parts[last].room--
}

// filled says that every key of the catalogue was added: the filter is ready.
func (f *filter) filled() {
	f.mu.Lock()
	if f.parts == nil {
		f.seed = maphash.MakeSeed()
	}
	f.mu.Unlock()
	f.ready.Store(true)
}

// block picks the block of a hash, and returns the rest of its bits.
func (p *filterPart) block(h uint64) (*[8]uint64, uint64) {
	i, _ := bits.Mul64(h, uint64(len(p.blocks)))
	return &p.blocks[i], h * 0x9e3779b97f4a7c15
}

func (p *filterPart) has(h uint64) bool {
	b, g := p.block(h)
	for range bitsPerFilter {
		if b[g>>61]&(1<<(g>>55&63)) == 0 {
			return false
		}
		g = g<<9 | g>>55
	}
	return true
}

func (p *filterPart) set(h uint64) {
	b, g := p.block(h)
	for range bitsPerFilter {
		b[g>>61] |= 1 << (g >> 55 & 63)
		g = g<<9 | g>>55
	}
}
