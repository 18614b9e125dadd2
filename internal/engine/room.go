package engine

import (
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/internal/copies"
)

// Work that needs space for a copy, and cannot have it now, leaves its pool: it
// waits with those who came before it, and goes on when the space is there. So
// copies that somebody holds keep up those who want other copies, and nobody else.

// A roomless error ends a piece of work that has to go on once there is space
// for so many bytes.
type roomless struct{ bytes int64 }

// Error says how much.
func (r roomless) Error() string {
	return fmt.Sprintf("engine: this is work that waits for space for %d bytes", r.bytes)
}

// goesOn reports whether err is not the end of a piece of work.
func goesOn(err error) bool {
	var to elsewhere
	var no roomless
	return errors.As(err, &to) || errors.As(err, &no)
}

// A parking is where a piece of work waits for space.
type parking struct {
	node node
	ask  *copies.Ask // nil: it does not wait
	room *copies.Space
	err  error
	back func(e *Engine) // goes on with the work, in the loop
	owed bool            // it has left, and is about to be told: room and err are not the loop's yet
}

// park has work wait for bytes. back is called in the loop when the wait is over.
func (e *Engine) park(p *parking, bytes int64, back func(e *Engine)) {
	p.back = back
	p.node.what, p.node.of = whatDone, p
	e.loop.parked++
	p.ask = e.cfg.Copies.Queue(bytes, func(s *copies.Space, err error) {
		p.room, p.err = s, err
		e.box.complete(&p.node)
	})
}

// leave ends the wait, and reports whether there was one.
func (p *parking) leave(e *Engine) bool {
	if p.ask == nil {
		return false
	}
	if p.ask.Leave() {
		e.loop.parked-- // else that is done when it is told
	} else {
		p.owed, p.back = true, func(*Engine) { p.giveRoom() }
	}
	p.ask = nil
	return true
}

func (p *parking) finish(e *Engine) {
	e.loop.parked--
	p.ask, p.owed = nil, false
	p.back(e)
	e.startIndexing()
}

func (p *parking) abandon(*Engine) {
	p.owed = false
	p.giveRoom()
}

// giveRoom gives back space that was not used.
func (p *parking) giveRoom() {
	if p.owed {
		return // finish does
	}
	p.room.Give()
	p.room = nil
}

// takeRoom takes space for a copy of size bytes (-1: nobody knows): that which
// was waited for, or what is free. A roomless error says that it has to be waited for.
func (e *Engine) takeRoom(p *parking, size int64) (*copies.Space, error) {
	want := size
	if size < 0 {
		want = min(copies.FirstSpace, e.cfg.Copies.Quota())
	}
	if s := p.room; s != nil {
		p.room = nil
		if s.Has(want) {
			return s, nil
		}
		s.Give() // the source is longer now
	}
	s, err := e.cfg.Copies.Take(want)
	if err == nil && s == nil {
		err = roomless{want}
	}
	return s, err
}

// crowded makes of the error of a fill that could not grow that of work that
// waits for twice as much.
func (e *Engine) crowded(err error, had int64) error {
	if !errors.Is(err, copies.ErrCrowded) {
		return err
	}
	return roomless{min(max(2*had, copies.FirstSpace), e.cfg.Copies.Quota())}
}
