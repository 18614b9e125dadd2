package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	// patience is how long a client may stand still: with what it is sent, or with
	// what it sends. One that moves, however slowly, is waited for.
	patience = 30 * time.Second
	// morsel is how much has to move in that time.
	morsel = 32 << 10
)

// A paced gives a client time for each piece of an answer. It is of one
// connection, and so is its deadline: each request has to begin with one of its
// own.
type paced struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	unread   bool // there is a body, and its end has not come
}

// pace gives the client time from now on, for an answer and for a body.
func (s *Server) pace(w http.ResponseWriter, r *http.Request) *paced {
	p := &paced{w, http.NewResponseController(w), s.patience, r.Body != nil && r.Body != http.NoBody}
	p.wait()
	if p.unread {
		_ = p.control.SetReadDeadline(time.Now().Add(p.patience)) // where there are deadlines
	}
	return p
}

// end gives the client time for what is left to be sent. What nobody has read of a
// body the server reads itself before that, so there is less time for it.
func (p *paced) end() {
	p.wait()
	if p.unread {
		_ = p.control.SetReadDeadline(time.Now().Add(p.patience / 2)) // where there are deadlines
	}
}

// Unwrap is for [http.ResponseController].
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// wait gives the client time for the next piece.
func (p *paced) wait() {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.patience)) // where there are deadlines
}

// Write implements [http.ResponseWriter].
func (p *paced) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return p.ResponseWriter.Write(b)
	}
	for len(b) > 0 && err == nil {
		var m int
		p.wait()
		m, err = p.ResponseWriter.Write(b[:min(len(b), morsel)])
		n, b = n+m, b[m:]
	}
	return n, err
}

// FlushError is for [http.ResponseController], as Unwrap is.
func (p *paced) FlushError() error {
	p.wait()
	return p.control.Flush()
}

// A pacedBody gives a client time for each piece of a body.
type pacedBody struct {
	io.ReadCloser
	of *paced
}

// limited is a body of which so many bytes are read at most.
func limited(w http.ResponseWriter, body io.ReadCloser, most int64) io.ReadCloser {
	of, ok := w.(*paced)
	if !ok {
		return http.MaxBytesReader(w, body, most)
	}
	// The server's own ResponseWriter closes the connection behind one that is longer.
	body = http.MaxBytesReader(of.ResponseWriter, body, most)
	return &pacedBody{body, of}
}

// Read implements [io.Reader].
func (b *pacedBody) Read(p []byte) (int, error) {
	control := b.of.control
	_ = control.SetReadDeadline(time.Now().Add(b.of.patience)) // where there are deadlines
	n, err := b.ReadCloser.Read(p[:min(len(p), morsel)])
	switch {
	case errors.Is(err, io.EOF):
		// From here on the server watches whether the client is still there.
		b.of.unread = false
		_ = control.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: nothing came for %v", wire.ErrSlow, b.of.patience)
	}
	return n, err
}

// A late is an answer whose head is not sent before its first byte is there: until
// then it can still become a problem.
type late struct {
	http.ResponseWriter
	status int // that is not sent yet; 0: it is, or is not known
}

// WriteHeader implements [http.ResponseWriter].
func (l *late) WriteHeader(status int) { l.status = status }

// Write implements [http.ResponseWriter].
func (l *late) Write(p []byte) (int, error) {
	l.send()
	return l.ResponseWriter.Write(p)
}

// send sends the head, once.
func (l *late) send() {
	if l.status != 0 {
		l.ResponseWriter.WriteHeader(l.status)
		l.status = 0
	}
}

// A source is what is sent. It remembers how the reading of it failed.
type source struct {
	io.ReadSeeker
	failed error
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// Seek implements [io.Seeker].
func (s *source) Seek(offset int64, whence int) (int64, error) {
	at, err := s.ReadSeeker.Seek(offset, whence)
	if err != nil {
		s.failed = err
	}
	return at, err
}
