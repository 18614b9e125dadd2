package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// A kind of source, as far as work on it is bounded. Work begins with the
// kind that its mount seems to be, learns from the source what it is, and only
// ever moves to a later kind.
type kind uint8

const (
	onDisk kind = iota // its bytes lie on this machine: bounded by processors
	remote             // they come from elsewhere: bounded by what the network bears
	slow               // they must be made ready first, which may take hours
	kinds
)

// An elsewhere error ends a piece of work that has to go on in another pool.
type elsewhere struct{ kind kind }

// Error says where to.
func (m elsewhere) Error() string { return fmt.Sprintf("engine: this is work of kind %d", m.kind) }

// sources are the pools for work on sources.
type sources [kinds]pool[*indexing]

// waits is how many pieces of work wait for a place.
func (s *sources) waits() (n int) {
	for k := range s {
		n += s[k].waits
	}
	return n
}

// start has the shard read and indexed, for c or for those who wait already.
// Work that nobody waits for and whose intent is on disk stays there while
// enough is in memory.
func (e *Engine) start(en *entry, c *Call) {
	if en.deferred = en.record.Intent != catalog.NoIntent && !en.called() && e.crammed(en); en.deferred {
		return
	}
	w := e.newIndexing(en)
	w.line.descend(en.ancestor(c))
	if !e.local(en) {
		w.kind = remote
	}
	if en.urgent == 0 && (c == nil || c.background) {
		w.class = background
	}
	en.indexing = w
	w.wait(e)
	e.startIndexing()
}

// crammed reports whether enough is in memory of what is like the work of en. If so,
// the queue is looked through for it later.
func (e *Engine) crammed(en *entry) bool {
	l := &e.loop
	switch {
	case !en.due:
		full := l.sources.waits()+l.parked >= e.cfg.Window
		l.backlog = l.backlog || full
		return full
	case l.parked >= e.cfg.Window && e.copiesFirst(en.record):
		l.pass(en.queued)
		return true
	default:
		return false
	}
}

// wait puts w into the pool of its kind.
func (w *indexing) wait(e *Engine) {
	e.loop.sources[w.kind].add(&w.ticket, w.class)
}

// hasten has a caller who waits join the work, and brings it to the foreground
// if the caller waits there.
func (e *Engine) hasten(en *entry, c *Call) {
	if en.indexing != nil && c != nil {
		en.indexing.line.join(c)
	}
	if c == nil || c.background {
		return
	}
	if w := en.indexing; w != nil && w.class != foreground {
		w.class = foreground
		e.loop.sources[w.kind].promote(&w.ticket)
	}
}

func (e *Engine) startIndexing() {
	l := &e.loop
	if e.scarce() && l.sources.waits() > 0 {
		e.startProbe()
	}
	for k := range l.sources {
		if e.scarce() {
			break // what waits goes on waiting
		}
		for {
			w, ok := l.sources[k].next()
			if !ok {
				break
			}
			w.run(e)
		}
	}
	if l.paging == 0 && l.sources.waits() < max(1, e.cfg.Window/2) {
		e.turnBack()
		if l.backlog {
			e.refill()
		}
	}
}

// run does w in a goroutine of its own.
func (w *indexing) run(e *Engine) {
	w.began(e)
	do(e, task[*found]{
		ctx: w.ctx, cancel: w.cancel,
		do: func(g *guard) (*found, error) {
			if e.measure() != Ample {
				return nil, elsewhere{w.kind} // to wait for space
			}
			return e.index(w, g)
		},
		end: func(f *found, err error) {
			w.found, w.err = f, err
			if errors.Is(err, shard.ErrStalled) {
				w.err = fail(w.record.Key, shard.OpFetch, err)
			}
			if !goesOn(err) {
				w.cancel(nil)
			}
			e.box.complete(&w.node)
		},
		lost: func() { e.dropFill(w.fill.Load(), context.Cause(w.ctx)) },
		late: func(*found) {}, // it has made nothing else, see index
	})
}

// moved has w go on in the pool where it belongs, or once there is space for its
// copy, and reports whether it does. Work that was cut meanwhile goes nowhere.
func (w *indexing) moved(e *Engine) bool {
	if !goesOn(w.err) {
		return false
	}
	var to elsewhere
	var no roomless
	why := w.err
	if w.err = w.ctx.Err(); w.err != nil {
		return false
	}
	switch {
	case errors.As(why, &to):
		w.kind = to.kind
		w.wait(e)
	case errors.As(why, &no):
		e.park(&w.parking, no.bytes, w.unpark)
	}
	e.startIndexing()
	return true
}

// unpark goes on with work that has waited for space.
func (w *indexing) unpark(e *Engine) {
	if err := w.parking.err; err != nil {
		w.err = fail(w.record.Key, shard.OpFetch, err)
		w.cancel(nil)
		e.loop.sources[w.kind].running++ // as if it ran: its end is counted
		w.finish(e)
		return
	}
	w.wait(e)
	e.startIndexing()
}
