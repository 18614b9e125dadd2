package local

import (
	"sync/atomic"

	"github.com/dagstore/dagstore/index"
)

// A table finds handles by id. One goroutine at a time may change it while
// any number read it without a lock: a slot is filled once, and what is
// removed leaves a tombstone, so that a reader who probes never passes by an
// entry that was there before it began. A table that is full of entries and
// tombstones is replaced by another.
type table struct {
	slots []atomic.Pointer[Handle]
	shift uint    // 32 − log2(len(slots))
	tomb  *Handle // what a removed entry leaves
	taken int     // slots that are not nil
	live  int     // slots that hold an entry
}

const minTable = 64

// newTable makes a table in which n entries fill at most half of the slots.
func newTable(n int) *table {
	size, shift := minTable, uint(32-6)
	for size < 2*n {
		size, shift = 2*size, shift-1
	}
	return &table{slots: make([]atomic.Pointer[Handle], size), shift: shift, tomb: new(Handle)}
}

// slot is where the probe for id begins. IDs come in sequence, and Fibonacci
// hashing spreads sequences evenly.
func (t *table) slot(id index.ID) uint32 { return uint32(id) * 2654435769 >> t.shift }

func (t *table) get(id index.ID) *Handle {
	mask := uint32(len(t.slots) - 1)
	for i := t.slot(id); ; i = (i + 1) & mask {
		switch h := t.slots[i].Load(); {
		case h == nil:
			return nil
		case h.id == id && h != t.tomb:
			return h
		}
	}
}

// full reports whether another entry would make probes long.
func (t *table) full() bool { return 4*(t.taken+1) > 3*len(t.slots) }

// put adds h, whose id is not there. The table must not be full.
func (t *table) put(h *Handle) {
	mask := uint32(len(t.slots) - 1)
	i := t.slot(h.id)
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(h)
	t.taken++
	t.live++
}

// remove takes out h, which must be there.
func (t *table) remove(h *Handle) {
	mask := uint32(len(t.slots) - 1)
	i := t.slot(h.id)
	for t.slots[i].Load() != h {
		i = (i + 1) & mask
	}
	t.slots[i].Store(t.tomb)
	t.live--
}

// grown returns a table with the same entries, no tombstones, and room.
func (t *table) grown() *table {
	n := newTable(t.live + 1)
	for _, h := range t.all() {
		n.put(h)
	}
	return n
}

func (t *table) all() []*Handle {
	out := make([]*Handle, 0, t.live)
	for i := range t.slots {
		if h := t.slots[i].Load(); h != nil && h != t.tomb {
			out = append(out, h)
		}
	}
	return out
}
