package blocks

import (
	"context"
	"crypto/sha256"
	"runtime"
	"slices"
	"sort"

	"github.com/dagstore/dagstore/internal/car"
)

// One processor hashes more slowly than a good line brings. So the blocks of a
// piece are hashed by others, too, before their reader comes to them: in strips,
// from where he is about to be on, and never the very next one, which he does
// himself. What is found good that way is compared with what he asks for, and not
// hashed again; what is not, he finds out by himself.
const (
	stripSize  = 64 << 10 // a strip is as many sections as have so many bytes, or one
	mostOthers = 3        // who hash for all readers
)

// hashers is how many goroutines may hash beside those who read.
func hashers() int { return min(runtime.GOMAXPROCS(0)-1, mostOthers) }

// A strip is sections that lie together in a piece.
type strip struct {
	from, to int
	starts   []int         // of the sections
	good     bool          // all were hashed and are what their CIDs say
	over     bool          // nobody hashes them any more
	moved    chan struct{} // closed when it is over; nil: nobody waits
}

// A proof is what is known of the sections of a piece.
type proof struct {
	known  bool     // where a section begins
	next   int      // the first byte that is in no strip, where a section begins
	at     int      // where the reader is about to be
	strips []*strip // that are hashed, or were, by rising offset
	others int      // who hash
	ended  bool     // no more strips begin
}

// What follows is called with the lock held.

// prove has the sections of x hashed beside their reader, who has been lent those
// up to the byte at, of which the last begins at off.
func (a *ahead) prove(x *piece, off, at int) {
	p := &x.proof
	p.at = at
	if !p.known || p.next < off { // the first, or he has gone on while nobody hashed
		p.known, p.next = true, at
	}
	ready := x.have - p.next
	if a.begin == nil || p.ended || a.others >= a.most || ready < 2*stripSize && !x.whole() {
		return
	}
	p.others++
	a.others++
	x.users++
	if !a.begin(func(context.Context) { a.hash(x) }) {
		a.enough(x)
	}
}

// enough ends the hashing of x by one.
func (a *ahead) enough(x *piece) {
	x.proof.others--
	a.others--
	a.leave(x)
}

// proven says whether the section at off was hashed and is good. It waits if it is
// being hashed.
func (a *ahead) proven(ctx context.Context, x *piece, off int) bool {
	all := x.proof.strips
	i := sort.Search(len(all), func(i int) bool { return all[i].to > off })
	if i == len(all) || all[i].from > off {
		return false
	}
	s := all[i]
	if !s.over {
		if s.moved == nil {
			s.moved = make(chan struct{})
		}
		moved := s.moved
		a.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	if !s.good {
		return false
	}
	_, is := slices.BinarySearch(s.starts, off)
	if is {
		a.proofs++
	}
	return is
}

// take returns the next strip that is to be hashed; nil if there is none. It gives
// up the lock meanwhile.
func (a *ahead) take(x *piece) *strip {
	p := &x.proof
	for x.users > p.others { // somebody else wants it
		if p.next < p.at {
			p.next = p.at
		}
		s := stripAt(x.buf.b[:x.have], p.next)
		if s == nil {
			p.ended = x.whole()
			return nil
		}
		p.next = s.to
		if s.from >= p.at+(s.to-s.from) {
			p.strips = append(p.strips, s)
			return s
		}
	}
	return nil
}

// hash hashes what is ahead of the reader of x.
func (a *ahead) hash(x *piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.enough(x)
	for {
		s := a.take(x)
		if s == nil {
			return
		}
		b := x.buf.b
		a.mu.Unlock()
		good := s.isGood(b)
		a.mu.Lock()
		s.good, s.over = good, true
		if s.moved != nil {
			close(s.moved)
		}
	}
}

// stripAt is the strip that begins at from; nil if no section is whole there, or
// none begins.
func stripAt(b []byte, from int) *strip {
	s := &strip{from: from, to: from}
	for s.to-from < stripSize && s.to < len(b) {
		sec, err := car.ParseSection(int64(s.to), b[s.to:min(len(b), s.to+car.MaxHead)], -1)
		if err != nil || int64(sec.Head)+sec.Size > int64(len(b)-s.to) {
			break
		}
		s.starts = append(s.starts, s.to)
		s.to += sec.Head + int(sec.Size)
	}
	if s.to == from {
		return nil
	}
	return s
}

// isGood hashes the sections of s, which lie in b. Those of other functions than
// SHA2-256 are left to their reader.
func (s *strip) isGood(b []byte) bool {
	for i, from := range s.starts {
		to := s.to
		if i+1 < len(s.starts) {
			to = s.starts[i+1]
		}
		sec, err := car.ParseSection(int64(from), b[from:min(to, from+car.MaxHead)], -1)
		if err != nil || !isSHA256(sec.Multihash()) || sha256.Sum256(b[from+sec.Head:to]) != [sha256.Size]byte(sec.Multihash()[2:]) {
			return false
		}
	}
	return true
}
