package watch

import (
	"hash/maphash"
	"time"
)

// A state is how far a CAR has come.
type state uint8

const (
	resting state = iota + 1 // until it has stayed as it is for long enough
	taking                   // it is being added
	done
	failed
	states
)

// An entry is what is remembered of one CAR. There may be a million of them.
type entry struct {
	stamp uint32 // of name, size, version and times
	at    uint32 // in ticks: since when it rests, or when it is tried again
	look  uint8  // the look that has found it last; it wraps around
	state state
	tries uint8 // that failed in a row
	flags flags
}

type flags uint8

const (
	stored  flags = 1 << iota // the store has it
	changed                   // and another revision of it than is there
	gone                      // it was told of as vanished
	heard                     // no look has found it yet
)

func (e entry) has(f flags) bool { return e.flags&f != 0 }

// A table holds the entries of one place by hashes of keys. Hashes of 64 bits,
// by a seed that nobody knows, are the same for two of a million keys once in
// thirty million times.
type table struct {
	seed    maphash.Seed
	epoch   time.Time
	entries map[uint64]entry

	states  [states]int64 // how many are in each state
	changed int64
	gone    int64
}

func newTable() *table {
	return &table{seed: maphash.MakeSeed(), epoch: time.Now(), entries: make(map[uint64]entry)}
}

// tick is the unit of time of the table.
const tick = 100 * time.Millisecond

// never is later than every tick.
const never = 1<<32 - 1

// now is the time in ticks. It holds for thirteen years.
func (t *table) now() uint32 { return uint32(time.Since(t.epoch) / tick) }

// id is the name of an entry.
func (t *table) id(key string) uint64 { return maphash.String(t.seed, key) }

// alias is the name of an entry about a CAR whose key another one has.
func (t *table) alias(key, name string) uint64 { return maphash.String(t.seed, key+"\x00"+name) }

// stamp changes when anything about a CAR does that a look can see.
func (t *table) stamp(f *Found) uint32 {
	type seen struct {
		name, version string
		size, mod     int64
		waits         bool
	}
	return uint32(maphash.Comparable(t.seed, seen{
		f.Name, f.Stat.Version, f.Stat.Size, f.Stat.ModTime.UnixNano(), f.Stat.Waits,
	}))
}

// set stores e under id, and counts.
func (t *table) set(id uint64, e entry) {
	t.count(t.entries[id], -1)
	t.count(e, 1)
	t.entries[id] = e
}

func (t *table) remove(id uint64) {
	t.count(t.entries[id], -1)
	delete(t.entries, id)
}

func (t *table) count(e entry, n int64) {
	if e.state == 0 {
		return // there is none
	}
	if e.has(gone) {
		t.gone += n
		return
	}
	t.states[e.state] += n
	if e.has(changed) {
		t.changed += n
	}
}
