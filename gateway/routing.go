package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
)

// The delegated routing API, of which this is the part that says who has the
// content: this gateway, or nobody.
const (
	routingSpace   = "/routing/v1/"
	providersSpace = routingSpace + "providers/"

	gatewayTransfer = "transport-ipfs-gateway-http"
)

// For how long an answer may be kept: that somebody has something is not over as
// soon as that nobody does.
const (
	foundAge  = "public, max-age=300"
	absentAge = "public, max-age=15"
)

// A peerRecord is one provider, by the "peer" schema.
type peerRecord struct {
	Schema    string
	ID        string
	Addrs     []string
	Protocols []string
}

// serveRouting answers who has the content of a CID.
func (h *Handler) serveRouting(w *responseWriter, r *http.Request) error {
	if preflight(w.Header(), r) {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	name, ok := strings.CutPrefix(r.URL.Path, providersSpace)
	if !ok || strings.Contains(name, "/") {
		return &statusError{http.StatusNotFound, "of routing there is " + providersSpace + " and a CID"}
	}
	c, err := cid.Decode(name)
	if err != nil {
		return &statusError{http.StatusUnprocessableEntity, fmt.Sprintf("%q is no CID: %v", shorten(name), err)}
	}
	addr, err := h.reachedAt(r)
	if err != nil {
		return err
	}
	has, err := h.provides(r, c)
	if err != nil {
		return err
	}
	var found []peerRecord
	if has {
		record := peerRecord{Schema: "peer", ID: h.peer, Addrs: []string{addr}, Protocols: []string{gatewayTransfer}}
		if query := r.URL.Query(); record.filter(query.Get("filter-addrs"), query.Get("filter-protocols")) {
			found = append(found, record)
		}
	}
	return writeProviders(w, r, found)
}

// provides says whether a block is here that is served. A CID that is never
// served is one that nobody has.
func (h *Handler) provides(r *http.Request, c cid.Cid) (bool, error) {
	has, err := h.blocks.Has(r.Context(), c)
	var block *blockError
	if errors.As(err, &block) && block.status == http.StatusNotFound {
		return false, nil
	}
	return has, err
}

// reachedAt is the multiaddr of this gateway, as who asks may use it: where it is
// known to be reached, or, on this machine, where the request came in.
func (h *Handler) reachedAt(r *http.Request) (string, error) {
	if h.public != "" {
		return h.public, nil
	}
	elsewhere := &statusError{http.StatusNotImplemented, "this gateway does not know where others reach it"}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || forwarded(r) {
		return "", elsewhere
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return "", elsewhere
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return "", elsewhere
	}
	return multiaddr(at.Addr().Unmap().String(), strconv.Itoa(int(at.Port())), r.TLS != nil), nil
}

// forwarded says whether a proxy has sent r, so that it comes from somewhere else.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// publicAddr is the multiaddr of a URL, which has no path.
func publicAddr(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("gateway: PublicURL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" {
		return "", fmt.Errorf("gateway: PublicURL %q is not a scheme and a host", text)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return multiaddr(u.Hostname(), port, u.Scheme == "https"), nil
}

// multiaddr is an address as libp2p writes it.
func multiaddr(host, port string, tls bool) string {
	kind, scheme := "dns", "http"
	if addr, err := netip.ParseAddr(host); err == nil {
		if kind = "ip4"; !addr.Is4() {
			kind, host = "ip6", addr.WithZone("").String()
		}
	}
	if tls {
		scheme = "https"
	}
	return "/" + kind + "/" + host + "/tcp/" + port + "/" + scheme
}

// filter leaves of a record what IPIP-484's filters let pass, and says whether
// anything is left.
func (p *peerRecord) filter(addrs, protocols string) bool {
	if protocols != "" && !passes(protocols, p.Protocols) {
		return false
	}
	if addrs == "" {
		return true
	}
	p.Addrs = slices.DeleteFunc(p.Addrs, func(addr string) bool {
		return !passes(addrs, strings.Split(strings.TrimPrefix(addr, "/"), "/"))
	})
	return len(p.Addrs) > 0
}

// passes says whether something that has names passes a filter: a list of names
// of which it has one, and of names behind "!" of which it has none. "unknown" is
// what has no names.
func passes(filter string, names []string) bool {
	wanted, some := false, false
	for entry := range strings.SplitSeq(filter, ",") {
		entry = strings.TrimSpace(entry)
		entry, not := strings.CutPrefix(entry, "!")
		has := slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, entry) }) ||
			strings.EqualFold(entry, "unknown") && len(names) == 0
		switch {
		case entry == "":
		case not && has:
			return false
		case !not:
			some = true
			wanted = wanted || has
		}
	}
	return wanted || !some
}

// writeProviders writes the answer in the form that the client accepts.
func writeProviders(w *responseWriter, r *http.Request, found []peerRecord) error {
	header := w.Header()
	header["Vary"] = varyAccept
	header["X-Content-Type-Options"] = nosniff
	header.Set("Cache-Control", absentAge)
	if len(found) > 0 {
		header.Set("Cache-Control", foundAge)
	}
	var body []byte
	if strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "application/x-ndjson") {
		header.Set("Content-Type", "application/x-ndjson")
		for _, record := range found {
			line, err := json.Marshal(record)
			if err != nil {
				return err
			}
			body = append(append(body, line...), '\n')
		}
	} else {
		header.Set("Content-Type", "application/json")
		if found == nil {
			found = []peerRecord{}
		}
		var err error
		if body, err = json.Marshal(struct{ Providers []peerRecord }{found}); err != nil {
			return err
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if w.rq.head || len(body) == 0 {
		return nil
	}
	_, err := w.Write(body)
	return err
}
