package dag

import (
	"container/list"
	"sync"

	"github.com/ipfs/go-cid"
)

// maxRemembered bounds the blocks of the nodes that an FS remembers, in bytes.
const maxRemembered = 16 << 20

// nodes are those that were used last. The zero value has none.
type nodes struct {
	mu     sync.Mutex
	of     map[cid.Cid]*list.Element
	recent list.List // of *node, the last used in front
	weight int
}

func (s *nodes) get(c cid.Cid) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of[c]
	if e == nil {
		return nil
	}
	s.recent.MoveToFront(e)
	return e.Value.(*node) // there is nothing else in it
}

func (s *nodes) put(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[cid.Cid]*list.Element)
	}
	if _, ok := s.of[n.cid]; ok || n.weight > maxRemembered/2 {
		return
	}
	s.of[n.cid] = s.recent.PushFront(n)
	s.weight += n.weight + 256 // for what is not in the block
	for s.weight > maxRemembered {
		oldest := s.recent.Back()
		gone := s.recent.Remove(oldest).(*node) // as above
		delete(s.of, gone.cid)
		s.weight -= gone.weight + 256
	}
}
