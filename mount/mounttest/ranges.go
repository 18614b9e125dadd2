package mounttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/dagstore/dagstore/mount"
)

// ranges reads all kinds of ranges that lie in the source. A mount may say
// that its source offers none; but not when Stat says that it does.
func (s *suite) ranges(ctx context.Context) error {
	st, err := s.m.Stat(ctx)
	if err != nil {
		return err
	}
	n := len(s.want)
	for _, at := range marks(n) {
		for _, length := range []int{-1, 0, 1, n / 2, n - at} {
			end := at + length
			if length == -1 {
				end = n
			}
			if end > n {
				continue
			}
			r := mount.Range{Offset: int64(at), Length: int64(length)}
			err := readStream(part(ctx, s.m, r), s.want[at:end], 512)
			if errors.Is(err, mount.ErrNoRanges) && !st.Ranges {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%v of %d: %w", r, n, err)
			}
		}
	}
	return nil
}

// bounds asks for ranges that no source has, or not this one. The mount's own
// method is asked, since mount.OpenRange refuses some of them by itself.
func (s *suite) bounds(ctx context.Context) error {
	ro, ok := s.m.(mount.RangeOpener)
	if !ok {
		return nil
	}
	n := int64(len(s.want))
	for _, r := range []mount.Range{
		{Offset: 0, Length: n + 1},
		{Offset: n / 2, Length: n + 1},
		{Offset: n, Length: 1},
		{Offset: n + 1, Length: 0},
		{Offset: n + 1, Length: -1},
		{Offset: math.MaxInt64, Length: 1},
		{Offset: 1, Length: math.MaxInt64},
		{Offset: -1, Length: 1},
		{Offset: 0, Length: -2},
	} {
		body, err := opened(func() (io.ReadCloser, error) { return ro.OpenRange(ctx, r) })
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			_ = body.Close() // what counts is how it ended
		}
		switch {
		case errors.Is(err, mount.ErrNoRanges):
			return nil // the law of ranges decides whether that is right
		case errors.Is(err, mount.ErrRange), errors.Is(err, io.ErrUnexpectedEOF):
		default:
			return fmt.Errorf("%v of %d gives %w", r, n, orNil(err))
		}
	}
	return nil
}

func (s *suite) version(ctx context.Context) error {
	st, err := s.m.Stat(ctx)
	if err != nil || !st.Ranges {
		return err
	}
	r := mount.Range{Offset: 0, Length: -1, Version: st.Version}
	if err := readStream(part(ctx, s.m, r), s.want, 4096); err != nil {
		return fmt.Errorf("of version %q: %w", r.Version, err)
	}
	r.Version += "-another"
	err = readStream(part(ctx, s.m, r), s.want, 4096)
	if !errors.Is(err, mount.ErrChanged) {
		return fmt.Errorf("of version %q, which it is not: %w", r.Version, orNil(err))
	}
	return nil
}
