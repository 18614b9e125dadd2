package layers

import (
	"errors"
	"math"
	"sync"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// Find appends to dst the ids that may hold mh, newest first, at most limit of
// them (all, if limit is 0). See [index.Inverted] and [Inverted.Candidates].
// What it found is returned beside an error.
func (inv *Inverted) Find(dst []index.ID, mh multihash.Multihash, limit int) ([]index.ID, error) {
	left := limit
	err := inv.Candidates(mh, func(id index.ID) bool {
		dst = append(dst, id)
		left--
		return left != 0
	})
	return dst, err
}

// Candidates calls yield with the ids that may hold mh, by falling id, each
// once and none that was dead when it began, until there are no more or yield
// returns false.
// Each is read only when it is asked for: stopping early costs the same however
// many there are, and however many newer ones are dead.
//
// A layer that cannot be read is an error once the others have been asked, and
// then some ids may be missing; so a caller who did not stop knows, and one
// who found what it wanted is served. The layers that it goes through stay
// open while yield runs. It waits for no writer, and yield may call any method
// but Close.
func (inv *Inverted) Candidates(mh multihash.Multihash, yield func(index.ID) bool) error {
	_, err := inv.candidates(mh, yield)
	return err
}

// candidates is [Inverted.Candidates]. It says how many postings it has looked
// at, those of the dead counted.
func (inv *Inverted) candidates(mh multihash.Multihash, yield func(index.ID) bool) (steps int, err error) {
	v, err := inv.acquire()
	if err != nil {
		return 0, err
	}
	defer v.release()
	inv.visit()
	// Before the tables are asked, and once: whoever replaces an index adds the
	// new one before he drops the old one, so that one of them is found.
	dead := v.dead.Load()
	s := searches.Get().(*search)
	defer s.close()
	s.open(v, inv.keyOf(mh))
	for {
		id, ok := s.next()
		if !ok {
			return s.steps, errors.Join(s.errs...)
		}
		switch {
		case dead.Contains(uint32(id)):
			if !s.dead(id, dead) {
				return s.steps, errors.Join(s.errs...)
			}
		case !yield(id):
			return s.steps, nil
		default:
			s.alive()
		}
	}
}

// A search merges the postings of one key out of all tables and layers.
type search struct {
	view    *view
	key     uint64
	cursors []cursor
	asked   int      // layers
	most    index.ID // no higher id is asked for
	dying   dying
	steps   int
	errs    []error

	probes []probe // of layers, the first of which is number first
	first  int
	room   [probeAhead]probe // for probes
}

// searches keeps them, with their room for cursors.
var searches = sync.Pool{New: func() any { return &search{cursors: make([]cursor, 0, 8)} }}

// open asks the tables; the layers are asked as late as can be.
func (s *search) open(v *view, key uint64) {
	s.view, s.key, s.most, s.probes = v, key, math.MaxUint32, s.room[:0]
	for _, t := range [...]*table{s.view.active, s.view.frozen} {
		if t == nil {
			continue
		}
		c := cursor{table: t}
		if c.to(t.find(s.key)) {
			s.cursors = append(s.cursors, c)
		}
	}
}

// next returns the highest id not yet returned.
func (s *search) next() (index.ID, bool) {
	best, ok := s.highest()
	for s.asked < len(s.view.layers) && (!ok || s.view.layers[s.asked].Last >= best) {
		if s.ask() {
			best, ok = s.highest()
		}
	}
	if !ok {
		return 0, false
	}
	for i := 0; i < len(s.cursors); {
		c := &s.cursors[i]
		if c.id != best {
			i++
			continue
		}
		more, err := c.advance()
		s.steps++
		switch {
		case err != nil:
			s.fail(c.layer, err)
			s.drop(i)
			continue
		case !more:
			s.exhausted(i, c.left+1) // the row that it stood on is about to be returned
			continue
		}
		i++
	}
	return best, true
}

func (s *search) highest() (best index.ID, ok bool) {
	for i := range s.cursors {
		if id := s.cursors[i].id; !ok || id > best {
			best, ok = id, true
		}
	}
	return best, ok
}

// ask asks the next layer, and adds a cursor and says so if it has the key.
func (s *search) ask() bool {
	if s.asked == s.first+len(s.probes) {
		s.probe()
	}
	l, q := s.view.layers[s.asked], &s.probes[s.asked-s.first]
	s.asked++
	if q.verdict == denied {
		return false
	}
	s.cursors = append(s.cursors, cursor{layer: l})
	c := &s.cursors[len(s.cursors)-1]
	ok, err := l.find(s.key, q, c)
	if ok && c.id > s.most {
		ok, err = c.seek(s.most)
	}
	if err != nil {
		s.fail(l, err)
	}
	if err != nil || !ok {
		s.drop(len(s.cursors) - 1)
		return false
	}
	return true
}

func (s *search) fail(l *layer, err error) {
	s.errs = append(s.errs, s.view.inv.readError(l, err))
}

// drop removes cursor i.
func (s *search) drop(i int) {
	s.cursors[i].close()
	last := len(s.cursors) - 1
	s.cursors[i] = s.cursors[last]
	s.cursors[last] = cursor{} // it points to a layer
	s.cursors = s.cursors[:last]
}

// close gives s back; nobody may use it after that.
func (s *search) close() {
	for i := range s.cursors {
		s.cursors[i].close()
	}
	clear(s.cursors)
	clear(s.probes)
	s.view, s.cursors, s.errs, s.asked, s.first = nil, s.cursors[:0], nil, 0, 0
	s.dying, s.steps = dying{}, 0
	searches.Put(s)
}
