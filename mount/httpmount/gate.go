package httpmount

import (
	"container/list"
	"context"
	"sync"
)

// A gate bounds how many requests to one host are under way. Who waits is let
// through in the order in which they came. Hosts that nobody asks take no room.
type gate struct {
	most  int // 0: any number
	mu    sync.Mutex
	hosts map[string]*line
}

// A line is what stands before one host.
type line struct {
	inside  int       // requests under way
	waiting list.List // of chan struct{}, each closed when its turn has come
}

// enter waits for a place and returns what gives it back, which must be called
// and may be called again.
func (g *gate) enter(ctx context.Context, host string) (leave func(), err error) {
	if g.most == 0 {
		return func() {}, nil
	}
	leave = sync.OnceFunc(func() { g.leave(host) })
	g.mu.Lock()
	if g.hosts == nil {
		g.hosts = make(map[string]*line)
	}
	l := g.hosts[host]
	if l == nil {
		l = new(line)
		g.hosts[host] = l
	}
	if l.inside < g.most {
		l.inside++
		g.mu.Unlock()
		return leave, nil
	}
	turn := make(chan struct{})
	me := l.waiting.PushBack(turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	select {
	case <-turn: // at the last moment: the place goes to the next
		g.mu.Unlock()
		leave()
	default:
		l.waiting.Remove(me)
		g.mu.Unlock()
	}
	return nil, ctx.Err()
}

// leave hands a place to who has waited longest, or gives it back.
func (g *gate) leave(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.hosts[host]
	if first := l.waiting.Front(); first != nil {
		close(l.waiting.Remove(first).(chan struct{}))
		return
	}
	if l.inside--; l.inside == 0 {
		delete(g.hosts, host)
	}
}
