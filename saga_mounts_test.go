package dagstore

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/dagstore/dagstore/mount"
)

// isFar says whether what lies at a place does not lie on this machine: one of
// those that have the same CAR, and the one whose index lies inside.
func isFar(place int) bool { return place == 1 || place == 2 || place == 5 }

// fragile is m, which lies at a place, as a mount that may be down.
func (w *saga) fragile(m mount.Mount, place int) mount.Mount {
	down := whole{m.(mount.RangeOpener), &w.down[place], &w.shy[place]}
	if isFar(place) {
		return down
	}
	return &fragile{down}
}

// whole is a mount that may be down, or shy: then only ranges of it can be read, and
// whoever wants all of it gets its beginning.
// What is open goes on, as with a file: ranges do not ask whether it is down.
type whole struct {
	mount.RangeOpener
	down, shy *atomic.Bool
}

func (m whole) Stat(ctx context.Context) (mount.Stat, error) {
	if m.down.Load() {
		return mount.Stat{}, errDown
	}
	return m.RangeOpener.Stat(ctx)
}

func (m whole) Open(ctx context.Context) (io.ReadCloser, error) {
	if m.down.Load() || m.shy.Load() && !strings.HasSuffix(m.URL(), ".idx") {
		return nil, errDown
	}
	return m.RangeOpener.Open(ctx)
}

// OpenRange implements [mount.RangeOpener].
func (m whole) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	s, err := m.RangeOpener.OpenRange(ctx, r)
	if err == nil && ofAll(r) && m.shy.Load() && !strings.HasSuffix(m.URL(), ".idx") {
		return begun{io.LimitReader(s, beginning), s}, nil
	}
	return s, err
}

// beginning is how many bytes a shy source gives: less than any CAR here has.
const beginning = 200

// begun is a stream of a shy source.
type begun struct {
	io.Reader
	io.Closer
}

func (s begun) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errLater
	}
	return n, err
}

// OpenSibling implements [mount.SiblingOpener]: what lies beside it is down with it.
func (m whole) OpenSibling(suffix string) (mount.Mount, error) {
	beside, err := mount.OpenSibling(m.RangeOpener, suffix)
	if err != nil {
		return nil, err
	}
	return whole{beside.(mount.RangeOpener), m.down, m.shy}, nil
}

// fragile is such a mount of a file. It is never shy.
type fragile struct{ whole }

func (m *fragile) OpenFile(ctx context.Context) (mount.File, error) {
	if m.down.Load() {
		return nil, errDown
	}
	return mount.OpenFile(ctx, m.RangeOpener)
}

func (m *fragile) OpenSibling(suffix string) (mount.Mount, error) {
	beside, err := m.whole.OpenSibling(suffix)
	if err != nil {
		return nil, err
	}
	return &fragile{beside.(whole)}, nil
}
