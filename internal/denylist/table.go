package denylist

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
)

// secret keys the hashes of the process.
var secret = maphash.MakeSeed()

// A key stands for what a rule matches.
type key uint64

// A keyer makes keys. Its buffer is used again.
type keyer struct{ buf []byte }

// exact is the key of a path below a subject.
func (k *keyer) exact(s space, subject, path string) key { return k.key(s, 'e', subject, path) }

// prefix is the key of all paths that begin with path.
func (k *keyer) prefix(s space, subject, path string) key { return k.key(s, 'p', subject, path) }

func (k *keyer) key(s space, kind byte, subject, path string) key {
	// The length keeps one subject apart from another with a part of the path.
	n := len(subject)
	k.buf = append(k.buf[:0], byte(s), kind, byte(n), byte(n>>8), byte(n>>16))
	k.buf = append(k.buf, subject...)
	k.buf = append(k.buf, path...)
	return key(maphash.Bytes(secret, k.buf))
}

func (k *keyer) rule(r *rule) key {
	if r.prefix {
		return k.prefix(r.space, r.subject, r.path)
	}
	return k.exact(r.space, r.subject, r.path)
}

// Flags of an entry.
const (
	flagAllow uint8 = 1 << iota
	flagLegal       // the answer is 451
)

// An entry is one rule: what it matches and the line that says so.
type entry struct {
	key   key
	line  uint32
	flags uint8
}

// A table finds entries by their keys. There is one for each key: of several
// rules that match the same, the last one counts. It is never changed.
type table struct {
	keys  []key
	lines []uint32
	flags []uint8

	shift uint     // of a key, to its slot
	slots []uint32 // where the keys of a slot begin, and one more
}

// perSlot is how many keys a slot has in the middle.
const perSlot = 8

// newTable sorts entries, which stand by rising line and are spent.
func newTable(entries []entry) *table {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.line, b.line))
	})
	n := 0
	for i := range entries {
		if i+1 == len(entries) || entries[i+1].key != entries[i].key {
			n++
		}
	}
	t := allocTable(n)
	for i, e := range entries {
		if i+1 == len(entries) || entries[i+1].key != e.key {
			t.add(e)
		}
	}
	t.index()
	return t
}

func allocTable(n int) *table {
	return &table{keys: make([]key, 0, n), lines: make([]uint32, 0, n), flags: make([]uint8, 0, n)}
}

func (t *table) add(e entry) {
	t.keys = append(t.keys, e.key)
	t.lines = append(t.lines, e.line)
	t.flags = append(t.flags, e.flags)
}

func (t *table) at(i int) entry { return entry{t.keys[i], t.lines[i], t.flags[i]} }

func (t *table) len() int { return len(t.keys) }

// index makes the slots, by the highest bits of the keys.
func (t *table) index() {
	width := uint(bits.Len(uint(len(t.keys) / perSlot)))
	t.shift = 64 - width
	t.slots = make([]uint32, 1<<width+1)
	slot := 0
	for i, k := range t.keys {
		for ; slot <= int(t.slot(k)); slot++ {
			t.slots[slot] = uint32(i)
		}
	}
	for ; slot < len(t.slots); slot++ {
		t.slots[slot] = uint32(len(t.keys))
	}
}

// slot of a key; a shift by 64 gives 0, as it should.
func (t *table) slot(k key) uint64 { return uint64(k) >> t.shift }

// find returns the entry of k.
func (t *table) find(k key) (entry, bool) {
	s := t.slot(k)
	for i := t.slots[s]; i < t.slots[s+1]; i++ {
		if t.keys[i] >= k {
			if t.keys[i] == k {
				return t.at(int(i)), true
			}
			break
		}
	}
	return entry{}, false
}

// merge returns a table of both, in which what is newer counts.
func merge(older, newer *table) *table {
	t := allocTable(older.len() + newer.len())
	i, j := 0, 0
	for i < older.len() || j < newer.len() {
		switch {
		case j == newer.len() || i < older.len() && older.keys[i] < newer.keys[j]:
			t.add(older.at(i))
			i++
		default:
			if i < older.len() && older.keys[i] == newer.keys[j] {
				i++
			}
			t.add(newer.at(j))
			j++
		}
	}
	t.index()
	return t
}
