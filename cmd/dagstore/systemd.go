package main

import (
	"context"
	"errors"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// A supervisor is systemd, if that has started us: it wants to know when we
// are ready and when we stop, and may want to hear every now and then that we
// are alive. Without systemd nothing is said.
type supervisor struct {
	alive func(context.Context) error
	stop  context.CancelFunc
	done  chan struct{}
}

// supervised begins to say that we are ready, and that we are alive for as
// long as the loop of store answers. A loop that does not is what the
// watchdog is for: systemd then has the process restarted.
func (a *app) supervised(ctx context.Context, store *dagstore.Store) *supervisor {
	s := &supervisor{done: make(chan struct{}), alive: func(ctx context.Context) error {
		_, err := store.Info(ctx, "watchdog")
		if errors.Is(err, shard.ErrUnknown) {
			return nil // it has answered
		}
		return err
	}}
	ctx, s.stop = context.WithCancel(ctx)
	every, err := daemon.SdWatchdogEnabled(false)
	if err == nil {
		_, err = daemon.SdNotify(false, daemon.SdNotifyReady)
	}
	if err != nil {
		a.notef("systemd could not be told: %v", err)
	}
	go func() {
		defer close(s.done)
		if every > 0 && err == nil {
			s.watch(ctx, every/2)
		}
		<-ctx.Done()
		// The watchdog is told no more: systemd has another patience for stopping.
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) // it will see
	}()
	return s
}

// watch says every so often that we are alive, while we are.
func (s *supervisor) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, every)
		if s.alive(asking) == nil {
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) // who does not hear it restarts us
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// close waits until it is said that we stop, which is said as soon as the
// context of supervised ends.
func (s *supervisor) close() {
	s.stop()
	<-s.done
}
