package dagstore

import (
	"slices"
	"sync"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

const (
	maxFaultyShards = 1024 // of which damage met by reads is remembered
	maxFaultyBlocks = 16   // of each of them that are listed
)

// faults is the damage that reads have met since the store was opened, by the
// indexing of the shard, so that another CAR under its key begins without any.
// What indexing found is in the record; the two are shown together.
type faults struct {
	mu sync.Mutex
	of map[index.ID]*faulty
}

// faulty is the damage in one shard: each offset counts once.
type faulty struct {
	seen map[int64]struct{}
	list []shard.Fault
}

// add remembers f, and reports whether it is new.
func (s *faults) add(id index.ID, f *shard.Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[index.ID]*faulty{}
	}
	have := s.of[id]
	if have == nil {
		if len(s.of) == maxFaultyShards {
			for some := range s.of { // whichever: it is met again if it is read again
				delete(s.of, some)
				break
			}
		}
		have = &faulty{seen: map[int64]struct{}{}}
		s.of[id] = have
	}
	if _, ok := have.seen[f.Offset]; ok {
		return false
	}
	if len(have.seen) == maxFaultyShards {
		return false
	}
	have.seen[f.Offset] = struct{}{}
	if len(have.list) < maxFaultyBlocks {
		have.list = append(have.list, *f)
	}
	return true
}

// merge adds to in what reads have met in the indexing of its shard that id is.
func (s *faults) merge(id index.ID, in *shard.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.of[id]
	if have == nil {
		return
	}
	known := 0
	for _, f := range in.Faulty {
		if _, ok := have.seen[f.Offset]; ok {
			known++
		}
	}
	in.Faults += int64(len(have.seen) - known)
	for _, f := range have.list {
		if len(in.Faulty) < maxFaultyBlocks && !slices.ContainsFunc(in.Faulty, func(g shard.Fault) bool { return g.Offset == f.Offset }) {
			in.Faulty = append(in.Faulty, f)
		}
	}
}
