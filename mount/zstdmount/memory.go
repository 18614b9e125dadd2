package zstdmount

import (
	"container/list"
	"sync"
)

// maxMemory is how many bytes the facts that are remembered may take.
const maxMemory = 16 << 20

// memory keeps the facts of the sources that were asked about last.
type memory struct {
	mu    sync.Mutex
	byURL map[string]*list.Element
	order list.List // of remembered; the last asked about is in front
	cost  int64
}

type remembered struct {
	url   string
	facts *facts
}

func newMemory() *memory { return &memory{byURL: make(map[string]*list.Element)} }

// get returns what is known of a version, or nil. A source without a version
// is not known.
func (m *memory) get(url, version string) *facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byURL[url]
	if e == nil || version == "" {
		return nil
	}
	known := e.Value.(remembered).facts
	if known.version != version {
		return nil
	}
	m.order.MoveToFront(e)
	return known
}

func (m *memory) put(url string, f *facts) {
	if f.cost() > maxMemory/2 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byURL[url]; e != nil {
		m.drop(e)
	}
	m.byURL[url] = m.order.PushFront(remembered{url, f})
	m.cost += f.cost() + int64(len(url))
	for m.cost > maxMemory {
		m.drop(m.order.Back())
	}
}

func (m *memory) drop(e *list.Element) {
	r := m.order.Remove(e).(remembered)
	delete(m.byURL, r.url)
	m.cost -= r.facts.cost() + int64(len(r.url))
}
