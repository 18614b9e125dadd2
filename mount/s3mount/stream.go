package s3mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// stream is a body that must have as many bytes as its answer has said.
type stream struct {
	ctx    context.Context //nolint:containedctx // it governs this one stream, see mount.Mount
	object *object
	body   io.ReadCloser
	left   int64 // -1: the body says itself where it ends
	err    error // sticky
	closed atomic.Bool
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, fs.ErrClosed
	}
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	if s.left >= 0 && int64(len(p)) > s.left {
		p = p[:max(s.left, 1)] // one more than none shows that it is too long
	}
	n, err := s.body.Read(p)
	switch {
	case s.left == 0 && n > 0:
		n, err = 0, fmt.Errorf("%w: more bytes than it has said", mount.ErrAnswer)
	case s.left > 0:
		s.left -= int64(n)
	}
	switch {
	case err == nil:
		return n, nil
	case s.closed.Load():
		s.err = fs.ErrClosed
	case err != io.EOF: //nolint:errorlint // an io.Reader ends with io.EOF itself
		s.err = s.object.fail(s.ctx, "read", broken(err))
	case s.left > 0:
		s.err = s.object.fail(s.ctx, "read", io.ErrUnexpectedEOF)
	default:
		s.err = io.EOF
	}
	return n, s.err
}

// broken is why a body broke off. What the server has sent is not repeated.
func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, mount.ErrAnswer) || errors.Is(err, mount.ErrStalled) {
		return err
	}
	return unsent(context.Background(), err)
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.body.Close()
}

// step is how many bytes have to come while patience lasts.
const step = 4 << 10

// watched is a body that is given up if it brings too little for too long.
// The time that its reader takes between two reads does not count.
type watched struct {
	io.ReadCloser
	cancel   context.CancelFunc // of its request
	patience time.Duration      // less than 0: for ever
	spent    time.Duration      // in reads, since the last step
	got      int                // bytes since then
	over     atomic.Bool
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (int, error) {
	if w.patience < 0 {
		return w.ReadCloser.Read(p)
	}
	begun := time.Now()
	timer := time.AfterFunc(w.patience-w.spent, func() {
		w.over.Store(true)
		w.cancel()
	})
	n, err := w.ReadCloser.Read(p)
	timer.Stop()
	w.spent += time.Since(begun)
	if w.got += n; w.got >= step {
		w.got, w.spent = 0, 0
	}
	if err != nil && err != io.EOF && w.over.Load() { //nolint:errorlint // an io.Reader ends with io.EOF itself
		err = fmt.Errorf("%w for %v", mount.ErrStalled, w.patience)
	}
	return n, err
}

// Close implements [io.Closer].
func (w *watched) Close() error {
	defer w.cancel()
	return w.ReadCloser.Close()
}
