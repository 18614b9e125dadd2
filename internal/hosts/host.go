package hosts

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A host is what is known of one.
type host struct {
	name string

	mu            sync.Mutex
	failures      int // in a row
	down, probing bool
	prober        context.Context //nolint:containedctx // of the call that finds out whether h is back
	since, until  time.Time       // of down
	pause         time.Duration   // the last one
	busyUntil     time.Time
	busy          int // answers in a row that it is
	last          error
	calls, failed int64
}

// A verdict is what an error says about the host, and not about the source.
type verdict uint8

const (
	neutral verdict = iota // nothing
	reached                // it answered
	missed                 // it did not
	busy                   // it wants to be left alone
)

// judge says what err, of a call under ctx, says about its host.
func judge(ctx context.Context, err error) verdict {
	var (
		onNet *net.OpError
		name  *net.DNSError
		late  net.Error
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
	)
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // a stream's end is never wrapped
		return reached
	case errors.Is(err, mount.ErrDenied), errors.Is(err, mount.ErrUnreachable):
		return neutral // it was not asked
	case errors.Is(err, mount.ErrBusy):
		return busy
	case errors.Is(context.Cause(ctx), shard.ErrStalled):
		return missed // who watched over the call gave it up
	case ctx.Err() != nil:
		return neutral
	case errors.Is(err, mount.ErrStalled), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.As(err, &onNet), errors.As(err, &name), errors.As(err, &cert), errors.As(err, &alert),
		errors.As(err, &late) && late.Timeout():
		return missed
	}
	return reached
}

// whyMissed is err, or why the call was cut off that gave it.
func whyMissed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, shard.ErrStalled) {
		return cause
	}
	return err
}

// enter waits while h is busy, for patience at most, and says how long it did
// and whether this call is the one that finds out whether h is back.
func (h *host) enter(ctx context.Context, cfg *Config, patience time.Duration) (slept time.Duration, probe bool, err error) {
	for {
		h.mu.Lock()
		now := time.Now()
		h.abandoned(cfg, now)
		wait := h.busyUntil.Sub(now)
		switch {
		case h.down && (now.Before(h.until) || h.probing):
			err = h.unreachable()
		case wait > patience-slept:
			err = &mount.BusyError{After: wait, Err: h.last}
		case wait <= 0:
			probe = h.down
			if probe {
				h.probing, h.prober = true, ctx
			}
			h.calls++
		}
		h.mu.Unlock()
		if err != nil || wait <= 0 {
			return slept, probe, err
		}
		slept += wait
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return slept, false, context.Cause(ctx)
		}
	}
}

// abandoned ends the probe whose caller has gone, and that has not returned: a
// mount that heeds no context must not keep everybody else from the host for ever.
func (h *host) abandoned(cfg *Config, now time.Time) {
	if !h.probing || h.prober.Err() == nil {
		return
	}
	cause := context.Cause(h.prober)
	h.probing, h.prober = false, nil
	if errors.Is(cause, shard.ErrStalled) {
		h.failed++
		h.last = cause
		h.rest(cfg, now)
	}
}

// rest leaves a host that is down alone, for twice as long as the last time.
func (h *host) rest(cfg *Config, now time.Time) {
	h.down, h.pause = true, min(max(2*h.pause, cfg.First), cfg.Longest)
	h.until = now.Add(h.pause)
}

// exit says what a call came to. It reports whether h went down or came back.
func (h *host) exit(cfg *Config, probe bool, how verdict, err error) (changed bool, now Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := time.Now()
	if probe {
		h.probing, h.prober = false, nil
	}
	switch how {
	case neutral:
	case reached:
		changed = h.down
		h.failures, h.busy, h.down, h.pause, h.last = 0, 0, false, 0, nil
	case busy: // which a host that is down does not say
		changed = h.down
		h.failures, h.down, h.pause, h.last = 0, false, 0, err
		h.busy++
		h.busyUntil = later(h.busyUntil, at.Add(cfg.leave(h.busy, err)))
	case missed:
		h.failed++
		h.failures++
		h.last = err
		if !probe && (h.down || h.failures < cfg.Failures) {
			break // known already, or borne with
		}
		changed = !h.down
		if changed {
			h.since = at
		}
		h.rest(cfg, at)
	}
	return changed, h.health(at)
}

// leave is how long a host is left alone that says for the n-th time in a row
// that it is busy.
func (cfg *Config) leave(n int, err error) time.Duration {
	if b, ok := errors.AsType[*mount.BusyError](err); ok && b.After > 0 {
		return min(b.After, cfg.Longest)
	}
	return min(cfg.First<<min(n-1, 20), cfg.Longest)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// busyFor is how long h is still left alone.
func (h *host) busyFor() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.busyUntil)
}

func (h *host) unreachable() error {
	return &mount.UnreachableError{Host: h.name, Since: h.since, Until: h.until, Err: h.last}
}

func (h *host) health(now time.Time) Health {
	out := Health{Host: h.name, Down: h.down, Err: h.last, Calls: h.calls, Failed: h.failed}
	if h.down {
		out.Since, out.Until = h.since, h.until
	}
	if h.busyUntil.After(now) {
		out.Until = later(out.Until, h.busyUntil)
	}
	return out
}
