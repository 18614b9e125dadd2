package ftpmount

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// hosts are those that were asked for, with the connections to them.
type hosts struct {
	cfg    Config
	work   sync.WaitGroup // goroutines that finish transfers
	mu     sync.Mutex
	closed bool
	byURL  map[string]*host // by the URL of their root
}

func newHosts(c Config) *hosts { return &hosts{cfg: c, byURL: make(map[string]*host)} }

// of returns the host of p.
func (hs *hosts) of(p place) *host {
	root := place{scheme: p.scheme, host: p.host, port: p.port}
	name := root.url()[len(p.scheme+"://"):]
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.byURL[root.url()]
	if h == nil {
		h = &host{
			hosts: hs, cfg: hs.cfg, name: name[:len(name)-1], hostname: p.host, address: p.address(),
			security: schemes[p.scheme].security, slots: make(chan struct{}, hs.cfg.MaxConns), all: make(map[*session]bool),
		}
		hs.byURL[root.url()] = h
	}
	return h
}

// close ends all sessions and waits for what finishes them.
func (hs *hosts) close() {
	hs.mu.Lock()
	hs.closed = true
	for _, h := range hs.byURL {
		h.mu.Lock()
		for s := range h.all {
			s.kill()
		}
		for _, s := range h.idle {
			s.idle.Stop()
		}
		h.idle = nil
		h.mu.Unlock()
	}
	hs.mu.Unlock()
	hs.work.Wait()
}

// begin counts a goroutine that finishes a transfer, unless nothing may begin.
func (hs *hosts) begin() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return false
	}
	hs.work.Add(1)
	return true
}

// enter notes s and reports whether it may be: nothing begins after close.
func (hs *hosts) enter(s *session) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return false
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.all[s] = true
	return true
}

// host is one server under one scheme.
type host struct {
	hosts    *hosts
	cfg      Config
	name     string // as it stands in URLs
	hostname string
	address  string
	security security
	slots    chan struct{} // one for each session in use

	mu      sync.Mutex
	all     map[*session]bool // those that are open
	idle    []*session        // the last used is the last
	streams []*stream         // those that hold a session; the oldest is the first
	noRest  bool              // the server cannot begin in the middle
}

// acquire returns a session: one that is idle, or a new one. It waits, under
// ctx, while there are as many as there may be.
func (h *host) acquire(ctx context.Context) (*session, error) {
	if err := h.slot(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		s := h.idle[n-1]
		h.idle = h.idle[:n-1]
		s.idle.Stop()
		h.mu.Unlock()
		s.used = true
		return s, nil
	}
	h.mu.Unlock()
	s := &session{host: h}
	if !h.hosts.enter(s) {
		<-h.slots
		return nil, net.ErrClosed
	}
	if err := s.dial(ctx); err != nil {
		h.release(s, false)
		return nil, err
	}
	return s, nil
}

// slot waits for the right to use a session. Streams that nobody reads make
// room: their readers may well be those who wait.
func (h *host) slot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	tick := time.NewTicker(h.cfg.ParkTime/4 + 1)
	defer tick.Stop()
	for {
		select {
		case h.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			h.parkOne()
		}
	}
}

// parkOne takes the session of a stream that was not read for a while.
func (h *host) parkOne() {
	h.mu.Lock()
	streams := slices.Clone(h.streams)
	h.mu.Unlock()
	for _, st := range streams {
		if st.park(h.cfg.ParkTime) {
			return
		}
	}
}

// release gives a session back that is well, or ends it.
func (h *host) release(s *session, well bool) {
	h.mu.Lock()
	s.mu.Lock()
	well = well && !s.dead
	s.mu.Unlock()
	if well {
		h.idle = append(h.idle, s)
		s.idle = time.AfterFunc(h.cfg.IdleTime, func() { h.expire(s) })
	} else {
		delete(h.all, s)
	}
	h.mu.Unlock()
	if !well {
		s.kill()
	}
	<-h.slots
}

// expire ends a session that nobody has used for long.
func (h *host) expire(s *session) {
	h.mu.Lock()
	i := slices.Index(h.idle, s)
	if i >= 0 {
		h.idle = slices.Delete(h.idle, i, i+1)
		delete(h.all, s)
	}
	h.mu.Unlock()
	if i >= 0 {
		s.kill()
	}
}

// held notes that st holds a session, or holds none any more.
func (h *host) held(st *stream, holds bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams = slices.DeleteFunc(h.streams, func(other *stream) bool { return other == st })
	if holds {
		h.streams = append(h.streams, st)
	}
}
