package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	// stoppedLimit is how long a process is waited for that is known to be stopped,
	// and silentLimit how long any other is that does not say who it is: one that
	// has much to do takes its time.
	stoppedLimit = 3 * time.Second
	silentLimit  = 10 * time.Second
	// watchEvery is how often the process is looked at that a command waits for.
	watchEvery = 5 * time.Second
)

// A silentError is of a process that has the socket of a store and does not
// answer.
type silentError struct {
	pid     int // 0: not known
	stopped bool
	waited  time.Duration
}

// Error says what it is and what to do.
func (e *silentError) Error() string {
	who, which := "the process that holds the store", "it"
	if e.pid != 0 {
		who = fmt.Sprintf("process %d, which holds the store,", e.pid)
		which = fmt.Sprintf("\"kill %d\"", e.pid)
	}
	switch {
	case e.stopped:
		return fmt.Sprintf("%s is stopped, as by Ctrl-Z: let it go on by \"kill -CONT %d\", or by \"fg\" where it was started; or end it by \"kill -KILL %d\"", who, e.pid, e.pid)
	case e.pid == 0:
		return fmt.Sprintf("%s has not answered for %v: see whether it is stopped, and let it go on or end it", who, e.waited)
	}
	return fmt.Sprintf("%s has not answered for %v: see what it does, or end it by %s", who, e.waited, which)
}

// isSilent reports whether err is one.
func isSilent(err error) bool {
	_, ok := errors.AsType[*silentError](err)
	return ok
}

// whoIs asks who answers at a socket. An error is a [silentError]; that nobody
// answers is none.
func whoIs(ctx context.Context, path string) (*client.Client, *wire.Store, error) {
	c := client.New(client.Unix(path))
	for _, limit := range []time.Duration{stoppedLimit, silentLimit} {
		limited, cancel := context.WithTimeout(ctx, limit)
		at, err := c.Store(limited)
		silent := limited.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return c, &at, nil
		}
		if !silent {
			break
		}
		e := &silentError{pid: listenerOf(ctx, path), waited: limit}
		e.stopped = isStopped(e.pid)
		if e.stopped || limit == silentLimit {
			return nil, nil, errors.Join(e, c.Close())
		}
	}
	return nil, nil, c.Close()
}

// watchHolder tells, once, if the process that a command waits for does not answer
// any more, as one does not that was stopped. The command goes on waiting: it can be
// interrupted. The returned function ends it.
func (a *app) watchHolder(ctx context.Context, c *client.Client) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			limited, cancel := context.WithTimeout(ctx, silentLimit)
			c.Ask(limited)
			silent := limited.Err() != nil && ctx.Err() == nil
			cancel()
			if silent {
				e := &silentError{pid: c.PID(), waited: silentLimit}
				e.stopped = isStopped(e.pid)
				a.notef("waiting: %v", e)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
