package gateway

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/idna"
)

// dnslinks finds out where domains lead, by the records of the DNS that
// https://dnslink.dev describes.
type dnslinks struct {
	server  string // or those of the system
	timeout time.Duration
	known   *answers[string]
}

// domainNames writes domains in the letters of the DNS.
var domainNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

func (d *dnslinks) find(ctx context.Context, domain string) (path string, ttl time.Duration, err error) {
	name, err := domainNames.ToASCII(strings.TrimSuffix(domain, "."))
	_, isAddr := netip.ParseAddr(name)
	if err != nil || isAddr == nil || !strings.Contains(name, ".") {
		return "", 0, fmt.Errorf("%w: %q is no domain", ErrNoName, shorten(domain))
	}
	name = strings.ToLower(name)
	return d.known.get(ctx, name, d.timeout, func(ctx context.Context, _ string) (string, time.Duration, error) {
		return d.ask(ctx, name)
	})
}

// ask asks the DNS. The standard library does that as the system is set up, and looks
// the answer over; all that it does not tell is for how long that is good.
func (d *dnslinks) ask(ctx context.Context, domain string) (path string, ttl time.Duration, err error) {
	var least ttls
	var dialer net.Dialer
	resolver := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, cmp.Or(d.server, address))
		if err != nil {
			return nil, err
		}
		return least.watch(conn), nil
	}}
	texts, err := resolver.LookupTXT(ctx, "_dnslink."+domain+".") // with the dot no domain of this machine is appended
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound:
		return "", 0, fmt.Errorf("%w: %w", ErrNoName, err)
	case ctx.Err() != nil:
		return "", 0, context.Cause(ctx)
	case errors.As(err, &failed) && failed.IsTimeout:
		return "", 0, fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case err != nil:
		return "", 0, err
	}
	for _, text := range texts {
		to, ok := strings.CutPrefix(strings.TrimSpace(text), "dnslink=")
		if !ok || !strings.HasPrefix(to, "/ipfs/") && !strings.HasPrefix(to, "/ipns/") || to == path {
			continue
		}
		if path != "" {
			return "", 0, fmt.Errorf("%w: it has more than one DNSLink", ErrNoName)
		}
		path = to
	}
	if path == "" {
		return "", 0, fmt.Errorf("%w: it has no DNSLink", ErrNoName)
	}
	return path, least.get(), nil
}

// ttls is the least time that the answers of a look-up are good. What it sees need
// not be what the look-up takes for true: somebody who makes up answers could have
// one kept for a shorter time.
type ttls struct {
	mu    sync.Mutex
	least time.Duration
	some  bool
}

func (t *ttls) get() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.least
}

// watch returns a connection that is read as conn is, and keeps its kind.
func (t *ttls) watch(conn net.Conn) net.Conn {
	if udp, ok := conn.(*net.UDPConn); ok {
		return &watchedPackets{udp, t}
	}
	return &watchedStream{conn, t, nil}
}

// see looks at a message.
func (t *ttls) see(message []byte) {
	var p dnsmessage.Parser
	if head, err := p.Start(message); err != nil || !head.Response || p.SkipAllQuestions() != nil {
		return
	}
	for {
		head, err := p.AnswerHeader()
		if err != nil {
			return // the last one, or none that can be read
		}
		ttl := time.Duration(head.TTL) * time.Second
		if head.TTL > 1<<31-1 {
			ttl = 0 // RFC 2181, section 8
		}
		t.mu.Lock()
		if !t.some || ttl < t.least {
			t.some, t.least = true, ttl
		}
		t.mu.Unlock()
		if p.SkipAnswer() != nil {
			return
		}
	}
}

type watchedPackets struct {
	*net.UDPConn
	ttls *ttls
}

// Read implements [net.Conn].
func (w *watchedPackets) Read(b []byte) (int, error) {
	n, err := w.UDPConn.Read(b)
	if err == nil {
		w.ttls.see(b[:n])
	}
	return n, err
}

// A watchedStream has messages behind their lengths.
type watchedStream struct {
	net.Conn
	ttls *ttls
	read []byte // at most one message: each connection has one answer
}

// Read implements [net.Conn].
func (w *watchedStream) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if len(w.read) < 2+1<<16 {
		w.read = append(w.read, b[:n]...)
		if len(w.read) >= 2 {
			if size := 2 + int(binary.BigEndian.Uint16(w.read)); len(w.read) >= size {
				w.ttls.see(w.read[2:size])
			}
		}
	}
	return n, err
}
