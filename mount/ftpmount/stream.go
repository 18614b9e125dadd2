package ftpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/dagstore/dagstore/mount"
)

// stream is a transfer. Between two reads it may be parked: its session is
// given to somebody else, and the next read goes on with another one.
type stream struct {
	file *file
	ctx  context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]

	mu      sync.Mutex // held by Read, Close and park
	session *session   // nil: parked, or nothing is left
	body    *ftp.Response
	at      int64 // offset of the next byte
	left    int64 // -1: until the server says that it ends
	version string
	last    time.Time // of the last read
	err     error     // how it ended
	closed  bool
}

// begin asks for r.
func (st *stream) begin(r mount.Range) error {
	var (
		body *ftp.Response
		is   mount.Stat
	)
	s, err := st.file.with(st.ctx, func(s *session) (err error) {
		body, is, r, err = s.retrieve(st.file.place.argument(), r)
		return err
	})
	if err != nil {
		return err
	}
	st.at, st.left, st.version = r.Offset, r.Length, is.Version
	if body == nil {
		s.host.release(s, true)
		return nil
	}
	st.session, st.body = s, body
	s.host.held(st, true)
	return nil
}

// Read implements [io.Reader].
func (st *stream) Read(p []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch err := st.ctx.Err(); {
	case st.closed:
		return 0, fs.ErrClosed
	case st.err != nil:
		return 0, st.err
	case err != nil:
		return 0, err
	case st.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	defer func() { st.last = time.Now() }()
	if st.session == nil {
		if err := st.resume(); err != nil {
			st.err = st.file.fail("read", err)
			return 0, st.err
		}
	}
	n, err := st.read(p)
	if err != nil {
		st.err = err
	}
	return n, err
}

// resume goes on after a stream was parked.
func (st *stream) resume() error {
	return st.begin(mount.Range{Offset: st.at, Length: st.left, Version: st.version})
}

func (st *stream) read(p []byte) (n int, err error) {
	if st.left > 0 {
		p = p[:min(int64(len(p)), st.left)]
	}
	ended := st.session.during(st.ctx, func() error {
		n, err = st.body.Read(p)
		return nil
	})
	st.at += int64(n)
	if st.left > 0 {
		st.left -= int64(n)
	}
	switch {
	case ended != nil:
		return 0, ended
	case err == nil, errors.Is(err, io.EOF) && st.left == 0:
		return n, nil // and the next Read is at the end
	case errors.Is(err, io.EOF) && st.left == -1:
		return n, st.atEnd()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return n, st.file.fail("read", fmt.Errorf("the transfer has broken off at byte %d: %w", st.at, io.ErrUnexpectedEOF))
	}
	return n, st.file.fail("read", fmt.Errorf("the transfer has broken off at byte %d: %w: %w", st.at, io.ErrUnexpectedEOF, explain(err)))
}

// atEnd asks the server whether that was all: nothing else says so if the size
// is not known.
func (st *stream) atEnd() error {
	s := st.session
	err := s.during(st.ctx, st.body.Close)
	st.let(s, err == nil)
	switch {
	case st.ctx.Err() != nil:
		return st.ctx.Err()
	case err != nil:
		return st.file.fail("read", fmt.Errorf("the transfer has broken off at byte %d: %w: %w", st.at, io.ErrUnexpectedEOF, s.explain(err)))
	}
	return io.EOF
}

// let lets go of the session.
func (st *stream) let(s *session, well bool) {
	st.session, st.body = nil, nil
	s.host.held(st, false)
	s.host.release(s, well)
}

// park gives the session up if nobody has read for a while, and reports whether
// it did. A stream that could not go on safely is left alone.
func (st *stream) park(unread time.Duration) bool {
	if !st.mu.TryLock() { // it is being read
		return false
	}
	defer st.mu.Unlock()
	if st.session == nil || st.version == "" || time.Since(st.last) < unread {
		return false
	}
	st.drop()
	return true
}

// drop ends the transfer aside: its server may take a while to answer, and its
// session is used again if it does.
func (st *stream) drop() {
	s, body := st.session, st.body
	st.session, st.body = nil, nil
	s.host.held(st, false)
	if st.ctx.Err() != nil || !s.host.hosts.begin() {
		s.host.release(s, false)
		return
	}
	go func() {
		defer s.host.hosts.work.Done()
		s.host.release(s, s.finish(body))
	}()
}

// Close implements [io.Closer].
func (st *stream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.closed && st.session != nil {
		st.drop()
	}
	st.closed = true
	return nil
}
