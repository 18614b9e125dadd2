package httpmount

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/dagstore/dagstore/internal/netguard"
	"github.com/dagstore/dagstore/mount"
)

// A Client opens URLs. What it opens shares its connections, which are kept
// open while they are of use. It may be used by any number of goroutines.
type Client struct {
	cfg   Config // with its defaults; its TLS is not used after New
	guard *netguard.Guard
	gate  gate

	// A connection that was dialled freely, or on which we have shown a
	// certificate of ours, must not be used again for other hosts than those
	// that are named. So each way has connections of its own.
	direct, proxied way
	dialers         struct{ free, guarded *net.Dialer } // by which they dial
}

// A way is how requests go: directly or through a proxy.
type way struct {
	named  *http.Transport // to the host that is named, which is trusted
	others *http.Transport // to where that redirects, and to hosts that others name
}

// Format implements [fmt.Formatter]: a Client that somebody prints shows nothing
// of what it holds, the credentials above all.
func (*Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "httpmount.Client") }

// New makes a client. It does no I/O. A nil cfg is an empty one; an error joins
// all that [Config.Validate] finds.
func New(cfg *Config) (*Client, error) {
	c := &Client{cfg: cfg.withDefaults()}
	if err := c.cfg.Validate(); err != nil {
		return nil, err
	}
	c.guard = netguard.New(c.cfg.Allow...)
	c.gate.most = c.cfg.PerHost
	guarded := &net.Dialer{Timeout: dialTime, ControlContext: c.guard.Control}
	free := &net.Dialer{Timeout: dialTime}
	c.dialers.free, c.dialers.guarded = free, guarded
	c.direct = way{named: newTransport(&c.cfg, free), others: newTransport(&c.cfg, guarded)}
	c.proxied = way{named: newTransport(&c.cfg, free), others: newTransport(&c.cfg, free)}
	c.proxied.named.Proxy, c.proxied.others.Proxy = c.cfg.Proxy, c.cfg.Proxy
	for _, t := range []*http.Transport{c.direct.others, c.proxied.others} {
		if t.TLSClientConfig != nil {
			t.TLSClientConfig.Certificates, t.TLSClientConfig.GetClientCertificate = nil, nil
		}
	}
	return c, nil
}

// Opener is [New] and [Client.Open] in one, for programs that talk to servers
// until they end.
func Opener(cfg *Config) (mount.Opener, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return c.Open, nil
}

const (
	idlePerHost = 16               // connections
	idleInAll   = 256              // connections
	idleTime    = 90 * time.Second // that one may be of no use
	dialTime    = time.Minute      // for what goes on when its request has been given up
	pingAfter   = 30 * time.Second // that nothing came on a connection of HTTP/2 which is in use
	mostHeader  = 256 << 10        // bytes
)

func newTransport(cfg *Config, dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        cfg.TLS.Clone(),
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTime,
		DisableCompression:     true,
		MaxIdleConns:           idleInAll,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: mostHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter},
	}
}

// CloseIdle closes the connections that are of no use now. A client that is
// not used any more needs nothing else; without it they close by themselves
// after 90 s.
func (c *Client) CloseIdle() {
	for _, w := range []way{c.direct, c.proxied} {
		w.named.CloseIdleConnections()
		w.others.CloseIdleConnections()
	}
}

// Open is the opener of "http" and "https" URLs. It takes any spelling that
// means one place, which the Mount spells canonically. A URL that holds a
// credential or a fragment, or whose host is written in a misleading way, wraps
// [mount.ErrURL]; a client for URLs that come from others refuses hosts that
// can be seen to lie inside with [mount.ErrDenied]. Errors do not repeat the
// URL.
//
// The Mount is a [mount.RangeOpener], and a [mount.SiblingOpener] unless its
// URL has a query or ends with a slash: then nothing lies beside it.
func (c *Client) Open(url string) (mount.Mount, error) {
	at, err := parse(url)
	if err != nil {
		return nil, err
	}
	if c.cfg.Untrusted {
		if err := c.guard.Host(hostname(at.host)); err != nil {
			return nil, fmt.Errorf("a source that comes from others must lie in the public internet: %w", err)
		}
	}
	s := &source{client: c, place: at}
	for i := range c.cfg.Credentials {
		if c.cfg.Credentials[i].matches(at.host) {
			s.credential = &c.cfg.Credentials[i]
			break
		}
	}
	return s, nil
}

// hostname is a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
