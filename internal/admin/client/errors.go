package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// The errors of a client, besides those that it is told.
var (
	// ErrGone is what a request meets behind which nobody is any more: the process
	// that held the store has ended, or has been ended.
	ErrGone = errors.New("the process that holds the store has gone away")
	// ErrBroken is of an answer that broke off although that process is there: it
	// could not complete it, or has given up one that was read too slowly.
	ErrBroken = errors.New("the process that holds the store broke off its answer")
	// ErrUnsure comes with one of these, for a request that is not to be made
	// twice: it was sent, and may have been carried out.
	ErrUnsure = errors.New("it is not known whether that was done")
	// ErrAnswer is of an answer that makes no sense.
	ErrAnswer = errors.New("the process that holds the store gives an answer that makes no sense")
)

// aliveLimit is how long a process may take to say that it is there.
const aliveLimit = 15 * time.Second

// broke says of a request that broke off what it means: if its context has not
// ended, either nobody is there any more, or somebody is who broke it off.
func (c *Client) broke(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What it asks ends with ctx, too.
	if c.alive(ctx) {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// Ask waits until the process says something, whatever that is, or ctx ends. It
// counts as no answer.
func (c *Client) Ask(ctx context.Context) { c.alive(ctx) }

// PID is the process that was asked first; 0: none has said who it is.
func (c *Client) PID() int {
	if met := c.met.Load(); met != nil {
		return met.PID
	}
	return 0
}

// alive reports whether the process is still there that was asked first.
func (c *Client) alive(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, aliveLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(limited, http.MethodGet, c.base+"/store", nil)
	if err != nil {
		return false
	}
	c.show(r)
	response, err := c.http.RoundTrip(r)
	if err != nil {
		return limited.Err() != nil // one that is silent has not gone away
	}
	defer response.Body.Close()
	var is wire.Store
	switch err := readJSON(response.Body, &is); {
	case response.StatusCode >= 300:
		return true // somebody is there, and says no
	case err != nil:
		return false
	}
	met := c.met.Load()
	return met == nil || met.PID == is.PID && met.Started.Equal(is.Started)
}

// A body is what is read of an answer. It remembers how the reading failed, so
// that an answer that broke off is told from one that makes no sense.
type body struct {
	io.ReadCloser
	failed error
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = err
	}
	return n, err
}

// A source is what is sent. It remembers why there is no more of it.
type source struct {
	r      io.Reader
	failed atomic.Pointer[error]
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed.Store(&err)
	}
	return n, err
}

// wrong says what err means, which came of reading b.
func (c *Client) wrong(ctx context.Context, b *body, err error) error {
	if b.failed != nil {
		return c.broke(ctx, b.failed)
	}
	return fmt.Errorf("%w: %w", ErrAnswer, err)
}
