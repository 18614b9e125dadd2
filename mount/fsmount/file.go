package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// opened is a file that is open. Where it ends was settled by then: what is
// appended later is not seen, and what is cut off is missed.
type opened struct {
	mount    file
	file     fs.File
	size     int64 // -1: unknown
	version  string
	modified time.Time
	at       io.ReaderAt // nil: it cannot be read at random
	seeker   io.Seeker   // nil: it cannot be read from anywhere
}

// ReadAt implements [io.ReaderAt].
func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, o.mount.fail("read", fmt.Errorf("%w: offset %d", mount.ErrRange, off))
	case off >= o.size:
		return 0, io.EOF
	}
	want := min(int64(len(p)), o.size-off)
	n, err := o.at.ReadAt(p[:want], off)
	switch {
	case errors.Is(err, io.EOF) && int64(n) < want:
		return n, o.mount.fail("read", o.cut())
	case err != nil && !errors.Is(err, io.EOF):
		return n, o.mount.fail("read", err)
	case want < int64(len(p)):
		return n, io.EOF
	}
	return n, nil
}

// Close implements [io.Closer].
func (o *opened) Close() error {
	if err := o.file.Close(); err != nil {
		return o.mount.fail("close", err)
	}
	return nil
}

func (o *opened) cut() error {
	return fmt.Errorf("it ends before the %d bytes that it had when it was opened: %w", o.size, io.ErrUnexpectedEOF)
}

// stream begins to read at r. It owns the file if it gives no error.
func (o *opened) stream(ctx context.Context, r mount.Range) (*stream, error) {
	if o.at == nil && o.seeker == nil || o.size < 0 {
		return nil, fmt.Errorf("%w: it can be read from its beginning alone", mount.ErrNoRanges)
	}
	if r.Version != "" && r.Version != o.version {
		return nil, fmt.Errorf("%w: it has version %q, not %q", mount.ErrChanged, o.version, r.Version)
	}
	r, err := r.Resolve(o.size)
	if err != nil {
		return nil, err
	}
	s := &stream{ctx: ctx, opened: o, left: r.Length}
	if o.at != nil {
		s.r = io.NewSectionReader(o.at, r.Offset, r.Length)
		return s, nil
	}
	if _, err := o.seeker.Seek(r.Offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: %w", mount.ErrNoRanges, err)
	}
	s.r = o.file
	return s, nil
}

// stream reads what is left of a file.
type stream struct {
	ctx    context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]
	opened *opened
	r      io.Reader
	left   int64 // -1: to the end, wherever that is
	check  bool  // what the file says at its end is still to be heard
	closed bool
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	switch err := s.ctx.Err(); {
	case s.closed:
		return 0, fs.ErrClosed
	case err != nil:
		return 0, err
	case s.left == 0 && s.check:
		return 0, s.atEnd()
	case s.left == 0:
		return 0, io.EOF
	}
	if s.left > 0 {
		p = p[:min(int64(len(p)), s.left)]
	}
	n, err := s.r.Read(p)
	if s.left > 0 {
		s.left -= int64(n)
	}
	switch {
	case err == io.EOF && s.left > 0:
		return n, s.opened.mount.fail("read", s.opened.cut())
	case err == io.EOF && s.left == 0:
		return n, nil // and the next Read is at the end
	case err == io.EOF, err == nil:
		return n, err
	}
	return n, s.opened.mount.fail("read", err)
}

// atEnd reads past the end: only there does an archive say that a checksum does
// not fit. What a file has grown by is not seen.
func (s *stream) atEnd() error {
	var one [1]byte
	if n, err := io.ReadFull(s.r, one[:]); n == 0 && err != io.EOF {
		return s.opened.mount.fail("read", err)
	}
	s.check = false
	return io.EOF
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.opened.Close()
}
