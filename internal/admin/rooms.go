package admin

import (
	"fmt"
	"sync"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	mostRequests = 256 // that are answered at once over TCP, and as many over the socket
	mostOfOne    = 64  // of these, of one token, or of the browsers that it has let in
)

// rooms bound how many requests are answered at once. Who may look at the store
// cannot keep others from it, and least of all its owner, by requests that last, as
// those for events do.
type rooms struct {
	mu  sync.Mutex
	tcp int
	of  map[string]int
}

// enter takes room for a request of c, which leave gives back.
func (m *rooms) enter(c *caller) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name, most, local := c.bound(), mostOfOne, c.local
	if local {
		most = mostRequests
	}
	switch {
	case m.of[name] >= most:
		return nil, fmt.Errorf("%w: %d requests of %s are being answered", wire.ErrTooMany, most, c.who)
	case !local && m.tcp >= mostRequests:
		return nil, fmt.Errorf("%w: %d requests are being answered", wire.ErrTooMany, mostRequests)
	}
	if m.of == nil {
		m.of = make(map[string]int)
	}
	m.of[name]++
	if !local {
		m.tcp++
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.of[name]--; m.of[name] == 0 {
			delete(m.of, name)
		}
		if !local {
			m.tcp--
		}
	}, nil
}
