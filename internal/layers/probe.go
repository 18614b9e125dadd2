package layers

import (
	"encoding/binary"
	"math"
	"math/bits"
	"runtime/debug"

	"github.com/dagstore/dagstore/internal/mmap"
)

// probeAhead is how many layers have their filters asked at once. The bytes of
// a filter are seldom in a cache, and to wait for those of four layers together
// takes about as long as to wait for those of one.
const probeAhead = 4

// A verdict is what is known of a layer before its rows are looked at.
type verdict uint8

const (
	unasked verdict = iota // its filter has to be asked with care
	denied                 // it does not have the key
	passed                 // it may have it
)

// A probe is the question to the filter of one layer.
type probe struct {
	part    *part
	verdict verdict
	print   byte      // what the three bytes make, if the key may be there
	at      [3]uint64 // of them, in the file

	fan    uint64 // of the entry of the fan-out, in the file; 0: it has to be asked with care
	lo, hi uint32 // the range of rows that it gives, not looked at yet
}

// probe asks the filters of the next layers, of those that are mapped and whose
// pages were all verified. The others are left unasked.
func (s *search) probe() {
	batch := s.view.layers[s.asked:min(s.asked+probeAhead, len(s.view.layers))]
	s.probes = s.room[:len(batch)]
	s.first = s.asked
	if s.probeMapped(batch) {
		clear(s.probes) // whose fault it was is found out one by one
	}
}

func (s *search) probeMapped(batch []*layer) (faulted bool) {
	defer mmap.Faulted(debug.SetPanicOnFault(true), &faulted)
	for i, l := range batch {
		s.probes[i] = l.probe(s.key)
	}
	// Nothing here waits for what it loads: all of it is under way at once.
	for i, l := range batch {
		if q := &s.probes[i]; q.part != nil {
			q.print ^= l.mem[q.at[0]] ^ l.mem[q.at[1]] ^ l.mem[q.at[2]]
			if q.fan != 0 {
				q.lo = binary.LittleEndian.Uint32(l.mem[q.fan:])
				q.hi = binary.LittleEndian.Uint32(l.mem[q.fan+4:])
			}
		}
	}
	for i := range s.probes {
		q := &s.probes[i]
		switch {
		case q.part == nil: // it was decided without
		case q.print == 0:
			q.verdict = passed
		default:
			q.verdict = denied
		}
	}
	return false
}

// probe returns the question to l's filter, or the answer if there is no
// question.
func (l *layer) probe(key uint64) probe {
	p := l.part(key)
	switch {
	case p == nil:
		return probe{verdict: denied}
	case l.mem == nil || p.filter.segments == 0:
		return probe{}
	}
	print, at := p.filter.probe(key)
	q := probe{part: p, print: print}
	for i, at := range at {
		page := p.filterPage + at/pageData
		if !l.isChecked(page) {
			return probe{}
		}
		q.at[i] = uint64(page)*pageSize + uint64(at%pageData)
	}
	if p.filterPage != p.fanPage {
		slot := uint32((key - p.first) >> p.shift)
		page, at := p.fanPage+slot/fanPerPage, slot%fanPerPage
		if at+1 < fanPerPage && l.isChecked(page) {
			q.fan = uint64(page)*pageSize + uint64(at)*4
		}
	}
	return q
}

// part returns the only partition that may hold key, or nil.
//
// Keys are hashes and partitions have equal numbers of them, so the place is
// where an even spread puts it, or beside that.
func (l *layer) part(key uint64) *part {
	n := len(l.parts)
	guess, _ := bits.Mul64(key, uint64(n))
	i := int(guess)
	switch {
	case i > 0 && key < l.parts[i].first:
		if i--; i > 0 && key < l.parts[i].first {
			i = l.searchPart(key)
		}
	case i+1 < n && key > l.parts[i].last:
		if i++; i+1 < n && key > l.parts[i].last {
			i = l.searchPart(key)
		}
	}
	if i >= n || key < l.parts[i].first || key > l.parts[i].last {
		return nil
	}
	return &l.parts[i]
}

// searchPart returns the number of the first partition that does not end below
// key, or of the last.
func (l *layer) searchPart(key uint64) int {
	lo, hi := 0, len(l.parts)-1
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); l.parts[mid].last < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// locate returns the number of the first row of p that is higher than key,
// among those from lo to hi, which have the keys of one slot. It begins where
// an even spread puts key in its slot: from there it is seldom farther than a
// cache line.
func (c *cursor) locate(p *part, lo, hi uint32, key uint64) (uint32, error) {
	if lo == hi {
		return lo, nil
	}
	at := p.guess(lo, hi, key)
	higher, err := c.higher(p, at, key)
	if err != nil {
		return 0, err
	}
	if higher {
		hi = at
		for step := uint32(1); lo < hi && higher; step *= 2 {
			at = hi - min(step, hi-lo)
			if higher, err = c.higher(p, at, key); err != nil {
				return 0, err
			}
			if higher {
				hi = at
			} else {
				lo = at + 1
			}
		}
	} else {
		lo = at + 1
		for step := uint32(1); lo < hi && !higher; step *= 2 {
			at = lo + min(step, hi-lo) - 1
			if higher, err = c.higher(p, at, key); err != nil {
				return 0, err
			}
			if higher {
				hi = at
			} else {
				lo = at + 1
			}
		}
	}
	return c.after(p, lo, hi, row{key, math.MaxUint32})
}

// guess returns the row, of those from lo up to hi in the slot of key, at which
// an even spread puts key.
func (p *part) guess(lo, hi uint32, key uint64) uint32 {
	from, width := p.first, p.last-p.first // of the slot, less one
	if p.filterPage != p.fanPage {
		from += (key - from) >> p.shift << p.shift
		width = uint64(1)<<p.shift - 1
	}
	at, _ := bits.Mul64((key-from)<<bits.LeadingZeros64(width), uint64(hi-lo))
	return lo + uint32(at)
}

// higher says whether row n of p has a key that is higher than key.
func (c *cursor) higher(p *part, n uint32, key uint64) (bool, error) {
	b, err := c.row(p, n)
	return err == nil && binary.LittleEndian.Uint64(b) > key, err
}
