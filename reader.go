package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Reader reads a shard under the context that it was made with: when that
// ends, a read that waits on the source returns its error at once. ReadAt may
// be called by many goroutines; Read, Seek and WriteTo share one position. It
// needs no closing. A read past a change of the source wraps
// [shard.ErrChanged]: bytes of two versions are never mixed.
type Reader struct {
	_      noCopy
	ctx    context.Context //nolint:containedctx // a Reader is made for one use, under one context
	a      *Accessor
	first  int64 // of the source
	length int64

	mu  sync.Mutex
	pos int64
}

var (
	_ io.ReadSeeker = (*Reader)(nil)
	_ io.ReaderAt   = (*Reader)(nil)
	_ io.WriterTo   = (*Reader)(nil)
)

// copyBuffer is how much WriteTo reads at once.
const copyBuffer = 1 << 20

// Size returns how many bytes there are.
func (r *Reader) Size() int64 { return r.length }

// ReadAt reads len(p) bytes at off, or up to the end with [io.EOF].
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("dagstore: read at a negative offset")
	}
	if err := r.ctx.Err(); err != nil {
		return 0, r.a.wrap(err)
	}
	h, err := r.a.pin()
	if err != nil {
		return 0, err
	}
	defer h.Unpin()
	if off >= r.length {
		return 0, io.EOF
	}
	var end error
	if rest := r.length - off; int64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := h.ReadAt(r.ctx, p, r.first+off)
	if err != nil {
		return n, r.a.wrap(err)
	}
	return n, end
}

// Read reads from the position on.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF { //nolint:errorlint // ReadAt ends with io.EOF itself
		err = nil
	}
	return n, err
}

// Seek sets the position.
func (r *Reader) Seek(off int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.length
	default:
		return 0, fmt.Errorf("dagstore: seek with unknown whence %d", whence)
	}
	if off < 0 {
		return 0, errors.New("dagstore: seek to before the beginning")
	}
	r.pos = off
	return off, nil
}

// WriteTo writes all from the position on to w, in large pieces. From a source
// that is not on this machine it comes with one request.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read, end, err := r.inOrder()
	if err != nil {
		return 0, err
	}
	defer end()
	buf := make([]byte, min(copyBuffer, max(r.length-r.pos, 0)+1))
	var total int64
	for r.pos < r.length {
		n, err := read(buf)
		if n > 0 {
			m, werr := w.Write(buf[:n])
			total += int64(m)
			r.pos += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		switch {
		case err != nil && err != io.EOF: //nolint:errorlint // ReadAt ends with io.EOF itself
			return total, err
		case n == 0 && err != nil:
			return total, io.ErrUnexpectedEOF
		}
	}
	return total, nil
}

// inOrder returns what reads from the position on, which whoever calls it moves.
func (r *Reader) inOrder() (read func(p []byte) (int, error), end func(), err error) {
	h, err := r.a.pin()
	if err != nil {
		return nil, nil, err
	}
	defer h.Unpin()
	if h.Local() || r.pos >= r.length {
		return func(p []byte) (int, error) { return r.ReadAt(p, r.pos) }, func() {}, nil
	}
	s, err := h.Stream(r.ctx, r.first+r.pos, r.length-r.pos)
	if err != nil {
		return nil, nil, r.a.wrap(err)
	}
	return func(p []byte) (int, error) {
		if err := r.a.usable(); err != nil {
			return 0, err
		}
		n, err := s.Read(p)
		return n, r.a.wrap(err)
	}, func() { _ = s.Close() }, nil // all that was wanted has come, or it is known why not
}
