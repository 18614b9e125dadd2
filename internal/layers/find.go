package layers

import (
	"errors"
	"sync"

	"github.com/dchest/siphash"
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
// once and none that is dead, until there are no more or yield returns false.
// Each is read only when it is asked for: stopping early costs the same however
// many there are.
//
// A layer that cannot be read is an error once the others have been asked, and
// then some ids may be missing; so a caller who did not stop knows, and one
// who found what it wanted is served. The layers that it goes through stay
// open while yield runs. It waits for no writer, and yield may call any method
// but Close.
func (inv *Inverted) Candidates(mh multihash.Multihash, yield func(index.ID) bool) error {
	v, err := inv.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	s := searches.Get().(*search)
	defer s.close()
	s.open(v, siphash.Hash(inv.k0, inv.k1, mh))
	for {
		id, ok := s.next()
		if !ok {
			return errors.Join(s.errs...)
		}
		if !v.dead.Load().Contains(uint32(id)) && !yield(id) {
			return nil
		}
	}
}

// A search merges the postings of one key out of all tables and layers.
type search struct {
	view    *view
	key     uint64
	cursors []cursor
	layers  int // that have been asked
	errs    []error
}

// searches keeps them, with their room for cursors.
var searches = sync.Pool{New: func() any { return &search{cursors: make([]cursor, 0, 8)} }}

// open asks the tables; the layers are asked as late as can be.
func (s *search) open(v *view, key uint64) {
	s.view, s.key = v, key
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
	for s.layers < len(s.view.layers) && (!ok || s.view.layers[s.layers].Last >= best) {
		s.ask(s.view.layers[s.layers])
		s.layers++
		best, ok = s.highest()
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
		if err != nil {
			s.fail(c.layer, err)
		}
		if err != nil || !more {
			s.drop(i)
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

// ask adds a cursor if l has the key.
func (s *search) ask(l *layer) {
	s.cursors = append(s.cursors, cursor{layer: l})
	ok, err := l.find(s.key, &s.cursors[len(s.cursors)-1])
	if err != nil {
		s.fail(l, err)
	}
	if err != nil || !ok {
		s.drop(len(s.cursors) - 1)
	}
}

func (s *search) fail(l *layer, err error) {
	s.errs = append(s.errs, s.view.inv.readError(l, err))
}

// drop removes cursor i.
func (s *search) drop(i int) {
	s.cursors[i].close()
	last := len(s.cursors) - 1
	s.cursors[i] = s.cursors[last]
	s.cursors = s.cursors[:last]
}

// close gives s back; nobody may use it after that.
func (s *search) close() {
	for i := range s.cursors {
		s.cursors[i].close()
	}
	room := s.cursors[:cap(s.cursors)]
	clear(room) // they point to layers
	*s = search{cursors: room[:0]}
	searches.Put(s)
}
