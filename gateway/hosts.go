package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	gopath "path"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
)

// maxLabel is the longest part of a name in the DNS.
const maxLabel = 63

// A place is where the client believes to be.
type place struct {
	host  string // without its port, in small letters
	port  string // with its colon, or nothing
	https bool
	base  string // the gateway of which host is a subdomain, or host itself
	sub   bool   // host is a subdomain of base, or a domain that leads to content: an origin of its own
}

// placeOf is what r says. What a proxy says counts only if it is one that is
// trusted.
func (h *Handler) placeOf(r *http.Request) place {
	host, https := r.Host, r.TLS != nil
	if h.fromProxy(r) {
		host = cmp.Or(firstOf(r, "X-Forwarded-Host"), host)
		if proto := firstOf(r, "X-Forwarded-Proto"); proto != "" {
			https = strings.EqualFold(proto, "https")
		}
	}
	p := place{https: https, host: host}
	if name, port, err := net.SplitHostPort(host); err == nil {
		p.host = name
		if _, err := strconv.ParseUint(port, 10, 16); err == nil { // else it may be anything, and would go into Location
			p.port = host[len(host)-len(port)-1:]
		}
	}
	p.host = strings.ToLower(strings.TrimSuffix(strings.Trim(p.host, "[]"), "."))
	p.base = p.host
	return p
}

// firstOf is the first of the values of a header to which each proxy has added its
// own: what the client itself has said.
func firstOf(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}

// fromProxy says whether r comes from a proxy that may speak for others.
func (h *Handler) fromProxy(r *http.Request) bool {
	if len(h.config.TrustedProxies) == 0 {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, prefix := range h.config.TrustedProxies {
		if prefix.Contains(from.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// deserialises says whether files and folders are served at p.
func (h *Handler) deserialises(p *place) bool {
	if h.config.Trustless {
		return false
	}
	for _, pattern := range h.config.DeserializedHosts {
		pattern = strings.ToLower(pattern)
		suffix, wild := strings.CutPrefix(pattern, "*")
		for _, host := range []string{p.host, p.base} {
			if host == pattern || wild && strings.HasSuffix(host, suffix) {
				return true
			}
		}
	}
	return false
}

// subdomain takes the host of a request apart, if it is a subdomain of one of
// ours: {id}.ipfs.{base} and {id}.ipns.{base}.
func (h *Handler) subdomain(p *place) (space, id string, ok bool) {
	for _, base := range h.config.Hosts {
		base = strings.ToLower(base)
		sub, found := strings.CutSuffix(p.host, "."+base)
		if !found {
			continue
		}
		at := strings.LastIndexByte(sub, '.')
		if at <= 0 || sub[at+1:] != spaceIPFS && sub[at+1:] != spaceIPNS {
			continue // it may be a site of its own
		}
		p.base = base
		return sub[at+1:], sub[:at], true
	}
	return "", "", false
}

// isBase says whether p is a host of ours that has subdomains.
func (h *Handler) isBase(p *place) bool {
	for _, base := range h.config.Hosts {
		if strings.EqualFold(base, p.host) {
			return true
		}
	}
	return false
}

// pathOf is the path that is asked for, host included. It is empty if the host is
// not one of content and the path neither.
func (h *Handler) pathOf(r *http.Request, p *place) (path string, err error) {
	if space, id, ok := h.subdomain(p); ok {
		p.sub = true
		if space == spaceIPNS {
			id = uninline(id)
		}
		return "/" + space + "/" + id + within(r.URL.Path), nil
	}
	if strings.HasPrefix(r.URL.Path, "/ipfs/") || strings.HasPrefix(r.URL.Path, "/ipns/") {
		path = r.URL.Path
	}
	if !h.isSite(r, p, path) {
		return path, nil
	}
	if onlyHere(r) {
		return "", &statusError{http.StatusPreconditionFailed, "where the domain leads is not known on this machine"}
	}
	_, _, err = h.config.Names.DNSLink(r.Context(), p.host)
	switch {
	case errors.Is(err, ErrNoName):
		return path, nil
	case err != nil:
		return "", h.nameError(r.Context(), p.host, err)
	}
	p.sub = true
	return "/ipns/" + p.host + within(r.URL.Path), nil
}

// isSite says whether the host of r may be a domain that leads to content, which is
// then asked of the DNS. All paths of such a domain are below that content, those
// that begin with /ipfs/ too: what somebody else has published must not be of its
// origin. What no browser runs may be asked for at any host.
func (h *Handler) isSite(r *http.Request, p *place, path string) bool {
	if h.config.Names.DNSLink == nil || p.base != p.host || h.isBase(p) || !isDomain(p.host) || !h.deserialises(p) {
		return false // of a host that is not one for files nothing would be shown
	}
	if path == "" {
		return true
	}
	wish, err := wishOf(r.URL.Query(), r.Header)
	return err != nil || !wish.trustless()
}

// within is a path behind what the host says. Its ".." lead no further up than
// that: what is elsewhere must not be shown as if it were of this host.
func within(path string) string {
	clean := gopath.Clean("/" + path)
	if strings.HasSuffix(path, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// isDomain says whether a host is a domain of the DNS.
func isDomain(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost")
}

// uninline is the domain that one label stands for: "-" is a dot, and "--" is
// "-". What has no "-", or is no label, stands for itself.
func uninline(label string) string {
	if strings.Contains(label, ".") || !strings.Contains(label, "-") {
		return label
	}
	return strings.NewReplacer("--", "-", "-", ".").Replace(label)
}

// inline is the label that stands for a domain, or the domain itself if that has
// none.
func inline(domain string) string {
	label := strings.NewReplacer("-", "--", ".", "-").Replace(domain)
	if len(label) > maxLabel {
		return domain
	}
	return label
}

// label is the CID or the name of a content as it stands in a host.
func label(c *content) (string, error) {
	root, base := c.root, multibase.Encoding(multibase.Base32)
	if c.mutable() {
		key, ok := keyOf(c.name)
		if !ok {
			return inline(strings.ToLower(c.name)), nil // it is a domain
		}
		root, base = key.Cid(), multibase.Base36
	}
	for _, base := range []multibase.Encoding{base, multibase.Base36} {
		s, err := cid.NewCidV1(root.Type(), root.Hash()).StringOfBase(base)
		if err == nil && len(s) <= maxLabel {
			return s, nil
		}
	}
	return "", &statusError{http.StatusBadRequest, fmt.Sprintf("%s: CID incompatible with DNS label length limit of %d", shorten(c.name), maxLabel)}
}

// moved is where a browser has to go so that each CID and name is an origin of
// its own, always the same. It is empty if it is there.
func (h *Handler) moved(r *http.Request, p *place, c *content) (string, error) {
	if !p.sub && !h.isBase(p) || p.sub && p.base == p.host {
		return "", nil
	}
	id, err := label(c)
	if err != nil {
		return "", err
	}
	host := id + "." + c.space + "." + p.base
	if p.sub && host == p.host {
		return "", nil
	}
	to := url.URL{Scheme: "http", Host: host + p.port, Path: "/" + strings.Join(c.names, "/"), RawQuery: r.URL.RawQuery}
	if strings.HasSuffix(c.path, "/") && len(c.names) > 0 {
		to.Path += "/"
	}
	if p.https {
		to.Scheme = "https"
	}
	return to.String(), nil
}

// protocolHandler is where to go from /ipfs/?uri=, with which browsers follow
// links to ipfs:// and ipns://.
func protocolHandler(r *http.Request) (string, error) {
	u, err := url.Parse(r.URL.Query().Get("uri"))
	if err != nil || u.Scheme != spaceIPFS && u.Scheme != spaceIPNS || u.Host == "" {
		return "", &statusError{http.StatusBadRequest, "uri has to begin with ipfs:// or ipns://"}
	}
	to := url.URL{Path: "/" + u.Scheme + "/" + u.Host + u.Path, RawQuery: u.RawQuery}
	return to.String(), nil
}
