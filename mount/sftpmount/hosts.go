package sftpmount

import (
	"context"
	"net"
	"sync"
	"time"
)

// hosts are those that were asked for, with the connections to them.
type hosts struct {
	cfg    Config
	work   sync.WaitGroup // goroutines that wait for servers
	life   chan struct{}  // closed by close
	mu     sync.Mutex
	closed bool
	byName map[string]*host
}

func newHosts(c Config) *hosts {
	return &hosts{cfg: c, life: make(chan struct{}), byName: make(map[string]*host)}
}

// of returns the host of p.
func (hs *hosts) of(p place) *host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.byName[p.name()]
	if h == nil {
		h = &host{hosts: hs, cfg: hs.cfg, name: p.name(), address: p.address(), reads: make(chan struct{}, hs.cfg.Reads)}
		hs.byName[p.name()] = h
	}
	return h
}

// begin counts a goroutine, unless nothing may begin.
func (hs *hosts) begin() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return false
	}
	hs.work.Add(1)
	return true
}

// close ends all connections and waits for all goroutines.
func (hs *hosts) close() {
	hs.mu.Lock()
	if !hs.closed {
		hs.closed = true
		close(hs.life)
	}
	all := make([]*host, 0, len(hs.byName))
	for _, h := range hs.byName {
		all = append(all, h)
	}
	hs.mu.Unlock()
	for _, h := range all {
		h.mu.Lock()
		if h.conn != nil {
			h.conn.kill()
		}
		h.mu.Unlock()
	}
	hs.work.Wait()
}

// host is one server.
type host struct {
	hosts   *hosts
	cfg     Config
	name    string        // as it stands in URLs
	address string        // to dial
	reads   chan struct{} // one for each that is under way

	mu      sync.Mutex
	conn    *conn    // nil: there is none
	dialing *dialing // nil: none is being made
}

// dialing is a connection in the making, for all who wait for it.
type dialing struct {
	done chan struct{}
	err  error // read after done
}

// get returns the connection, which its caller has to leave, and whether it was
// there before. It waits under ctx while one is made.
func (h *host) get(ctx context.Context) (c *conn, old bool, err error) {
	for old = true; ; old = false {
		h.mu.Lock()
		if h.conn != nil {
			c := h.conn
			c.enter()
			h.mu.Unlock()
			return c, old, nil
		}
		d := h.dialing
		if d == nil {
			if !h.hosts.begin() {
				h.mu.Unlock()
				return nil, false, net.ErrClosed
			}
			d = &dialing{done: make(chan struct{})}
			h.dialing = d
			go h.make(d)
		}
		h.mu.Unlock()
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if d.err != nil {
			return nil, false, d.err
		}
	}
}

// make makes a connection. Nobody's context ends it, since many may wait for it.
func (h *host) make(d *dialing) {
	defer h.hosts.work.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.hosts.work.Go(func() { // ends with this function or with the client
		select {
		case <-h.hosts.life:
			cancel()
		case <-ctx.Done():
		}
	})
	c, err := caught(func() (*conn, error) { return h.dial(ctx) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dialing, d.err = nil, err
	if err == nil {
		h.conn = c
		c.watch()
		c.enter()
		c.exit() // so that it does not stay if all have stopped waiting
		select {
		case <-h.hosts.life:
			c.kill()
		default:
		}
	}
	close(d.done)
}

// forget is for a connection that has ended, or shall be used no more.
func (h *host) forget(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == c {
		h.conn = nil
	}
}

// leave ends what get began.
func (h *host) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.exit()
}

// enter counts a user. The host is locked.
func (c *conn) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	if c.idle != nil {
		c.idle.Stop()
		c.idle = nil
	}
}

// exit counts a user less. The host is locked.
func (c *conn) exit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		c.idle = time.AfterFunc(c.host.cfg.IdleTime, c.expire)
	}
}

// expire ends a connection that nobody has used for long.
func (c *conn) expire() {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == 0 && c.host.conn == c {
		c.host.conn = nil
		c.kill()
	}
}
