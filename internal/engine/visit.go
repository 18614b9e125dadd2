package engine

import (
	"context"
	"sync"
	"time"
)

// Visit begins work in its caller's goroutine beside the loop, for which Close
// waits. The context ends with ctx and when the engine closes. leave ends the
// visit; it must be called once, and before any code of a user runs that may
// close the engine. After Close the error is the one that Config names.
func (e *Engine) Visit(ctx context.Context) (_ context.Context, leave func(), err error) {
	if !e.enter() {
		return nil, nil, e.cfg.Closed
	}
	e.workers.Add(1)
	e.exit()
	inside, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.work, cancel)
	return inside, func() {
		stop()
		cancel()
		e.workers.Done()
	}, nil
}

// why is what a visit that was ended is to say.
func (e *Engine) why(err error) error {
	if err != nil && e.shut.Load() {
		return e.cfg.Closed
	}
	return err
}

// Beside runs f in a goroutine of its own, for which Close waits, with a context
// that ends when the engine closes; after that it is false. A mount may hang in f
// although the context has ended: it is left to itself after a short grace.
func (e *Engine) Beside(f func(ctx context.Context)) bool {
	if !e.enter() {
		return false
	}
	defer e.exit()
	e.workers.Add(1)
	done := sync.OnceFunc(e.workers.Done)
	unwatch := context.AfterFunc(e.work, func() { time.AfterFunc(mostGrace, done) })
	go func() {
		defer done()
		defer unwatch()
		f(e.work)
	}()
	return true
}
