package hosts

import (
	"context"
	"io"

	"golang.org/x/time/rate"

	"github.com/dagstore/dagstore/mount"
)

// Opener wraps what o opens.
func (k *Keeper) Opener(o mount.Opener) mount.Opener {
	return func(url string) (mount.Mount, error) {
		m, err := o(url)
		if err != nil || m == nil {
			return m, err
		}
		return k.Wrap(m), nil
	}
}

// Registry returns r with every opener wrapped.
func (k *Keeper) Registry(r mount.Registry) mount.Registry {
	wrapped := make(mount.Registry, len(r))
	for scheme, o := range r {
		wrapped[scheme] = k.Opener(o)
	}
	return wrapped
}

// Wrap returns m under the rules of k: with the same URL, and offering what m
// offers. A source on this machine is returned as it is.
func (k *Keeper) Wrap(m mount.Mount) mount.Mount {
	if _, local := m.(mount.FileOpener); local {
		return m
	}
	w := kept{Mount: m, keeper: k}
	_, ranges := m.(mount.RangeOpener)
	_, siblings := m.(mount.SiblingOpener)
	switch {
	case ranges && siblings:
		return rangedKin{ranged{w}, kin{w}}
	case ranges:
		return ranged{w}
	case siblings:
		return kin{w}
	}
	return w
}

// kept wraps a mount that offers neither ranges nor siblings. The types that
// embed it add what the mount offers, and no more.
type kept struct {
	mount.Mount
	keeper *Keeper
}

type (
	ranged struct{ kept }
	kin    struct{ kept }

	rangedKin struct {
		ranged
		siblings kin
	}
)

// Stat implements [mount.Mount].
func (w kept) Stat(ctx context.Context) (st mount.Stat, err error) {
	err = w.keeper.during(ctx, w.keeper.host(w.URL()), func() error {
		var err error
		st, err = w.Mount.Stat(ctx)
		return err
	})
	return st, err
}

// Open implements [mount.Mount].
func (w kept) Open(ctx context.Context) (io.ReadCloser, error) {
	return w.stream(ctx, func() (io.ReadCloser, error) { return w.Mount.Open(ctx) })
}

// OpenRange implements [mount.RangeOpener].
func (w ranged) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return w.stream(ctx, func() (io.ReadCloser, error) { return mount.OpenRange(ctx, w.Mount, r) })
}

// OpenSibling implements [mount.SiblingOpener].
func (w kin) OpenSibling(suffix string) (mount.Mount, error) {
	m, err := mount.OpenSibling(w.Mount, suffix)
	if err != nil {
		return nil, err
	}
	return w.keeper.Wrap(m), nil
}

// OpenSibling implements [mount.SiblingOpener].
func (w rangedKin) OpenSibling(suffix string) (mount.Mount, error) {
	return w.siblings.OpenSibling(suffix)
}

func (w kept) stream(ctx context.Context, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	h := w.keeper.host(w.URL())
	var r io.ReadCloser
	err := w.keeper.during(ctx, h, func() (err error) {
		r, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &stream{ReadCloser: r, ctx: ctx, keeper: w.keeper, host: h}, nil
}

// A stream is made for one use, and so keeps its context.
type stream struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // see above
	keeper *Keeper
	host   *host
	ended  bool
}

// Read keeps to the bandwidth.
func (s *stream) Read(p []byte) (int, error) {
	limiter := s.keeper.limiter
	if limiter != nil && len(p) > s.keeper.chunk {
		p = p[:s.keeper.chunk]
	}
	n, err := s.ReadCloser.Read(p)
	if err != nil && !s.ended {
		s.ended = true
		if err != io.EOF {
			s.keeper.note(s.ctx, s.host, err)
		}
	}
	if limiter != nil && n > 0 {
		if late := s.pace(limiter, n); late != nil {
			return n, late
		}
	}
	return n, err
}

// pace waits until n bytes were due.
func (s *stream) pace(limiter *rate.Limiter, n int) error {
	switch err := limiter.WaitN(s.ctx, n); {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	}
	return context.DeadlineExceeded // it would be over before
}
