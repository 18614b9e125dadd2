package dagstore

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	eventRing  = 4096            // events that wait for a callback
	eventGrace = 5 * time.Second // Close waits no longer for callbacks
)

// An observer hands what happens to the callbacks of Events. Whoever tells it
// something never waits for a callback.
type observer struct {
	events  Events
	log     *slog.Logger
	dropped atomic.Int64 // since Open
	wake    chan struct{}
	done    chan struct{} // the goroutine has ended

	mu      sync.Mutex
	ring    []happening
	first   int // of those that wait
	n       int // how many wait
	gap     int64
	closed  bool // nothing more comes
	abandon bool // and what waits is not delivered either
}

// A happening is one event, as it waits. One of the fields after before is set.
type happening struct {
	before     int64 // events that were dropped before it
	transition Transition
	work       *WorkEvent
	evicted    *CopyInfo
	fault      *FaultEvent
	host       *HostHealth
	trouble    error
}

// newObserver starts the goroutine that calls back; nil if nobody wants to
// hear of anything.
func newObserver(events Events, log *slog.Logger) *observer {
	if events.Transition == nil && events.Work == nil && events.Evicted == nil && events.Fault == nil && events.Host == nil && events.Trouble == nil {
		return nil
	}
	o := &observer{events: events, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}), ring: make([]happening, eventRing)}
	go o.run()
	return o
}

// tell queues h, or drops it if there is no room.
func (o *observer) tell(h happening) {
	o.mu.Lock()
	switch {
	case o.closed:
	case o.n == len(o.ring):
		o.gap++
		o.dropped.Add(1)
	default:
		h.before, o.gap = o.gap, 0
		o.ring[(o.first+o.n)%len(o.ring)] = h
		o.n++
	}
	o.mu.Unlock()
	o.rouse()
}

func (o *observer) rouse() {
	select {
	case o.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// next takes the oldest event. A gap that nothing follows yet comes as an
// event of its own. more is false once nothing will ever come.
func (o *observer) next() (h happening, ok, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.abandon:
		return happening{}, false, false
	case o.n > 0:
		h = o.ring[o.first]
		o.ring[o.first] = happening{}
		o.first = (o.first + 1) % len(o.ring)
		o.n--
		return h, true, true
	case o.gap > 0:
		h.before, o.gap = o.gap, 0
		return h, true, true
	}
	return happening{}, false, !o.closed
}

func (o *observer) run() {
	defer close(o.done)
	for {
		h, ok, more := o.next()
		switch {
		case ok:
			o.call(&h)
		case more:
			<-o.wake
		default:
			return
		}
	}
}

// call tells the callbacks of h, and survives them.
func (o *observer) call(h *happening) {
	if h.before > 0 && o.events.Dropped != nil {
		o.guarded(func() { o.events.Dropped(h.before) })
	}
	switch {
	case h.work != nil:
		o.guarded(func() { o.events.Work(*h.work) })
	case h.evicted != nil:
		o.guarded(func() { o.events.Evicted(*h.evicted) })
	case h.fault != nil:
		o.guarded(func() { o.events.Fault(*h.fault) })
	case h.host != nil:
		o.guarded(func() { o.events.Host(*h.host) })
	case h.trouble != nil:
		o.guarded(func() { o.events.Trouble(h.trouble) })
	case h.transition.To != 0:
		o.guarded(func() { o.events.Transition(h.transition) })
	}
}

func (o *observer) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			o.log.Error("an event callback panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// close delivers what waits, for no longer than grace. A callback that is
// still running then is the last one.
func (o *observer) close(grace time.Duration) {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.rouse()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-o.done:
		return
	case <-timer.C:
	}
	o.mu.Lock()
	o.abandon = true
	o.mu.Unlock()
	o.log.Warn("an event callback does not return: the events after it are not told")
}
