package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	defaultPatience = 10 * time.Second
	// shortest is how long an answer is kept at least: one request asks more than
	// once.
	shortest = 5 * time.Second
	// longest is how long one is kept at most, whatever it says itself.
	longest = time.Hour
	// absence is how long it is kept that there is no such name, or no good record.
	absence = 30 * time.Second
	// maxAnswers is how many of each kind are kept, and maxAtOnce how many questions
	// of each kind are under way at once.
	maxAnswers = 4096
	maxAtOnce  = 64
)

// Resolving says how [NewNames] finds out what names lead to. Each way of it tells
// others what is asked for here: the zero value has none.
type Resolving struct {
	// DNSLink has domains looked up in the DNS: the record TXT of _dnslink.DOMAIN.
	DNSLink bool
	// DNSServer is the address of the server that is asked, with a port or without.
	// Default: those of the system.
	DNSServer string
	// IPNS is the URL of a trustless gateway, a scheme and a host, which is asked for
	// the records of keys. They are checked here. Default: keys are not resolved.
	IPNS string
	// Client asks it; no redirect is followed. Default: one that uses no proxy, and keeps
	// no connection.
	Client *http.Client
	// Timeout is how long one look-up may take. Default: 10 s.
	Timeout time.Duration
}

// NewNames returns names that are resolved as r says. What they lead to is kept for
// as long as it says itself, but at most an hour, and 4,096 names at most; that a name
// leads nowhere is kept for 30 s. For each name one question is under way at a time.
// NewNames asks nobody, and starts nothing.
func NewNames(r Resolving) (Names, error) {
	var names Names
	if r.Timeout <= 0 {
		r.Timeout = defaultPatience
	}
	if r.DNSServer != "" && !r.DNSLink {
		return names, errors.New("gateway: a DNS server without DNSLink is asked for nothing")
	}
	if r.DNSLink {
		server, err := dnsServer(r.DNSServer)
		if err != nil {
			return names, err
		}
		links := &dnslinks{server: server, timeout: r.Timeout, known: newAnswers[string]()}
		names.DNSLink = links.find
	}
	if r.IPNS != "" {
		base, err := trustlessURL(r.IPNS)
		if err != nil {
			return names, err
		}
		records := &records{base: base, timeout: r.Timeout, known: newAnswers[[]byte]()}
		client := http.Client{Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: r.Timeout}).DialContext,
			TLSHandshakeTimeout:    r.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true, // a record is asked for rarely, and nobody closes Names
		}}
		if r.Client != nil {
			client = *r.Client
		}
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		records.client = &client
		names.Record = records.find
	}
	return names, nil
}

// dnsServer is an address with its port, or nothing.
func dnsServer(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(addr, 53).String(), nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		return "", fmt.Errorf("gateway: %q is no address of a DNS server, such as 192.0.2.1 or [2001:db8::1]:53", text)
	}
	return at.String(), nil
}

// trustlessURL is a URL without a slash at its end.
func trustlessURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("gateway: IPNS: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || cmp.Or(u.Path, "/") != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("gateway: IPNS %q is not a scheme and a host, such as https://gateway.example", text)
	}
	return u.Scheme + "://" + u.Host, nil
}
