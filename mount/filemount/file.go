package filemount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dagstore/dagstore/mount"
)

// opened is a file that is open. Where it ends was settled by then: what is
// appended later is not seen, and what is cut off is missed.
type opened struct {
	mount   *file
	file    *os.File
	size    int64
	version string
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
	n, err := o.file.ReadAt(p[:want], off)
	switch {
	case errors.Is(err, io.EOF) && int64(n) < want:
		return n, o.mount.fail("read", o.cut(off, n))
	case err != nil && !errors.Is(err, io.EOF):
		return n, o.mount.fail("read", err)
	case want < int64(len(p)):
		return n, io.EOF
	}
	return n, nil
}

// Plain returns the file itself. What reads it past ReadAt sees to the bounds
// and to the reason of a failure by itself.
func (o *opened) Plain() *os.File { return o.file }

// cut says that the file has become shorter. Where it ends is known only if
// the read came upon n bytes before that.
func (o *opened) cut(off int64, n int) error {
	if n == 0 {
		return fmt.Errorf("it had %d bytes when it was opened and none at %d now: %w", o.size, off, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("it had %d bytes when it was opened and ends at %d now: %w", o.size, off+int64(n), io.ErrUnexpectedEOF)
}

// Close implements [io.Closer].
func (o *opened) Close() error {
	if err := o.file.Close(); err != nil {
		return o.mount.fail("close", err)
	}
	return nil
}

// stream reads a file from one offset to another.
type stream struct {
	ctx     context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]
	file    *opened
	at, end int64
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.at == s.end {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.end-s.at)], s.at)
	s.at += int64(n)
	return n, err
}

// Close implements [io.Closer].
func (s *stream) Close() error { return s.file.Close() }
