package sftpmount

import (
	"context"
	"net"
	"time"
)

// call calls f, which waits for a server, and returns when it does or when ctx
// ends. Then the connection has a while to come to its end, for others may use
// it, and what f returns is given to late.
func call[T any](ctx context.Context, c *conn, f func() (T, error), late func(T)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !c.host.hosts.begin() {
		return none, net.ErrClosed
	}
	done, left := make(chan outcome), make(chan *time.Timer, 1)
	go func() {
		defer c.host.hosts.work.Done()
		v, err := caught(f)
		select {
		case done <- outcome{v, err}:
		case patience := <-left:
			patience.Stop()
			if err == nil {
				late(v)
			}
		}
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-ctx.Done():
		left <- time.AfterFunc(c.host.cfg.StallTime, c.kill)
		return none, ctx.Err()
	}
}

// caught is what f returns, and errPanic if it has panicked: it is a goroutine
// of ours that it runs in, where nobody else would catch that.
func caught[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	return f()
}
