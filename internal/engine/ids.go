package engine

import (
	"context"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// ids gives out the numbers of index files and layers: each once, from ranges
// that are reserved durably before the first of them is used. Of index files
// it knows which are on their way: no record names them, and yet they are not
// left behind by anybody.
type ids struct {
	reserve func(ctx context.Context, n uint32) (first uint32, err error)

	mu         sync.Mutex
	free, last uint32 // free ≤ n < last may be given out

	way     sync.Mutex            // never held over I/O: the loop takes it
	writing map[index.ID]struct{} // being written, or in a batch that is not on disk yet
	doomed  roaring.Bitmap        // dead, and to be removed once nobody reads them
	stuck   roaring.Bitmap        // dead, and could not be removed
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
	}
	n := s.free
	s.free++
	return n, nil
}

// index is next for an index file, which is on its way from then on.
func (s *ids) index(ctx context.Context) (index.ID, error) {
	n, err := s.next(ctx)
	if err != nil {
		return 0, err
	}
	s.way.Lock()
	defer s.way.Unlock()
	if s.writing == nil {
		s.writing = map[index.ID]struct{}{}
	}
	s.writing[index.ID(n)] = struct{}{}
	return index.ID(n), nil
}

// written says that a record on disk names id, or that it was given up.
func (s *ids) written(id index.ID) {
	s.way.Lock()
	defer s.way.Unlock()
	delete(s.writing, id)
}

// doom says that the file of id is to be removed, before that is on disk.
func (s *ids) doom(id index.ID) {
	s.way.Lock()
	defer s.way.Unlock()
	delete(s.writing, id)
	s.stuck.Remove(uint32(id))
	s.doomed.Add(uint32(id))
}

// removed says that the file of id is gone, or could not be removed.
func (s *ids) removed(id index.ID, err error) {
	s.way.Lock()
	defer s.way.Unlock()
	s.doomed.Remove(uint32(id))
	if err != nil {
		s.stuck.Add(uint32(id))
	}
}

// takeStuck returns what could not be removed, for another try.
func (s *ids) takeStuck() []uint32 {
	s.way.Lock()
	defer s.way.Unlock()
	again := s.stuck.ToArray()
	s.doomed.Or(&s.stuck)
	s.stuck.Clear()
	return again
}

// remembered reports whether id, which is dead, may have a file still.
func (s *ids) remembered(id index.ID) bool {
	s.way.Lock()
	defer s.way.Unlock()
	return s.doomed.Contains(uint32(id)) || s.stuck.Contains(uint32(id))
}

// knows reports whether id is on its way. An id that is not, and that is after
// that no shard's, can never become one's: what there is of it was left behind.
func (s *ids) knows(id index.ID) bool {
	s.way.Lock()
	defer s.way.Unlock()
	_, writing := s.writing[id]
	return writing || s.doomed.Contains(uint32(id)) || s.stuck.Contains(uint32(id))
}
