package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/mount"
)

// A tee writes what is read of a source to a copy. The source is read beside,
// see [pump]. What the copy has already is read of that. A tee is to be closed.
type tee struct {
	ctx    context.Context //nolint:containedctx // of the one reading
	cancel context.CancelFunc
	e      *Engine
	from   *spread
	pump   *pump
	fill   *copies.Fill
	begun  int64 // bytes that the copy had at the beginning
	buf    []byte

	left  []byte // of what came last, and is written
	off   int64  // bytes that were read, without these
	since int64  // bytes since the last look at the disk
	err   error  // of our disk, or of the quota
}

// newTee returns a tee from m to fill.
func (e *Engine) newTee(ctx context.Context, m mount.Mount, st mount.Stat, fill *copies.Fill) *tee {
	t := &tee{e: e, fill: fill, begun: fill.Size()}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.from = newSpread(t.ctx, m, st, t.begun, &e.streams)
	left := st.Size
	if left >= 0 {
		left -= t.begun
	}
	t.pump = newPump(t.from, left)
	return t
}

// Read implements [io.Reader].
func (t *tee) Read(p []byte) (int, error) {
	if len(t.left) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	t.off += int64(n)
	return n, nil
}

// next has more read and written. What is left of what came before is passed
// over.
func (t *tee) next() error {
	t.off += int64(len(t.left))
	t.left = nil
	if t.err != nil {
		return t.err
	}
	if t.off < t.begun {
		return t.again()
	}
	data, err := t.pump.next()
	if err != nil {
		return err
	}
	if t.since += int64(len(data)); t.since >= lookForRoom {
		t.since, t.err = 0, t.e.roomy()
	}
	if t.err == nil {
		t.err = t.fill.Write(t.ctx, data)
	}
	if t.err != nil {
		return t.err
	}
	t.left = data
	return nil
}

// again reads what the copy had at the beginning.
func (t *tee) again() error {
	if t.buf == nil {
		t.buf = make([]byte, min(pumpRead, t.begun))
	}
	buf := t.buf[:min(int64(len(t.buf)), t.begun-t.off)]
	if n, err := t.fill.ReadAt(buf, t.off); n < len(buf) {
		t.err = fmt.Errorf("what was fetched before: %w", err)
		return t.err
	}
	t.left = buf
	return nil
}

// skip passes over what the copy has already.
func (t *tee) skip() { t.off = t.begun }

// Close ends the reading, and waits until nobody is left in the source.
func (t *tee) Close() error {
	if t.pump != nil {
		t.cancel()
		t.pump.stop()
		t.pump = nil
	}
	return nil
}

// rest reads the source to its end, and makes the copy complete.
func (t *tee) rest(told func(done int64)) error {
	for {
		err := t.next()
		if err == nil {
			told(t.off + int64(len(t.left)))
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			return t.e.noSpace(t.fill.Commit())
		case t.err == nil:
			return err
		default:
			return t.e.noSpace(err)
		}
	}
}
