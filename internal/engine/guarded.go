package engine

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/dagstore/dagstore/mount"
)

// mount makes the mount of a URL, guarded.
func (e *Engine) mount(url string, g *guard) (mount.Mount, error) {
	var m mount.Mount
	var err error
	lost := g.during(func() bool {
		m, err = e.cfg.Mounts.Open(url)
		return err == nil
	})
	if err = errors.Join(err, lost); err != nil {
		return nil, err
	}
	return guarded{m, g}, nil
}

// guarded is a mount over which a guard watches, with all that it opens, until
// the guarded work has ended. It has every method of a mount: those that the
// mount itself lacks give the errors for that.
type guarded struct {
	mount.Mount
	g *guard
}

// Stat implements [mount.Mount].
func (m guarded) Stat(ctx context.Context) (mount.Stat, error) {
	return ask(m.g, func() (mount.Stat, error) { return m.Mount.Stat(ctx) }, nil)
}

// Open implements [mount.Mount].
func (m guarded) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.stream(func() (io.ReadCloser, error) { return m.Mount.Open(ctx) })
}

// OpenRange implements [mount.RangeOpener].
func (m guarded) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return m.stream(func() (io.ReadCloser, error) { return mount.OpenRange(ctx, m.Mount, r) })
}

// OpenFile implements [mount.FileOpener].
func (m guarded) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := ask(m.g, func() (mount.File, error) { return mount.OpenFile(ctx, m.Mount) }, mount.File.Close)
	if err != nil {
		return nil, err
	}
	return guardedFile{f, m.g}, nil
}

// OpenSibling implements [mount.SiblingOpener].
func (m guarded) OpenSibling(suffix string) (mount.Mount, error) {
	beside, err := ask(m.g, func() (mount.Mount, error) { return mount.OpenSibling(m.Mount, suffix) }, nil)
	if err != nil {
		return nil, err
	}
	return guarded{beside, m.g}, nil
}

func (m guarded) stream(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := ask(m.g, open, io.ReadCloser.Close)
	if err != nil {
		return nil, err
	}
	return guardedStream{r, m.g}, nil
}

// ask runs a method under g. What it returned too late is thrown away.
func ask[T any](g *guard, method func() (T, error), throw func(T) error) (T, error) {
	var v, none T
	err := errGivenUp
	if lost := g.during(func() bool {
		v, err = method()
		return err == nil
	}); lost != nil {
		if err == nil && throw != nil {
			_ = throw(v) // nobody is left to tell
		}
		return none, lost
	}
	return v, err
}

type guardedStream struct {
	r io.ReadCloser
	g *guard
}

// Read implements [io.Reader].
func (s guardedStream) Read(p []byte) (n int, err error) {
	if lost := s.g.during(func() bool {
		n, err = s.r.Read(p)
		return n > 0
	}); lost != nil {
		return 0, lost
	}
	return n, err
}

// Close implements [io.Closer].
func (s guardedStream) Close() error { return closeGuarded(s.g, s.r) }

type guardedFile struct {
	f mount.File
	g *guard
}

// ReadAt implements [io.ReaderAt].
func (f guardedFile) ReadAt(p []byte, off int64) (n int, err error) {
	if f.g.off.Load() { // for as long as the shard is open
		return f.f.ReadAt(p, off)
	}
	if lost := f.g.during(func() bool {
		n, err = f.f.ReadAt(p, off)
		return n > 0
	}); lost != nil {
		return 0, lost
	}
	return n, err
}

// Plain returns the file itself if the mount's is no more than that: for those
// who read it when the guarded work has ended.
func (f guardedFile) Plain() *os.File {
	if p, ok := f.f.(interface{ Plain() *os.File }); ok {
		return p.Plain()
	}
	return nil
}

// Close implements [io.Closer].
func (f guardedFile) Close() error { return closeGuarded(f.g, f.f) }

// closeGuarded closes c, also for work that was given up.
func closeGuarded(g *guard, c io.Closer) (err error) {
	closed := false
	if lost := g.during(func() bool {
		closed = true
		err = c.Close()
		return true
	}); lost != nil && !closed {
		return c.Close()
	}
	return err
}
