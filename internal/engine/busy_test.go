package engine

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// An encore is a caller who is quicker than the loop: it asks again while it
// is being answered.
type encore struct {
	e    *Engine
	key  shard.Key
	n    *atomic.Int64
	stop *atomic.Bool
}

func (s encore) ask() error {
	return s.e.Submit(NewAcquire(context.Background(), s.key, AcquireOptions{}, s))
}

// Try implements [Sink].
func (s encore) Try(o Outcome) bool {
	if o.Hold != nil {
		o.Hold.Close()
	}
	s.n.Add(1)
	if !s.stop.Load() {
		_ = s.ask() // the engine may be closing
	}
	return true
}

// Send implements [Sink].
func (s encore) Send(o Outcome, _, _ <-chan struct{}) bool { return s.Try(o) }

// However many come and go without a pause, what is changed gets to the disk
// and what is not in memory is read.
func TestCallersQuickerThanTheLoop(t *testing.T) {
	r := newWatchRig(t, false)
	r.add("a", 1, 10)
	r.add("b", 2, 10)
	r.reopen()
	hold, err := r.e.Acquire(t.Context(), "a", AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	var n atomic.Int64
	var stop atomic.Bool
	caller := encore{e: r.e, key: "a", n: &n, stop: &stop}
	if err := caller.ask(); err != nil {
		t.Fatal(err)
	}
	defer stop.Store(true)
	r.until("it has come back", func() bool { return n.Load() > 1000 })
	done := make(chan error, 1)
	go func() {
		_, err := r.e.Wait(NewPin(context.Background(), "b", true, nil))
		done <- err
	}()
	r.until("a record is read, changed and written", func() bool { return len(done) > 0 })
	if err := <-done; err != nil {
		t.Error(err)
	}
}
