package local

import (
	"context"
	"io"
)

// A Through keeps what is read of a source that lies elsewhere, and reads it from
// there the next time. It is for one version of the source.
type Through interface {
	// ReadAt fills p from off in the source, which has all of it, with what is
	// kept and with what open brings.
	ReadAt(ctx context.Context, p []byte, off int64, open func(ctx context.Context, off, n int64) (io.ReadCloser, error)) error

	// Stream is such a read of n bytes in order, with as few calls of open as that
	// takes.
	Stream(ctx context.Context, off, n int64, open func(ctx context.Context, off, n int64) (io.ReadCloser, error)) io.ReadCloser

	io.Closer
}

// A throughSource is a source that lies elsewhere and of which parts are kept here.
type throughSource struct {
	rangeSource
	kept Through
}

// readThrough wraps what was opened for spec, if it is of the version that its
// Through is for.
func readThrough(spec Spec, src source, doubted bool) source {
	far, ok := src.(*rangeSource)
	if !ok || spec.Through == nil || doubted || far.version == "" || far.version != spec.Source.Version {
		return src
	}
	return &throughSource{*far, spec.Through}
}

func (s *throughSource) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	p, end := bound(p, off, s.bytes)
	if len(p) == 0 {
		return 0, end
	}
	err := s.kept.ReadAt(ctx, p, off, s.stream)
	if err != nil {
		return 0, err
	}
	return len(p), end
}

// throughStream is a stream over such a source. What is kept can be read while the
// handle is open.
type throughStream struct {
	io.ReadCloser
	h *Handle
}

func (s *throughStream) Read(p []byte) (int, error) {
	if !s.h.Pin() {
		return 0, s.h.Err()
	}
	defer s.h.Unpin()
	n, err := s.ReadCloser.Read(p)
	if s.h.count != nil {
		s.h.count(n)
	}
	return n, err
}
