package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A source is the bytes of a CAR. Its size is that at which it was indexed.
type source interface {
	readAt(ctx context.Context, p []byte, off int64) (int, error)
	size() int64
	local() bool
	close() error
}

// bound cuts p to what the source has from off on. The error, if any, is that
// of a read which ends there.
func bound(p []byte, off, size int64) ([]byte, error) {
	switch {
	case off < 0:
		return nil, fmt.Errorf("%w: read at negative offset %d", shard.ErrSource, off)
	case off >= size && len(p) > 0:
		return nil, io.EOF
	case int64(len(p)) > size-off:
		return p[:max(0, size-off)], io.EOF
	}
	return p, nil
}

// fileSource is read in place. It is read by pread and never mapped: a file
// that shrinks under a mapping kills the process.
type fileSource struct {
	file  mount.File
	bytes int64
}

func (s *fileSource) size() int64 { return s.bytes }
func (s *fileSource) local() bool { return true }

func (s *fileSource) close() (err error) {
	defer caught(&err) // whoever lets go last closes: a reader, or the engine's loop
	return s.file.Close()
}

func (s *fileSource) readAt(_ context.Context, p []byte, off int64) (n int, err error) {
	defer caught(&err)
	p, end := bound(p, off, s.bytes)
	if len(p) == 0 {
		return 0, end
	}
	switch n, err = s.file.ReadAt(p, off); {
	case n == len(p):
		return n, end
	case n < 0 || n > len(p):
		return 0, countError(n, len(p))
	}
	return n, s.short(err, off+int64(n))
}

// short is the error of a read that stopped at off, inside of the size at
// which the source was indexed.
func (s *fileSource) short(err error, off int64) error {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends at %d and had %d bytes when it was indexed", shard.ErrChanged, off, s.bytes)
	default:
		return sourceError(err)
	}
}

// rangeSource is read by requests, each for the version that was indexed.
type rangeSource struct {
	mount   mount.Mount
	version string
	bytes   int64
}

func (s *rangeSource) size() int64  { return s.bytes }
func (s *rangeSource) local() bool  { return false }
func (s *rangeSource) close() error { return nil }

func (s *rangeSource) readAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	p, end := bound(p, off, s.bytes)
	if len(p) == 0 {
		return 0, end
	}
	r, err := s.stream(ctx, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err = io.ReadFull(r, p)
	_ = r.Close() // what was to be read is read, or that it was not is known
	if err != nil {
		return n, err
	}
	return n, end
}

func (s *rangeSource) stream(ctx context.Context, off, n int64) (_ io.ReadCloser, err error) {
	defer caught(&err)
	r, err := mount.OpenRange(ctx, s.mount, mount.Range{Offset: off, Length: n, Version: s.version})
	if err != nil {
		return nil, sourceError(err)
	}
	return &rangeStream{r: r, left: n}, nil
}

// maxIdleReads is how often in a row a stream may give neither bytes nor an
// error: whoever reads on until there are enough would read for ever.
const maxIdleReads = 100

// rangeStream holds what a mount sends against what was asked of it: an end
// that comes early is an error, and bytes that come late are not read.
type rangeStream struct {
	r    io.ReadCloser
	left int64
	idle int // reads that gave nothing, since one gave something
}

func (s *rangeStream) Read(p []byte) (n int, err error) {
	defer caught(&err)
	if s.left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.left)]
	if n, err = s.r.Read(p); n < 0 || n > len(p) {
		return 0, countError(n, len(p))
	}
	s.left -= int64(n)
	if n > 0 || len(p) == 0 {
		s.idle = 0
	} else if s.idle++; err == nil && s.idle == maxIdleReads {
		err = io.ErrNoProgress
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && s.left > 0:
		return n, fmt.Errorf("%w: %w: %d bytes are missing", shard.ErrSource, io.ErrUnexpectedEOF, s.left)
	case errors.Is(err, io.EOF):
		return n, io.EOF
	default:
		return n, sourceError(err)
	}
}

func (s *rangeStream) Close() (err error) {
	defer caught(&err)
	return s.r.Close()
}

// countError is of a mount that has read fewer bytes than none, or more than it
// was asked for: whoever reads on with such a number would panic.
func countError(n, of int) error {
	return fmt.Errorf("%w: its mount says that it has read %d of %d bytes", shard.ErrSource, n, of)
}

// sourceError gives an error of a mount the sentinel of package shard that it
// stands for. A context's error stays what it is: it is the caller's own.
func sourceError(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, shard.ErrSource), errors.Is(err, shard.ErrChanged):
		return err
	case errors.Is(err, mount.ErrChanged):
		return fmt.Errorf("%w: %w", shard.ErrChanged, err)
	default:
		return fmt.Errorf("%w: %w", shard.ErrSource, err)
	}
}

// A PanicError is a panic in a mount, which is code of somebody else: it fails
// the read, not the process.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked, for the log
}

// Error names the value, and leaves the stack out.
func (e *PanicError) Error() string { return fmt.Sprintf("panic in its mount: %v", e.Value) }

// caught makes an error of a panic. It is deferred.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %w", shard.ErrSource, &PanicError{Value: p, Stack: debug.Stack()})
	}
}
