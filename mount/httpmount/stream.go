package httpmount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/dagstore/dagstore/mount"
)

// stream is the body of an answer.
type stream struct {
	source *source
	reply  *reply
	left   int64 // bytes that it must still bring; -1: its end will tell
	read   int64
	err    error // what the last Read came to, and all later ones
	closed atomic.Bool
	over   [1]byte // room for what comes after the last byte
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, fs.ErrClosed
	}
	if s.err != nil {
		return 0, s.err
	}
	if err := s.reply.watch.parent.Err(); err != nil {
		return 0, s.end(err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	switch {
	case s.left == 0:
		p = s.over[:] // there should be nothing
	case s.left > 0:
		p = p[:min(int64(len(p)), s.left)]
	}
	s.reply.watch.wait()
	n, err := s.reply.Body.Read(p)
	s.reply.watch.pause(n)
	if s.left == 0 && n > 0 {
		return 0, s.end(fmt.Errorf("%w: its body goes on after the bytes that it announced", mount.ErrAnswer))
	}
	s.read += int64(n)
	if s.left > 0 {
		s.left -= int64(n)
	} else if err := s.source.client.size(s.read); err != nil {
		return 0, s.end(err)
	}
	if err == nil {
		return n, nil
	}
	s.reply.leave() // whoever waits for a place need not wait for Close
	if errors.Is(err, io.EOF) && s.left == 0 && n > 0 {
		return n, nil // and then the end, with the next Read
	}
	return n, s.end(s.cut(err))
}

// cut says what err of the body means.
func (s *stream) cut(err error) error {
	if errors.Is(err, io.EOF) && s.left <= 0 {
		return io.EOF
	}
	err = s.reply.watch.reason(err)
	switch {
	case s.reply.watch.parent.Err() != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, mount.ErrStalled), errors.Is(err, fs.ErrClosed):
		return err
	}
	return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
}

// end keeps what all later reads will give.
func (s *stream) end(err error) error {
	if errors.Is(err, io.EOF) {
		s.err = io.EOF
	} else {
		s.err = s.source.fail("read", err)
	}
	return s.err
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	if !s.closed.Swap(true) {
		s.reply.close()
	}
	return nil
}
