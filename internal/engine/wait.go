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
	out := make(once, 1)
	c.sink = out
	if err := e.Submit(c.Patient()); err != nil {
		return Outcome{}, err
	}
	select {
	case o := <-out:
		return o, o.Err
	case <-c.ctx.Done():
	}
	if e.Leave(c) {
		return Outcome{}, fail(c.key, c.op, c.ctx.Err())
	}
	o := <-out // it was sent before we could leave, or is being sent
	return o, o.Err
}

// Acquire waits for a hold on key.
func (e *Engine) Acquire(ctx context.Context, key shard.Key, opt AcquireOptions) (*Hold, error) {
	o, err := e.Wait(NewAcquire(ctx, key, opt, nil))
	return o.Hold, err
}
