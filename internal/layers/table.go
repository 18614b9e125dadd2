package layers

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// A table holds postings in memory. One writer at a time inserts, under mu;
// any number of readers look up beside it and take no lock.
//
// It is a hash table with open addressing and linear probing over the top
// bits of the key, so that walking its slots meets the keys nearly in order
// and a flush needs no sort. A slot leads to a chain of nodes, one for each id
// that has the key, the highest first: that is the order of answers, and
// inserting the next shard that has a block in common with a million others
// looks at one node.
type table struct {
	slots  atomic.Pointer[slots] // replaced, never changed in size
	chunks []atomic.Pointer[chunk]

	mu      sync.Mutex
	nodes   uint32    // in use
	keys    int       // different ones: slots in use
	coming  int       // keys that are being inserted, and have no slot yet
	charge  roomTaken // what was reserved for what is in it, repeats counted
	shards  map[index.ID]struct{}
	settled map[index.ID]struct{} // need no posting of this table, only an end to being pending
	oldest  time.Time             // when the first of them came
	warm    uint64                // takes what was loaded only so that it is in a cache
}

// A slot is 0, or the high 32 bits of the key above the number of the first
// node of its chain, plus one. These bits are enough to find the slot's home.
type slots struct {
	shift uint // the top 64-shift bits of the key are its home
	at    []atomic.Uint64
}

type node struct {
	key  uint64
	id   index.ID
	next atomic.Uint32 // number plus one of the node with the next lower id, or 0
}

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits
	minBits   = 8 // of the smallest slots
)

type chunk [chunkLen]node

func newSlots(bits uint) *slots {
	return &slots{shift: 64 - bits, at: make([]atomic.Uint64, 1<<bits)}
}

// newTable returns an empty table that can hold most entries, with slots for
// as many as are expected.
func newTable(most, expected int) *table {
	t := &table{
		chunks:  make([]atomic.Pointer[chunk], most/chunkLen+1),
		shards:  make(map[index.ID]struct{}),
		settled: make(map[index.ID]struct{}),
	}
	width := uint(minBits)
	for expected > 1<<width/8*5 {
		width++
	}
	t.slots.Store(newSlots(width))
	return t
}

// node returns the node with number ref-1.
func (t *table) node(ref uint32) *node {
	return &t.chunks[(ref-1)>>chunkBits].Load()[(ref-1)&(chunkLen-1)]
}

// find returns the first node of key's chain, or 0.
func (t *table) find(key uint64) uint32 {
	s := t.slots.Load()
	mask := len(s.at) - 1
	for i := int(key >> s.shift); ; i = (i + 1) & mask {
		v := s.at[i].Load()
		if v == 0 {
			return 0
		}
		if v>>32 == key>>32 && t.node(uint32(v)).key == key {
			return uint32(v)
		}
	}
}

// insert makes id found under keys. Pairs that are there already stay. The
// lock is given up now and then, for other writers.
//
// Keys come sorted, which meets slots and chunks in their order. In slots that
// are too few they would gather at one end, and each would have to look past all before it:
// so there is room for all of them first.
func (t *table) insert(keys []uint64, id index.ID) {
	const batch = 1024
	t.mu.Lock()
	t.coming += len(keys)
	t.fit()
	t.mu.Unlock()
	for part := range slices.Chunk(keys, batch) {
		t.mu.Lock()
		t.coming -= len(part)
		for few := range slices.Chunk(part, together) {
			t.warm += t.touchSlots(few)
			for _, key := range few {
				t.insertOne(key, id)
			}
		}
		t.mu.Unlock()
	}
}

// together is how many slots or nodes are loaded before the first of them is
// looked at. Most are in no cache, and waiting for all takes little longer than
// waiting for one; while they are changed or compared, each would wait for itself.
const together = 32

// touchSlots loads the homes of keys. The sum means nothing, but that the loads
// are not left out.
func (t *table) touchSlots(keys []uint64) (sum uint64) {
	s := t.slots.Load()
	for _, key := range keys {
		sum += s.at[key>>s.shift].Load()
	}
	return sum
}

// touchNodes loads the first nodes of the chains at some slots, likewise.
func (t *table) touchNodes(at []atomic.Uint64) (sum uint64) {
	for i := range at {
		if v := at[i].Load(); v != 0 {
			sum += t.node(uint32(v)).key
		}
	}
	return sum
}

func (t *table) insertOne(key uint64, id index.ID) {
	s := t.slots.Load()
	mask := len(s.at) - 1
	for i := int(key >> s.shift); ; i = (i + 1) & mask {
		v := s.at[i].Load()
		if v == 0 {
			s.at[i].Store(key>>32<<32 | uint64(t.newNode(key, id, 0)))
			t.keys++
			t.fit()
			return
		}
		if v>>32 != key>>32 || t.node(uint32(v)).key != key {
			continue
		}
		if head := t.node(uint32(v)); head.id < id {
			s.at[i].Store(v>>32<<32 | uint64(t.newNode(key, id, uint32(v))))
		} else {
			t.insertAfter(head, key, id)
		}
		return
	}
}

// insertAfter puts id into the chain of key at or after n, whose id is not
// lower. Shards are added nearly in the order of their ids, so the place is
// near; the shards of one table bound how far it can be.
func (t *table) insertAfter(n *node, key uint64, id index.ID) {
	for n.id != id {
		next := n.next.Load()
		if next == 0 || t.node(next).id < id {
			n.next.Store(t.newNode(key, id, next))
			return
		}
		n = t.node(next)
	}
}

// newNode returns the number plus one of a new node, which nobody sees until
// a slot or a node leads to it.
func (t *table) newNode(key uint64, id index.ID, next uint32) uint32 {
	c := &t.chunks[t.nodes>>chunkBits]
	if c.Load() == nil {
		c.Store(new(chunk))
	}
	t.nodes++
	n := t.node(t.nodes)
	n.key, n.id = key, id
	if next != 0 { // else it is that already
		n.next.Store(next)
	}
	return t.nodes
}

// fit publishes more slots if these are too few. Readers of the old ones find
// what was there before.
func (t *table) fit() {
	old := t.slots.Load()
	bits := 64 - old.shift
	for t.keys+t.coming > 1<<bits/8*5 {
		bits++
	}
	if bits == 64-old.shift {
		return
	}
	s := newSlots(bits)
	mask := len(s.at) - 1
	for i := range old.at {
		v := old.at[i].Load()
		if v == 0 {
			continue
		}
		j := int(v >> s.shift)
		for s.at[j].Load() != 0 {
			j = (j + 1) & mask
		}
		s.at[j].Store(v)
	}
	t.slots.Store(s)
}

// sorted yields every key once, rising, with the first node of its chain.
// Nobody may insert meanwhile.
//
// A key lies at its home or after it with no free slot between. So each run
// of used slots holds just the keys whose homes are in it, and sorting the
// runs, a few keys each, sorts them all; only keys that went round the end of
// the slots are met at the beginning and belong last.
func (t *table) sorted() iter.Seq2[uint64, uint32] {
	return func(yield func(uint64, uint32) bool) {
		s := t.slots.Load()
		var run, wrapped []head
		for i := range s.at {
			if i%together == 0 {
				t.warm += t.touchNodes(s.at[i:min(i+together, len(s.at))])
			}
			if v := s.at[i].Load(); v != 0 {
				h := head{t.node(uint32(v)).key, uint32(v)}
				if int(h.key>>s.shift) > i {
					wrapped = append(wrapped, h)
				} else {
					run = append(run, h)
				}
				continue
			}
			if !yieldSorted(run, yield) {
				return
			}
			run = run[:0]
		}
		yieldSorted(append(run, wrapped...), yield)
	}
}

type head struct {
	key uint64
	ref uint32
}

// yieldSorted sorts a run by insertion, if it is as short as most are.
func yieldSorted(run []head, yield func(uint64, uint32) bool) bool {
	const short = 24
	if len(run) > short {
		slices.SortFunc(run, func(a, b head) int { return cmp.Compare(a.key, b.key) })
	}
	for i := 1; i < len(run); i++ {
		for j := i; j > 0 && run[j].key < run[j-1].key; j-- {
			run[j], run[j-1] = run[j-1], run[j]
		}
	}
	for _, h := range run {
		if !yield(h.key, h.ref) {
			return false
		}
	}
	return true
}

// has says whether the pair is in the table.
func (t *table) has(key uint64, id index.ID) bool {
	for ref := t.find(key); ref != 0; {
		n := t.node(ref)
		if n.id <= id {
			return n.id == id
		}
		ref = n.next.Load()
	}
	return false
}

// ids appends the ids of the chain that begins at ref, rising.
func (t *table) ids(dst []index.ID, ref uint32) []index.ID {
	at := len(dst)
	for ref != 0 {
		n := t.node(ref)
		dst = append(dst, n.id)
		ref = n.next.Load()
	}
	slices.Reverse(dst[at:])
	return dst
}

// empty says whether a flush has nothing to do.
func (t *table) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.shards) == 0 && len(t.settled) == 0
}

// add notes that all keys of id are in.
func (t *table) add(id index.ID, room roomTaken, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shards[id] = struct{}{}
	t.began(room, now)
}

// settle notes that id is pending no longer, without any posting.
func (t *table) settle(id index.ID, room roomTaken, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled[id] = struct{}{}
	t.began(room, now)
}

func (t *table) began(room roomTaken, now time.Time) {
	t.charge.entries += room.entries
	t.charge.shards += room.shards
	if t.oldest.IsZero() {
		t.oldest = now
	}
}

func (t *table) holds(id index.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.shards[id]
	return ok
}

// without takes the shards of t out of ids.
func (t *table) without(ids *roaring.Bitmap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.shards {
		ids.Remove(uint32(id))
	}
}

// with puts the shards of t into ids.
func (t *table) with(ids *roaring.Bitmap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.shards {
		ids.Add(uint32(id))
	}
}

// due says whether t wants to be flushed.
func (t *table) due(cfg *Config, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.nodes) >= cfg.MemEntries || len(t.shards)+len(t.settled) >= cfg.MemShards ||
		!t.oldest.IsZero() && now.Sub(t.oldest) >= cfg.MaxAge
}

// size returns the number of shards and how many bytes the table takes.
func (t *table) size() (shards int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const nodeSize, slotSize = 16, 8
	chunks := (int64(t.nodes) + chunkLen - 1) / chunkLen
	return len(t.shards), chunks*chunkLen*nodeSize + int64(len(t.slots.Load().at))*slotSize
}
