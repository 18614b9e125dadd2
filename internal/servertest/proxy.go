package servertest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A Proxy stands between a client and its servers, and can be told to go
// wrong. Its connections are real ones of TCP.
type Proxy struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	next   *sync.Cond
	dials  int
	open   map[net.Conn]bool
	allow  int64 // bytes that may still come from servers; -1: any number
	cut    bool  // and then everything is closed; else it just stays away
	passed int64
	closed bool
}

// NewProxy returns a proxy that lets everything pass. It ends with the test.
func NewProxy(t T) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, open: make(map[net.Conn]bool), allow: -1}
	p.next = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.closeAll()
		p.work.Wait()
	})
	return p
}

// Dial connects to address through the proxy, one at a time.
func (p *Proxy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	server, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	client, err := new(net.Dialer).DialContext(ctx, "tcp", p.listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	inner, err := p.listener.Accept()
	if err != nil || p.closed {
		return nil, errors.Join(err, net.ErrClosed, server.Close(), client.Close())
	}
	p.dials++
	p.open[server], p.open[inner] = true, true
	p.work.Go(func() { p.relay(server, inner, false) })
	p.work.Go(func() { p.relay(inner, server, true) })
	return client, nil
}

// Dials is how many connections were made.
func (p *Proxy) Dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

// Passed is how many bytes have come from servers.
func (p *Proxy) Passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// Open is how many connections to servers are open.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) / 2
}

// CutAfter lets n more bytes come from servers, over all connections, and then
// closes them. Connections that are made later are cut at once.
func (p *Proxy) CutAfter(n int64) { p.set(n, true) }

// HangAfter lets n more bytes come from servers, and then none.
func (p *Proxy) HangAfter(n int64) { p.set(n, false) }

// CutAll closes the connections that there are. Others can be made.
func (p *Proxy) CutAll() { p.closeAll() }

// Heal lets everything pass again, also what was held back.
func (p *Proxy) Heal() { p.set(-1, false) }

func (p *Proxy) set(allow int64, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allow, p.cut = allow, cut
	p.next.Broadcast()
}

// relay copies what comes from one side to the other.
func (p *Proxy) relay(to, from net.Conn, fromServer bool) {
	defer p.close(to, from)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		for done := 0; done < n; {
			part := n - done
			if fromServer {
				if part = p.pass(part, from); part == 0 {
					return
				}
			}
			if _, err := to.Write(buf[done : done+part]); err != nil {
				return
			}
			done += part
		}
		if err != nil {
			return
		}
	}
}

// pass returns how many of n bytes may pass now, or 0 if the connection ends.
func (p *Proxy) pass(n int, of net.Conn) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.allow == 0 && !p.cut && p.open[of] {
		p.next.Wait()
	}
	switch {
	case !p.open[of] || p.allow == 0:
		return 0
	case p.allow > 0:
		n = int(min(int64(n), p.allow))
		p.allow -= int64(n)
	}
	p.passed += int64(n)
	return n
}

func (p *Proxy) close(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // whatever it still holds is lost on purpose
		delete(p.open, c)
	}
	p.next.Broadcast()
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	all := make([]net.Conn, 0, len(p.open))
	for c := range p.open {
		all = append(all, c)
	}
	p.mu.Unlock()
	p.close(all...)
}
