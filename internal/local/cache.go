package local

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dagstore/dagstore/index"
)

// DefaultIdle is how many handles a cache keeps that nobody holds.
const DefaultIdle = 1024

// A CacheConfig bounds what a [Cache] keeps open that nobody holds.
type CacheConfig struct {
	// Idle is the most handles that nobody holds. 0: DefaultIdle; less: none.
	Idle int
	// Files is the most descriptors, held ones included: if those alone are
	// more, nothing idle is kept. A source that is read in place has one, a
	// mapped index none. 0: half of what the system grants the process.
	Files int
}

// A Cache keeps handles, one for each indexing of a shard. All its methods may
// be called by any number of goroutines at once, and none of them waits for a
// read or does I/O, except that closing files is done by whoever lets go last.
type Cache struct {
	table atomic.Pointer[table] // read without a lock, changed under mu

	mu        sync.Mutex
	ring      ring // those that nobody holds
	maxIdle   int
	maxFiles  int
	files     int                    // descriptors of what is in the table
	held      int                    // handles that somebody holds, lingering ones included
	lingering map[index.ID][]*Handle // out of the table and not closed yet
	left      int                    // how many those are
	closed    bool
	drained   chan struct{} // closed when the cache is, and nothing lingers
}

// NewCache makes an empty cache. Close it when it is no longer used.
func NewCache(cfg CacheConfig) *Cache {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Files == 0 {
		cfg.Files = descriptors() / 2
	}
	c := &Cache{
		maxIdle:   max(0, cfg.Idle),
		maxFiles:  max(0, cfg.Files),
		lingering: make(map[index.ID][]*Handle),
		drained:   make(chan struct{}),
	}
	c.table.Store(newTable(0))
	return c
}

// Lookup returns the handle of id, pinned, if it is open. It takes no lock.
// End the pin with [Handle.Unpin].
func (c *Cache) Lookup(id index.ID) (*Handle, bool) {
	h := c.table.Load().get(id)
	if h == nil || !h.Pin() {
		return nil, false
	}
	if !h.used.Load() { // a store that is not needed would cost every other core its copy
		h.used.Store(true)
	}
	return h, true
}

// Hold returns the handle of id if it is open, and keeps it open and in the
// cache until [Cache.Release].
func (c *Cache) Hold(id index.ID) (*Handle, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.table.Load().get(id)
	if h == nil || h.Err() != nil {
		return nil, false
	}
	c.hold(h)
	return h, true
}

// Put makes the cache the owner of h and returns it held, as Hold does. If
// the cache has a handle of that id already, h is dropped and the other one
// is returned. It is false, and h dropped, after Close.
func (c *Cache) Put(h *Handle) (*Handle, bool) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		h.Drop()
		return nil, false
	}
	var evicted []*Handle
	if old := c.table.Load().get(h.id); old != nil {
		if old.Err() == nil {
			c.hold(old)
			c.mu.Unlock()
			h.Drop()
			return old, true
		}
		c.detach(old) // severed behind our back
		evicted = append(evicted, old)
	}
	c.insert(h)
	c.hold(h)
	evicted = append(evicted, c.evict()...)
	c.mu.Unlock()
	h.OnClose(func() { c.gone(h) })
	drop(evicted)
	return h, true
}

// Release ends one Hold or Put of h. A handle that nobody holds stays open
// until room is needed; one that was removed meanwhile is closed as soon as
// no read of it is in progress. After Close, Release does nothing.
func (c *Cache) Release(h *Handle) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if h.held == 0 {
		c.mu.Unlock()
		panic("local: Release without Hold")
	}
	h.held--
	if h.held > 0 {
		c.mu.Unlock()
		return
	}
	c.held--
	if slices.Contains(c.lingering[h.id], h) { // it was removed
		c.mu.Unlock()
		h.Unpin()
		return
	}
	h.Unpin() // under the lock: the cache's own reference is there, so nothing is closed
	h.used.Store(true)
	c.ring.add(h)
	evicted := c.evict()
	c.mu.Unlock()
	drop(evicted)
}

// Remove takes id out of the cache, held or not: whoever holds it keeps it,
// and nobody gets it any more. Once no handle of id is open, be it at once,
// closed is called unless it is nil, by whoever let go last: it must not
// block. Only then may the file of the index be deleted.
func (c *Cache) Remove(id index.ID, closed func()) {
	c.mu.Lock()
	h := c.table.Load().get(id)
	if h != nil {
		c.detach(h)
	}
	open := slices.Clone(c.lingering[id])
	c.mu.Unlock()

	if closed != nil {
		left := new(atomic.Int64)
		left.Store(int64(len(open)) + 1)
		last := func() {
			if left.Add(-1) == 0 {
				closed()
			}
		}
		for _, o := range open {
			o.OnClose(last)
		}
		defer last()
	}
	if h != nil {
		h.Drop()
	}
}

// Sever removes id from the cache and severs every handle of it that is still
// open, see [Handle.Sever]. Holders release them as ever.
func (c *Cache) Sever(id index.ID) {
	c.mu.Lock()
	h := c.table.Load().get(id)
	if h != nil {
		c.detach(h)
	}
	for _, o := range c.lingering[id] {
		o.Sever()
	}
	c.mu.Unlock()
	if h != nil {
		h.Drop()
	}
}

// Len returns how many handles are in the cache, held and idle.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.Load().live
}

// Stats counts the handles of a cache.
type Stats struct {
	Idle      int // kept because they may be used again
	Held      int // kept because somebody holds them, removed ones included
	Lingering int // removed and not closed yet: held, or read
	Files     int // descriptors of those in the cache
}

// Stats returns how many handles there are.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Idle: c.ring.n, Held: c.held, Lingering: c.left, Files: c.files}
}

// Close lets go of every handle, in place of those who hold one too. Reads in
// progress end in peace; later ones get [ErrClosed]. It waits for none of
// them: see [Cache.Wait]. A second Close does nothing.
func (c *Cache) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	owned := c.table.Load().all()
	for _, h := range owned {
		c.detach(h)
	}
	var surrendered []*Handle
	for _, open := range c.lingering {
		for _, h := range open {
			h.shut()
			if h.held > 0 {
				h.held = 0
				surrendered = append(surrendered, h)
			}
		}
	}
	c.held = 0
	if c.left == 0 {
		close(c.drained)
	}
	c.mu.Unlock()
	drop(owned)
	for _, h := range surrendered {
		h.Unpin()
	}
}

// Wait waits after Close until the last file is closed, or ctx has ended, in
// which case it returns ctx's error.
func (c *Cache) Wait(ctx context.Context) error {
	select {
	case <-c.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What follows is called with mu held, except for gone and drop.

// insert takes h into the table. It is held next, so it is in no ring yet.
func (c *Cache) insert(h *Handle) {
	if t := c.table.Load(); t.full() {
		c.table.Store(t.grown())
	}
	c.table.Load().put(h)
	c.files += h.files()
}

func (c *Cache) hold(h *Handle) {
	if h.held == 0 {
		h.state.Add(1) // not Pin: the owner's reference is there, and it is ours
		c.held++
		c.ring.remove(h)
	}
	h.held++
}

// detach takes h out of the table. Its owner's reference is dropped by the
// caller, without the lock: that may close files.
func (c *Cache) detach(h *Handle) {
	c.table.Load().remove(h)
	c.ring.remove(h)
	c.files -= h.files()
	c.lingering[h.id] = append(c.lingering[h.id], h)
	c.left++
}

// evict detaches idle handles until the rest is within bounds.
func (c *Cache) evict() []*Handle {
	var out []*Handle
	for c.ring.n > c.maxIdle || c.ring.n > 0 && c.files > c.maxFiles {
		h := c.ring.victim()
		c.detach(h)
		out = append(out, h)
	}
	return out
}

// gone is called when h is closed.
func (c *Cache) gone(h *Handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := slices.DeleteFunc(c.lingering[h.id], func(o *Handle) bool { return o == h })
	if len(rest) == 0 {
		delete(c.lingering, h.id)
	} else {
		c.lingering[h.id] = rest
	}
	c.left--
	if c.closed && c.left == 0 {
		close(c.drained)
	}
}

func drop(hs []*Handle) {
	for _, h := range hs {
		h.Drop()
	}
}
