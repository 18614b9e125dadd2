package local

import (
	"context"
	"io"
	"iter"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// pinnedIndex is the index of a handle for those who do not know of pins: an
// accessor hands it to its user.
type pinnedIndex struct{ h *Handle }

func (p pinnedIndex) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	if !p.h.Pin() {
		return dst, p.h.Err()
	}
	defer p.h.Unpin()
	return p.h.index.Find(dst, mh, limit)
}

// All keeps the pin while the loop runs. A loop that runs when the shard is
// severed ends with an error at its next step.
func (p pinnedIndex) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		if !p.h.Pin() {
			yield(index.Record{}, p.h.Err())
			return
		}
		defer p.h.Unpin()
		for rec, err := range p.h.index.All() {
			if gone := p.h.Err(); gone != nil {
				yield(index.Record{}, gone)
				return
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

func (p pinnedIndex) Len() int64 {
	if !p.h.Pin() {
		return 0
	}
	defer p.h.Unpin()
	return p.h.index.Len()
}

// fileStream is a stream over a local source.
type fileStream struct {
	ctx      context.Context //nolint:containedctx // the stream is made for one use, see [Handle.Stream]
	h        *Handle
	off, end int64
}

func (s *fileStream) Read(p []byte) (int, error) {
	if s.off >= s.end {
		return 0, io.EOF
	}
	if !s.h.Pin() {
		return 0, s.h.Err()
	}
	defer s.h.Unpin()
	n, err := s.h.ReadAt(s.ctx, p[:min(int64(len(p)), s.end-s.off)], s.off)
	s.off += int64(n)
	return n, err
}

func (s *fileStream) Close() error {
	s.end = s.off
	return nil
}

// guardedStream is a stream of a mount that ends when its shard is severed or
// the store is closed. It reads no file of the handle, so it needs no pin.
type guardedStream struct {
	io.ReadCloser
	h *Handle
}

func (s *guardedStream) Read(p []byte) (int, error) {
	if err := s.h.Err(); err != nil {
		return 0, err
	}
	n, err := s.ReadCloser.Read(p)
	if s.h.count != nil {
		s.h.count(n)
	}
	return n, err
}
