package segmenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/dagstore/dagstore/internal/segment"
)

// Test checks a place against its contract and returns all laws that it
// breaks, or nil. open opens the place, which is empty the first time, and is
// called again only after the one before was closed or lost. crash makes the
// one that is open be lost with all that was not durable, as if the power had
// failed; Test does not use it after that.
func Test(ctx context.Context, open func() (segment.Place, error), crash func() error) error {
	s := &suite{ctx: ctx, open: open, crash: crash}
	if err := s.reopen(); err != nil {
		return err
	}
	laws := []struct {
		name string
		law  func() error
	}{
		{"what is committed is read, at any length", s.lengths},
		{"nothing is seen before it is committed", s.unseen},
		{"what is aborted was never there", s.aborted},
		{"no segment is ever replaced", s.once},
		{"a writer ends once", s.ended},
		{"what is absent is not found, and removing it is no error", s.absent},
		{"a reader goes on after its segment was removed", s.removed},
		{"a listing has all segments of its kind and no others", s.listing},
		{"many write and read at once", s.concurrent},
		{"a context that has ended stops a call", s.contexts},
		{"what was committed survives a crash, and nothing else is seen", s.survives},
		{"a closed place says so", s.closes},
	}
	var broken []error
	for _, l := range laws {
		if err := l.law(); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(append(broken, s.p.Close(ctx))...)
}

type suite struct {
	ctx   context.Context // of one call of Test
	open  func() (segment.Place, error)
	crash func() error
	p     segment.Place
}

func (s *suite) reopen() (err error) {
	if s.p != nil {
		if err := s.p.Close(s.ctx); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	s.p, err = s.open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

func idx(n uint32) segment.Name   { return segment.Name{Kind: segment.Index, N: n} }
func layer(n uint32) segment.Name { return segment.Name{Kind: segment.Layer, N: n} }

// content is what the suite writes under a name.
func content(name segment.Name, size int) []byte {
	b := bytes.Repeat(fmt.Appendf(nil, "%v;", name), size/8+1)
	return b[:size]
}

func (s *suite) begin(name segment.Name, data []byte) (segment.Writer, error) {
	w, err := s.p.Create(s.ctx, name)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(data, 1000) {
		if n, err := w.Write(chunk); err != nil || n != len(chunk) {
			return nil, errors.Join(fmt.Errorf("write: %d of %d: %w", n, len(chunk), err), w.Abort())
		}
	}
	return w, nil
}

func (s *suite) write(name segment.Name, data []byte) error {
	w, err := s.begin(name, data)
	if err != nil {
		return err
	}
	return w.Commit(s.ctx)
}

func (s *suite) expect(name segment.Name, want []byte) error {
	r, err := s.p.Open(s.ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(same(r, want), r.Close())
}

// same holds a reader against what it must read.
func same(r segment.Reader, want []byte) error {
	if r.Size() != int64(len(want)) {
		return fmt.Errorf("size is %d, want %d", r.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("other bytes")
	}
	if n, err := r.ReadAt(make([]byte, 1), r.Size()); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading at the end: %d, %w", n, err)
	}
	if m := len(want) / 2; m > 0 {
		tail := make([]byte, len(want)) // longer than what is left
		n, err := r.ReadAt(tail, int64(m))
		if !errors.Is(err, io.EOF) || !bytes.Equal(tail[:n], want[m:]) {
			return fmt.Errorf("reading past the end: %d, %w", n, err)
		}
	}
	return nil
}

func (s *suite) missing(name segment.Name) error {
	r, err := s.p.Open(s.ctx, name)
	if err == nil {
		return errors.Join(fmt.Errorf("%v is there", name), r.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %v: %w, want not found", name, err)
	}
	return nil
}

func (s *suite) list(kind segment.Kind) (map[segment.Name]int64, error) {
	sizes := map[segment.Name]int64{}
	for e, err := range s.p.List(s.ctx, kind) {
		if err != nil {
			return nil, err
		}
		if _, twice := sizes[e.Name]; twice {
			return nil, fmt.Errorf("%v is listed twice", e.Name)
		}
		sizes[e.Name] = e.Size
	}
	return sizes, nil
}
