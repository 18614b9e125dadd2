package engine

import (
	"context"

	"github.com/dagstore/dagstore/shard"
)

// once is a sink for one outcome.
type once chan Outcome

// Try implements [Sink].
func (s once) Try(o Outcome) bool {
	select {
	case s <- o:
		return true
	default:
		return false
	}
}

// Send implements [Sink].
func (s once) Send(o Outcome, left, stop <-chan struct{}) bool {
	select {
	case s <- o:
		return true
	case <-left:
	case <-stop:
	}
	return false
}

// Wait submits c, whose sink it sets, and waits for its outcome.
func (e *Engine) Wait(c *Call) (Outcome, error) {
	o, _, err := e.submitAndWait(c, make(once, 1))
	return o, err
}

// submitAndWait is Wait with a channel that has room for the outcome. It is clean if
// the outcome came, so that nobody else knows of the call and the channel any more.
func (e *Engine) submitAndWait(c *Call, out once) (o Outcome, clean bool, err error) {
	c.sink = out
	if err := e.Submit(c.Patient()); err != nil {
		return Outcome{}, false, err
	}
	select {
	case o = <-out:
		return o, true, o.Err
	case <-c.ctx.Done():
	}
	if e.Leave(c) {
		return Outcome{}, false, fail(c.key, c.op, c.ctx.Err())
	}
	o = <-out // it was sent before we could leave, or is being sent
	return o, true, o.Err
}

// An acquiring is a call of [Engine.Acquire] with the channel of its outcome.
// It is used again: acquiring a shard is what there may be most of.
type acquiring struct {
	call Call
	out  once
}

// Acquire waits for a hold on key.
func (e *Engine) Acquire(ctx context.Context, key shard.Key, opt AcquireOptions) (*Hold, error) {
	a, _ := e.acquirings.Get().(*acquiring)
	if a == nil {
		a = &acquiring{out: make(once, 1)}
	}
	a.call.acquire(ctx, key, opt)
	o, clean, err := e.submitAndWait(&a.call, a.out)
	if clean {
		a.call = Call{} // keeps nothing of the caller's alive
		e.acquirings.Put(a)
	}
	return o.Hold, err
}
