package engine

import (
	"context"
	"sync"
)

// ids gives out the numbers of index files and layers: each once, from ranges
// that are reserved durably before the first of them is used.
type ids struct {
	reserve func(ctx context.Context, n uint32) (first uint32, err error)

	mu         sync.Mutex
	free, last uint32 // free ≤ n < last may be given out
	base       uint32 // the first number of this process; 0: it has none
}

const idRange = 1024

// next returns a number that was never given out before. It may commit.
func (s *ids) next(ctx context.Context) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == s.last {
		first, err := s.reserve(ctx, idRange)
		if err != nil {
			return 0, err
		}
		s.free, s.last = first, first+idRange
		if s.base == 0 {
			s.base = first
		}
	}
	n := s.free
	s.free++
	return n, nil
}

// foreign reports whether n was given out by an earlier process. It must be
// asked after n was seen: numbers of this process are known before they are used.
func (s *ids) foreign(n uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base == 0 || n < s.base
}
