package engine

import (
	"context"
	"sync"
)

// outlets deliver outcomes. A send is tried at once; outcomes for a full sink
// queue up behind it, and one goroutine serves each full sink.
type outlets struct {
	mu   sync.Mutex
	full map[Sink]*outlet
	stop chan struct{} // closed: deliver nothing more
	wg   sync.WaitGroup
}

// An outlet is the queue of one full sink.
type outlet struct {
	sink  Sink
	queue []*parcel
}

// A parcel is an outcome under way to its sink.
type parcel struct {
	Outcome
	ctx   context.Context //nolint:containedctx // that of the call, which ends the delivery
	taken bool            // delivered, or taken back; guarded by outlets.mu
	unsee func() bool     // ends the watch over ctx
}

func newOutlets() outlets {
	return outlets{full: map[Sink]*outlet{}, stop: make(chan struct{})}
}

// deliver sends o to sink, now or when there is room. When ctx ends first, or
// the engine closes, o is taken back.
func (s *outlets) deliver(ctx context.Context, sink Sink, o Outcome) {
	if sink == nil {
		o.takeBack()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.full[sink]
	if out == nil {
		if sink.Try(o) {
			return
		}
		out = &outlet{sink: sink}
		s.full[sink] = out
		s.wg.Go(func() { s.serve(out) })
	}
	p := &parcel{Outcome: o, ctx: ctx}
	out.queue = append(out.queue, p)
	if ctx.Done() != nil {
		p.unsee = context.AfterFunc(ctx, func() { s.withdraw(p) })
	}
}

// withdraw takes p back unless it has been delivered. The outlet passes over it.
func (s *outlets) withdraw(p *parcel) {
	s.mu.Lock()
	taken := p.taken
	p.taken = true
	s.mu.Unlock()
	if !taken {
		p.takeBack()
	}
}

// serve sends what waits for one sink, in order, until nothing does.
func (s *outlets) serve(out *outlet) {
	for {
		p := s.head(out)
		if p == nil {
			return
		}
		// The parcel counts as taken while it is being sent, so that withdraw
		// and this goroutine cannot both dispose of it.
		ok := out.sink.Send(p.Outcome, p.ctx.Done(), s.stop)
		if p.unsee != nil {
			p.unsee()
		}
		if !ok {
			p.takeBack()
		}
	}
}

// head takes the next parcel, or removes the outlet if there is none.
func (s *outlets) head(out *outlet) *parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(out.queue) > 0 {
		p := out.queue[0]
		out.queue[0] = nil
		out.queue = out.queue[1:]
		if !p.taken {
			p.taken = true
			return p
		}
	}
	delete(s.full, out.sink)
	return nil
}

// close ends all deliveries, takes back what was not delivered, and waits
// until no goroutine is left.
func (s *outlets) close() {
	close(s.stop)
	s.wg.Wait()
}

// takeBack undoes what the outcome gave.
func (o *Outcome) takeBack() {
	if o.Hold != nil {
		o.Hold.Close()
	}
}
