package engine

import (
	"sync"

	"github.com/dagstore/dagstore/shard"
)

// adrift are the openings that were given up and have not returned yet. While
// there is one of a shard at a place, no other is begun there: else each
// Acquire would leave one more goroutine in a mount that heeds nothing.
type adrift struct {
	mu sync.Mutex
	n  map[anchorage]int // never 0; for a moment less, if one returns as it is given up
}

// An anchorage is where an opening is: one at another place is not its fault.
type anchorage struct {
	key shard.Key
	url string
}

func (o *opening) anchorage() anchorage { return anchorage{o.record.Key, o.record.URL} }

// add counts openings that were given up, or with -1 one that has returned.
func (a *adrift) add(at anchorage, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[anchorage]int{}
	}
	a.n[at] += n
	if a.n[at] == 0 {
		delete(a.n, at)
	}
}

// has reports whether an opening there has not returned.
func (a *adrift) has(at anchorage) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[at] > 0
}
