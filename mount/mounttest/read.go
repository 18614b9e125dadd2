package mounttest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dagstore/dagstore/mount"
)

// drain reads r to its end with a buffer of size bytes and holds what comes
// against want, byte by byte as it comes. It returns nil only for a proper end
// at the end of want.
func drain(r io.Reader, want []byte, size int) error {
	at := 0
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		if got := buf[:n]; n > 0 {
			if n > len(want)-at {
				return fmt.Errorf("more than the %d bytes that there are", len(want))
			}
			if i := differAt(got, want[at:at+n]); i >= 0 {
				return fmt.Errorf("byte %d is %#02x, not %#02x", at+i, got[i], want[at+i])
			}
			at += n
		}
		switch {
		case err == io.EOF && at < len(want):
			return fmt.Errorf("%w after %d of %d bytes", errShort, at, len(want))
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
}

// errShort is about an end that is not the end.
var errShort = errors.New("io.EOF")

// differAt returns the first place where a and b, of one length, differ, or -1.
func differAt(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// readStream reads what open opens, to its end and once more, and closes it.
func readStream(open func() (io.ReadCloser, error), want []byte, size int) (err error) {
	r, err := opened(open)
	if err != nil {
		return err
	}
	defer func() {
		if closed := r.Close(); err == nil && closed != nil {
			err = fmt.Errorf("close: %w", closed)
		}
	}()
	if err := drain(r, want, size); err != nil {
		return err
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("a Read after io.EOF gives %d bytes and %v", n, err) //nolint:errorlint // err may be nil
	}
	return nil
}

// opened refuses a stream that is none, and watches over one that is.
func opened(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errors.New("neither a stream nor an error")
	}
	return &watched{ReadCloser: r}, nil
}

// watched is a stream that cannot lead its reader astray: one that never gets
// on would be read for ever.
type watched struct {
	io.ReadCloser
	idle int // reads in a row that gave neither bytes nor an error
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("a Read of %d bytes says that it read %d", len(p), n)
	}
	if n > 0 || err != nil {
		w.idle = 0
		return n, err
	}
	if w.idle++; w.idle == 100 {
		return 0, io.ErrNoProgress
	}
	return 0, nil
}

// readFile holds f against want: whole, in pieces, at and over its end.
func readFile(f mount.File, want []byte) error {
	n := len(want)
	for _, at := range marks(n) {
		for _, size := range []int{0, 1, 7, n / 2, n - at, n - at + 1, n + 100} {
			if size < 0 {
				continue
			}
			if err := readAt(f, want, at, size); err != nil {
				return fmt.Errorf("ReadAt of %d bytes at %d of %d: %w", size, at, n, err)
			}
		}
	}
	if m, err := f.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF || m != 0 { //nolint:errorlint // a ReaderAt ends with io.EOF itself
		return fmt.Errorf("ReadAt at -1 gives %d bytes and %v", m, err) //nolint:errorlint // err may be nil
	}
	return nil
}

func readAt(f mount.File, want []byte, at, size int) error {
	buf := make([]byte, size)
	due := min(size, len(want)-at)
	got, err := f.ReadAt(buf, int64(at))
	switch {
	case got != due:
		return fmt.Errorf("%d bytes instead of %d, and %w", got, due, orNil(err))
	case got < size && err != io.EOF: //nolint:errorlint // a ReaderAt ends with io.EOF itself
		return fmt.Errorf("it ends with %w, not io.EOF", orNil(err))
	case err != nil && (err != io.EOF || at+got < len(want)): //nolint:errorlint // the same
		return err
	}
	if i := differAt(buf[:got], want[at:at+got]); i >= 0 {
		return fmt.Errorf("byte %d is %#02x, not %#02x", at+i, buf[i], want[at+i])
	}
	return nil
}

// orNil makes an error of nil that can be wrapped.
func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// marks are places in n bytes where something could go wrong.
func marks(n int) []int {
	all := []int{0, 1, n / 3, n / 2, n - 1, n}
	marks := all[:0]
	for _, at := range all {
		if at >= 0 && at <= n && (len(marks) == 0 || at > marks[len(marks)-1]) {
			marks = append(marks, at)
		}
	}
	return marks
}

// whole returns a function that opens m from its beginning.
func whole(ctx context.Context, m mount.Mount) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return m.Open(ctx) }
}

// part returns a function that opens a range of m.
func part(ctx context.Context, m mount.Mount, r mount.Range) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return mount.OpenRange(ctx, m, r) }
}
