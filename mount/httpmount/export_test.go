package httpmount

import (
	"context"
	"net"
	"net/http"

	"github.com/dagstore/dagstore/mount"
)

func (c *Client) transports() []*http.Transport {
	return []*http.Transport{c.direct.named, c.direct.others, c.proxied.named, c.proxied.others}
}

// DialBy makes c dial by a function, so that a test can do without a network.
func (c *Client) DialBy(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	for _, t := range c.transports() {
		t.DialContext = dial
	}
}

// Waiting is how many requests to a host wait for their turn, and how many
// hosts are known.
func (c *Client) Waiting(host string) (requests, hosts int) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if l := c.gate.hosts[host]; l != nil {
		requests = l.waiting.Len()
	}
	return requests, len(c.gate.hosts)
}

// SecretParameter is what the refusal of a query names.
var SecretParameter = secretParameter

// ResolveBy makes c find names by a resolver.
func (c *Client) ResolveBy(r *net.Resolver) {
	c.dialers.free.Resolver, c.dialers.guarded.Resolver = r, r
}

// OfItself reports whether c would use a proxy that nobody has set.
func (c *Client) OfItself() bool { return c.direct.named.Proxy != nil || c.direct.others.Proxy != nil }

// Shows reports whether the server of m is shown a credential.
func Shows(m mount.Mount) bool {
	s := m.(*source)
	return s.shows(s.place.scheme, s.place.host)
}
