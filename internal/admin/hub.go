package admin

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// hubEvents is how many events are kept for who comes late or reads slowly.
const hubEvents = 4096

// A Hub keeps the last events of a store. It is made before the store is
// opened, whose [dagstore.Config] is to have its Events. Listeners read from
// one ring, each at its own pace: none holds up another or the store, and one
// that was overtaken is told how much it has missed.
type Hub struct {
	epoch string // of this process: a number of another is of no use here
	now   func() time.Time

	mu   sync.Mutex
	ring []wire.Event
	last int64 // number of the last event; the first is 1
	more chan struct{}
}

// NewHub makes a hub without events.
func NewHub() *Hub {
	return &Hub{epoch: strings.ToLower(rand.Text()[:8]), now: time.Now, ring: make([]wire.Event, 0, hubEvents), more: make(chan struct{})}
}

// Events are the callbacks that fill the hub.
func (h *Hub) Events() dagstore.Events {
	return dagstore.Events{
		Transition: func(t dagstore.Transition) {
			e := wire.Event{At: t.At, Kind: wire.EventTransition, Key: string(t.Key), From: t.From.String(), To: t.To.String()}
			if t.Err != nil {
				e.Error = t.Err.Error()
			}
			h.Tell(e)
		},
		Work: func(w dagstore.WorkEvent) {
			e := wire.Event{Kind: wire.EventWork, Key: string(w.Key), Phase: w.Phase.String()}
			e.Progress = &wire.Progress{Op: string(w.Op), Done: w.Done, Total: w.Total, Started: w.Started, Rate: w.Rate}
			if w.Err != nil {
				e.Error = w.Err.Error()
			}
			h.Tell(e)
		},
		Evicted: func(c dagstore.CopyInfo) {
			h.Tell(wire.Event{Kind: wire.EventEvicted, Key: string(c.Key), Bytes: c.Bytes})
		},
		Fault: func(f dagstore.FaultEvent) {
			fault := wire.FaultOf(f.Fault)
			h.Tell(wire.Event{At: f.At, Kind: wire.EventFault, Key: string(f.Key), Fault: &fault})
		},
		Host: func(health dagstore.HostHealth) {
			host := wire.HostOf(health)
			h.Tell(wire.Event{Kind: wire.EventHost, Host: &host})
		},
		Trouble: func(err error) { h.Tell(wire.Event{Kind: wire.EventTrouble, Error: err.Error()}) },
		Dropped: func(n int64) { h.Tell(wire.Event{Kind: wire.EventGap, Missed: n}) },
	}
}

// Tell adds an event. Its ID is given here, and its time unless it has one.
func (h *Hub) Tell(e wire.Event) {
	if e.At.IsZero() {
		e.At = h.now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e.ID = h.id(h.last)
	if len(h.ring) < hubEvents {
		h.ring = append(h.ring, e)
	} else {
		h.ring[(h.last-1)%hubEvents] = e
	}
	close(h.more)
	h.more = make(chan struct{})
}

func (h *Hub) id(n int64) string { return h.epoch + "-" + strconv.FormatInt(n, 10) }

// position is the number of the event that an ID names. missed is what is told
// to whom has an ID that is of no use here.
func (h *Hub) position(id string) (n int64, missed bool) {
	epoch, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || epoch != h.epoch || n < 0 || n > h.last {
		return h.last, true
	}
	return n, false
}

// end is the number of the last event.
func (h *Hub) end() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// before is the number of the event before the last n, as far as they are known.
func (h *Hub) before(n int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last - min(n, int64(len(h.ring)))
}

// after appends the events behind number n to dst, at most as many as fit. It
// returns the number of the last of them, how many were missed before the
// first, and a channel that is closed when there are more.
func (h *Hub) after(n int64, dst []wire.Event) (events []wire.Event, at, missed int64, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.last - int64(len(h.ring)) + 1
	if n+1 < first {
		missed = first - n - 1
		n = first - 1
	}
	for n < h.last && len(dst) < cap(dst) {
		dst = append(dst, h.ring[n%hubEvents])
		n++
	}
	return dst, n, missed, h.more
}

// of are the last events of a shard that are still known, the oldest first.
func (h *Hub) of(key shard.Key, most int) (events []wire.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := h.last; n > h.last-int64(len(h.ring)) && len(events) < most; n-- {
		if e := h.ring[(n-1)%hubEvents]; e.Key == string(key) && e.Phase != dagstore.Moved.String() {
			events = append(events, e)
		}
	}
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events
}

// liesLate is how long lies waits for events that are on their way.
const liesLate = 2 * time.Second

// Mark is a place in the stream of events, for Lies.
func (h *Hub) Mark() int64 { return h.end() }

// Lies is what was told of wrong entries in an index of a shard since mark, after
// work on it that has ended: of which the last event may still be on its way, so
// it waits a little for that.
func (h *Hub) Lies(ctx context.Context, key shard.Key, mark int64) (lies []wire.Fault) {
	ctx, cancel := context.WithTimeout(ctx, liesLate)
	defer cancel()
	for {
		events, next, _, more := h.after(mark, make([]wire.Event, 0, batch))
		for _, e := range events {
			switch {
			case e.Key != string(key):
			case e.Kind == wire.EventFault && e.Fault.Code == int(shard.BadEntry):
				lies = append(lies, *e.Fault)
			case e.Kind == wire.EventWork && e.Phase == dagstore.Ended.String():
				return lies
			}
		}
		if mark = next; len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return lies
		}
	}
}

// gap is the event that tells that events are missing.
func (h *Hub) gap(at, missed int64) wire.Event {
	return wire.Event{ID: h.id(at), At: h.now(), Kind: wire.EventGap, Missed: missed, Error: fmt.Sprintf("%s missing here", countEvents(missed))}
}

// countEvents begins a sentence about n events.
func countEvents(n int64) string {
	switch n {
	case -1:
		return "an unknown number of events is"
	case 1:
		return "1 event is"
	}
	return fmt.Sprintf("%d events are", n)
}

// Follow yields what happens, from now on or behind the event last, until ctx
// ends.
func (h *Hub) Follow(ctx context.Context, last string) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		at := h.end()
		if last != "" {
			n, lost := h.position(last)
			if at = n; lost && !yield(h.gap(at, -1), nil) {
				return
			}
		}
		for {
			events, next, missed, more := h.after(at, make([]wire.Event, 0, batch))
			if missed > 0 && !yield(h.gap(next-int64(len(events)), missed), nil) {
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if at = next; len(events) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}
