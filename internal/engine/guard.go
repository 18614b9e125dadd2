package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// mostGrace is how long a mount may take to return once its context has ended.
const mostGrace = 2 * time.Second

// A guard watches over what one piece of work asks of a mount. Time counts
// only while a method of the mount runs. When none of those that run makes progress
// for the stall time, the context of the work ends. When a method is still running
// some time after the context has ended, for whatever reason, the work is
// given up: gone is called, in a goroutine of its own, and what the work still
// does counts for nothing.
type guard struct {
	stall, grace time.Duration
	cancel       context.CancelCauseFunc // of the context of the work
	gone         func()
	off          atomic.Bool // the work has ended: what it has opened is its holders'

	mu      sync.Mutex
	phase   phase
	inside  int           // methods that run
	since   time.Time     // when the first of them began, or one of them made progress
	charged time.Duration // by methods before them that made no progress
	cutAt   time.Time     // when the context ended; zero: it has not
	stalled bool          // that was because of a stall
	timer   *time.Timer
	due     time.Time // when the timer will look; zero: it will not
}

// A phase is how far guarded work has come. It leaves underWay once.
type phase uint8

const (
	underWay phase = iota
	ended          // by itself
	givenUp        // its end was told by the guard
)

func newGuard(stall time.Duration, cancel context.CancelCauseFunc) *guard {
	return &guard{stall: stall, grace: min(stall, mostGrace), cancel: cancel}
}

// during runs a method of the mount, which reports whether it made progress.
// After an error, which says that the work was given up, the method may not
// have been run, and nothing that it returned may be used.
func (g *guard) during(method func() (progress bool)) (err error) {
	if g.off.Load() {
		method()
		return nil
	}
	if err := g.enter(); err != nil {
		return err
	}
	progress := false
	defer func() { // also if the method panics
		if lost := g.exit(progress); lost != nil {
			err = lost
		}
	}()
	progress = method()
	return nil
}

func (g *guard) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != underWay {
		return errGivenUp
	}
	if g.inside++; g.inside == 1 {
		g.since = time.Now()
		g.arm(g.left(g.since), g.since)
	}
	return nil
}

func (g *guard) exit(progress bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != underWay {
		return errGivenUp
	}
	now := time.Now()
	g.inside--
	switch {
	case progress:
		g.charged, g.since = 0, now
	case g.inside == 0:
		g.charged += now.Sub(g.since)
	}
	return nil
}

// errGivenUp is what work sees that was given up. Nobody else does.
var errGivenUp = fmt.Errorf("%w: the work was given up", shard.ErrStalled)

// left is how long the method that runs may still take.
func (g *guard) left(now time.Time) time.Duration {
	switch {
	case g.cutAt.IsZero():
		return g.stall - g.charged - now.Sub(g.since)
	case g.cutAt.After(g.since):
		return g.grace - now.Sub(g.cutAt)
	default:
		return g.grace - now.Sub(g.since)
	}
}

// arm has the timer look in d, or before. One that is armed already for an
// earlier moment is left alone, so that a read costs no timer.
func (g *guard) arm(d time.Duration, now time.Time) {
	at := now.Add(d)
	if !g.due.IsZero() && !at.Before(g.due) {
		return
	}
	g.due = at
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.look)
	} else {
		g.timer.Reset(d)
	}
}

// look is the timer's.
func (g *guard) look() {
	g.mu.Lock()
	now := time.Now()
	g.due = time.Time{}
	if g.phase != underWay || g.inside == 0 {
		g.mu.Unlock()
		return
	}
	switch left := g.left(now); {
	case left > 0:
		g.arm(left, now)
		g.mu.Unlock()
	case g.cutAt.IsZero():
		g.stalled, g.cutAt = true, now
		g.arm(g.grace, now)
		g.mu.Unlock()
		g.cancel(shard.ErrStalled)
	default:
		g.phase = givenUp
		g.mu.Unlock()
		g.gone()
	}
}

// cut is called when the context of the work has ended.
func (g *guard) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.cutAt.IsZero() || g.phase != underWay {
		return
	}
	now := time.Now()
	g.cutAt = now
	if g.inside > 0 {
		g.arm(g.grace, now)
	}
}

// end is called when the work has ended by itself. It reports whether that
// counts: it does not if the work was given up before.
func (g *guard) end() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != underWay {
		return false
	}
	g.phase = ended
	g.off.Store(true)
	if g.timer != nil {
		g.timer.Stop()
	}
	return true
}

// lost reports whether the work was given up.
func (g *guard) lost() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase == givenUp
}

// reason is why work failed that came to err: a stall makes mounts say all
// sorts of things.
func (g *guard) reason(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stalled && err != nil {
		return fmt.Errorf("%w for %v", shard.ErrStalled, g.stall)
	}
	return err
}

// A task is work on a source, which may hang. Its result is told once, by the
// work or, when that was given up, by its guard.
type task[T any] struct {
	ctx    context.Context //nolint:containedctx // of this one piece of work
	cancel context.CancelCauseFunc
	do     func(g *guard) (T, error)
	end    func(result T, err error) // tells the loop
	lost   func()                    // hears that work was given up, before end and perhaps after late; nil: nobody
	late   func(result T)            // gets rid of what work made that was given up
}

// do runs t in a goroutine of its own. Close waits until its result is told,
// not until the goroutine has ended.
func do[T any](e *Engine, t task[T]) {
	e.workers.Add(1)
	g := newGuard(e.cfg.Stall, t.cancel)
	g.gone = func() {
		defer e.workers.Done()
		e.cfg.Log.Warn("a mount does not return although its context has ended: it is left to itself")
		if t.lost != nil {
			t.lost()
		}
		var none T
		t.end(none, g.reason(context.Cause(t.ctx)))
	}
	unwatch := context.AfterFunc(t.ctx, g.cut)
	go func() {
		result, err := t.do(g)
		unwatch()
		if !g.end() {
			t.late(result)
			return
		}
		defer e.workers.Done()
		t.end(result, g.reason(err))
	}()
}
