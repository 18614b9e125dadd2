package sftpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/pkg/sftp"
)

const (
	firstRead   = 256 << 10 // bytes
	largestRead = 2 << 20   // in 64 requests of 32 KiB that are under way together
)

// stream reads a part of a file, in reads that grow.
type stream struct {
	mount   *file
	ctx     context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]
	conn    *conn
	channel *channel
	file    *sftp.File
	at      int64  // offset of the next read
	left    int64  // bytes to read
	next    int64  // size of the next read; 0: the first
	buf     []byte // what the last read has brought; owned by a read while one is under way
	unread  []byte // of buf
	err     error  // how it ended
	closed  atomic.Bool
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	switch err := s.ctx.Err(); {
	case s.closed.Load():
		return 0, fs.ErrClosed
	case s.err != nil:
		return 0, s.err
	case err != nil:
		return 0, err
	case len(p) == 0:
		return 0, nil
	}
	if len(s.unread) == 0 {
		if s.left == 0 {
			return 0, io.EOF
		}
		if s.err = s.fill(); s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// fill reads the next bytes.
func (s *stream) fill() error {
	s.next = min(max(s.next*2, firstRead), largestRead)
	n := min(s.next, s.left)
	if int64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	buf, at := s.buf[:n], s.at
	got, err := call(s.ctx, s.conn, func() (int, error) { return s.readAt(buf, at) }, func(int) {})
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		return s.broken(fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, s.conn.explain(err)))
	case int64(got) < n:
		return s.broken(fmt.Errorf("the file ends at %d now: %w", at+int64(got), io.ErrUnexpectedEOF))
	}
	s.at, s.left, s.unread = s.at+n, s.left-n, buf
	return nil
}

// readAt reads when it is its turn.
func (s *stream) readAt(p []byte, off int64) (int, error) {
	reads := s.conn.host.reads
	select {
	case reads <- struct{}{}:
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-s.conn.gone:
		return 0, errLost
	}
	defer func() { <-reads }()
	return s.file.ReadAt(p, off)
}

func (s *stream) broken(err error) error {
	return s.mount.fail("read", fmt.Errorf("at byte %d: %w", s.at, err))
}

// Close implements [io.Closer]. The server is told aside.
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if !s.conn.host.hosts.begin() {
		s.conn.leave(s.channel)
		return nil
	}
	go func() {
		defer s.conn.host.hosts.work.Done()
		_, _ = caught(func() (none struct{}, err error) { return none, s.file.Close() }) // nothing was written to it
		s.conn.leave(s.channel)
	}()
	return nil
}
