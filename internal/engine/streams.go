package engine

import "sync"

// streams counts how many streams there are to each host, for copies: one for each
// that is being made, and more of those that are quicker with more. These are never
// more than there may be copies at once.
type streams struct {
	most int

	mu sync.Mutex
	n  map[string]int
}

// begin counts the first stream of a copy.
func (s *streams) begin(host string) { s.add(host, 1) }

// more counts n more streams to a host, unless these are too many.
func (s *streams) more(host string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[host]+n > s.most {
		return false
	}
	s.n[host] += n
	return true
}

// end counts n streams less.
func (s *streams) end(host string, n int) { s.add(host, -n) }

func (s *streams) add(host string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[string]int{}
	}
	if s.n[host] += n; s.n[host] == 0 {
		delete(s.n, host)
	}
}
