package layers

import (
	"encoding/binary"
	"runtime/debug"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// The ids of a key may be dead by the million until a merge takes their rows
// away, and the one that is alive may be the oldest. Walking past them one by
// one is bounded in two ways. Dead ids that follow each other without one that
// is alive between are skipped at once, by a search. What is left are dead ids
// with others between them that are alive and do not have the key: the first
// walk remembers, in each layer, how far it came, and the next ones go on
// there. That stays right as long as the layer is in use, because no id comes
// back to life.

const (
	// deadInARow is how many dead ids are met before it is looked up how
	// many follow.
	deadInARow = 4

	// deadUntilNoted is after how many dead ids, and no other, it is
	// remembered how far the walk came.
	deadUntilNoted = 64

	// notes is how many keys a layer remembers this of.
	notes = 16
)

// A note says that of the rows of a key none but the first left may be alive.
type note struct {
	key  uint64
	left uint32 // in its partition
}

// A noteBook has the notes of a layer.
type noteBook [notes]atomic.Pointer[note]

// before returns how many rows there are to be looked at, of those that are
// left.
func (b *noteBook) before(key uint64, left uint32) uint32 {
	if n := b[key%notes].Load(); n != nil && n.key == key {
		return min(left, n.left)
	}
	return left
}

func (b *noteBook) put(key uint64, left uint32) { b[key%notes].Store(&note{key, left}) }

// dying counts the dead ids that a search has met.
type dying struct {
	row  int  // since the last that was not
	sum  int  // since the beginning
	born bool // one was not
}

// dead tells s that the id it has just returned is dead, and what is dead. It
// returns false if nothing can follow.
func (s *search) dead(id index.ID, dead *roaring.Bitmap) bool {
	s.dying.row++
	s.dying.sum++
	if s.dying.row >= deadInARow {
		s.dying.row = 0
		most := lastAlive(dead, id)
		if most < 0 {
			// All that there may be is dead: what is not looked at need not be
			// noted, for the next search ends here as well.
			return false
		}
		s.seek(index.ID(most))
	}
	if !s.dying.born && s.dying.sum%deadUntilNoted == 0 {
		for i := range s.cursors {
			if c := &s.cursors[i]; c.layer != nil {
				c.layer.notes.put(s.key, c.left+1)
			}
		}
	}
	return true
}

// alive tells s that the id it has just returned is not dead.
func (s *search) alive() { s.dying.row, s.dying.born = 0, true }

// lastAlive returns the highest number up to id that is not in dead, or -1. It
// counts those in dead over ranges that double, and then halves the last one.
func lastAlive(dead *roaring.Bitmap, id index.ID) int64 {
	upTo := dead.Rank(uint32(id)) // of the numbers in dead
	full := func(from int64) bool {
		n := upTo
		if from > 0 {
			n -= dead.Rank(uint32(from - 1))
		}
		return int64(n) == int64(id)-from+1
	}
	lo, hi := int64(-1), int64(id)+1 // from hi to id all are dead; not from lo
	for step := int64(1); hi > 0; step *= 2 {
		if from := max(0, hi-step); full(from) {
			hi = from
		} else {
			lo = from
			break
		}
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; full(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi - 1
}

// seek has s go on with ids up to most.
func (s *search) seek(most index.ID) {
	s.most = most
	for i := 0; i < len(s.cursors); {
		c := &s.cursors[i]
		if c.id <= most {
			i++
			continue
		}
		more, err := c.seek(most)
		s.steps++
		switch {
		case err != nil:
			s.fail(c.layer, err)
			s.drop(i)
		case !more:
			s.exhausted(i, c.left)
		default:
			i++
		}
	}
}

// exhausted removes cursor i, which is at its end. If all that was found until
// now is dead, and much, it is noted that none but the first left rows may be
// alive.
func (s *search) exhausted(i int, left uint32) {
	if c := &s.cursors[i]; c.layer != nil && !s.dying.born && s.dying.sum >= deadUntilNoted {
		c.layer.notes.put(s.key, left)
	}
	s.drop(i)
}

// seek moves to the highest id up to most, or returns false if there is none.
func (c *cursor) seek(most index.ID) (ok bool, err error) {
	if c.table != nil { // the shards of a table are few
		for ok = true; ok && c.id > most; {
			ok = c.to(c.table.node(c.ref).next.Load())
		}
		return ok, nil
	}
	if mem := c.layer.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	target := row{c.key, most}
	hi, lo := c.left, c.left
	for step := uint32(1); lo > 0; step *= 2 {
		lo -= min(step, lo)
		r, err := c.row(c.part, lo)
		if err != nil {
			return false, err
		}
		if !target.less(row{binary.LittleEndian.Uint64(r), index.ID(binary.LittleEndian.Uint32(r[8:]))}) {
			break
		}
		hi = lo
	}
	if c.left, err = c.after(c.part, lo, hi, target); err != nil {
		return false, err
	}
	return c.next()
}
