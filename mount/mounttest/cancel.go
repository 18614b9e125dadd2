package mounttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dagstore/dagstore/mount"
)

func (s *suite) cancel(ctx context.Context) error {
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	expired, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	for _, ended := range []context.Context{canceled, expired} {
		if err := s.afterEnd(ended); err != nil {
			return err
		}
	}
	for _, at := range marks(len(s.want)) {
		err := s.cancelAt(ctx, at, s.want, func(ctx context.Context) (io.ReadCloser, error) { return s.m.Open(ctx) })
		if err != nil {
			return fmt.Errorf("Open, canceled after %d bytes: %w", at, err)
		}
	}
	return s.cancelRange(ctx)
}

// cancelRange cancels in the middle of a range.
func (s *suite) cancelRange(ctx context.Context) error {
	st, err := s.m.Stat(ctx)
	if err != nil || !st.Ranges || len(s.want) < 3 {
		return err
	}
	open := func(ctx context.Context) (io.ReadCloser, error) {
		return mount.OpenRange(ctx, s.m, mount.Range{Offset: 1, Length: -1})
	}
	if err := s.cancelAt(ctx, len(s.want)/2, s.want[1:], open); err != nil {
		return fmt.Errorf("OpenRange, canceled: %w", err)
	}
	return nil
}

// afterEnd calls every method with a context that has ended.
func (s *suite) afterEnd(ended context.Context) error {
	calls := []struct {
		name string
		do   func() error
	}{
		{"Stat", func() error { _, err := s.m.Stat(ended); return err }},
		{"Open", func() error { return readStream(whole(ended, s.m), s.want, 512) }},
		{"OpenRange", func() error { return readStream(part(ended, s.m, mount.Range{Length: -1}), s.want, 512) }},
		{"OpenFile", func() error {
			f, err := mount.OpenFile(ended, s.m)
			if f != nil {
				_ = f.Close() // that it was opened is the fault
			}
			return err
		}},
	}
	for _, c := range calls {
		err := s.guard(ended, c.do)
		if errors.Is(err, mount.ErrNoRanges) || errors.Is(err, mount.ErrNotLocal) {
			continue
		}
		if !errors.Is(err, ended.Err()) {
			return fmt.Errorf("%s, with a context that has ended: %w", c.name, orNil(err))
		}
	}
	return nil
}

// cancelAt reads a stream up to a place, ends its context, and reads on. What
// is buffered may still come; it must be right, and the end must be told apart
// from one that was cut.
func (s *suite) cancelAt(ctx context.Context, at int, want []byte, open func(context.Context) (io.ReadCloser, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := opened(func() (io.ReadCloser, error) { return open(ctx) })
	if err != nil {
		return err
	}
	head := make([]byte, at)
	if _, err := io.ReadFull(r, head); err != nil {
		return errors.Join(err, r.Close())
	}
	cancel()
	err = s.guard(ctx, func() error {
		err := drain(r, want[at:], 512)
		_ = r.Close() // a stream that was canceled may say so again
		return err
	})
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
