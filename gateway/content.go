package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
)

// preflight lets pages of other sites ask: what content is depends on nobody who
// asks for it. It reports whether that is all that r wants to know.
func preflight(header http.Header, r *http.Request) bool {
	header["Access-Control-Allow-Origin"] = anyOrigin
	header["Access-Control-Expose-Headers"] = mayBeRead
	if r.Method != http.MethodOptions {
		return false
	}
	invite(header)
	header["Allow"] = methods
	return true
}

// invite says what pages of other sites may send.
func invite(header http.Header) {
	header["Access-Control-Allow-Methods"] = methods
	header["Access-Control-Allow-Headers"] = mayBeSent
}

// answer serves a request for content. What it returns is what the client is told
// instead.
func (h *Handler) answer(w *responseWriter, r *http.Request, p *place, path string) error {
	if preflight(w.Header(), r) {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	query := rawQuery
	if r.URL.RawQuery != "format=raw" {
		query = r.URL.Query()
	}
	wish, wishErr := wishOf(query, r.Header)
	if !wish.trustless() { // which is never sent elsewhere
		invite(w.Header()) // no browser asks for it here; those who test gateways do
		if to, err := earlyRedirect(r, path, query); err != nil {
			return err
		} else if to != "" {
			http.Redirect(w, r, to, http.StatusMovedPermanently)
			return nil
		}
	}
	c, err := parseContent(path, h.config.Limits.Depth)
	if err != nil {
		return err
	}
	c.query, c.shown = query, r.URL.Path
	c.describe(w)
	if query.Get("format") == "" {
		w.Header()["Vary"] = varyAccept // whoever keeps the answer must not give it to everybody
	}
	if c.wish = wish; wishErr != nil {
		return wishErr
	}
	if r.Header.Get("Service-Worker") == "script" && strings.Count(path, "/") == 2 && !p.sub {
		return &statusError{http.StatusBadRequest, "a service worker may not be registered for all that a gateway serves"}
	}
	if err := h.demand(p, c); err != nil {
		return err
	}
	if err := h.blocks.allowed(c.root, c.path); err != nil {
		return err
	}
	if !c.wish.trustless() {
		if to, err := h.moved(r, p, c); err != nil {
			return err
		} else if to != "" {
			http.Redirect(w, r, to, http.StatusMovedPermanently)
			return nil
		}
	}
	return h.serve(w, r, p, c)
}

// shared by all headers, and never changed.
var (
	varyAccept = []string{"Accept"}
	rawQuery   = url.Values{"format": {formatRaw}} // what nearly all ask who ask often
	anyOrigin  = []string{"*"}
	methods    = []string{allowed}
	mayBeSent  = []string{"Content-Type, Range, User-Agent, X-Requested-With"}
	mayBeRead  = []string{"Content-Length, Content-Range, Ipfs-Uri, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output"}
)

// earlyRedirect is where a path leads that is none, but meant as one.
func earlyRedirect(r *http.Request, path string, query url.Values) (string, error) {
	if (path == "/ipfs/" || path == "/ipns/") && query.Has("uri") {
		return protocolHandler(r)
	}
	for _, twice := range []string{"/ipfs/ipfs/", "/ipfs/ipns/"} {
		if strings.HasPrefix(path, twice) {
			to := url.URL{Path: strings.TrimPrefix(path, "/ipfs"), RawQuery: r.URL.RawQuery}
			return to.String(), nil
		}
	}
	return "", nil
}

// demand refuses what is not served at this host.
func (h *Handler) demand(p *place, c *content) error {
	if h.deserialises(p) {
		return nil
	}
	if c.wish.format == formatWeb && c.wish.less != "" {
		c.wish.format, c.wish.header = c.wish.less, true
	}
	switch {
	case c.wish.none:
		return &statusError{http.StatusBadRequest, "this gateway wants to be told a format: ?format=raw or car, or an Accept header"}
	case !c.wish.trustless():
		return &statusError{http.StatusNotAcceptable, "this gateway answers by raw blocks, CARs and IPNS records alone, which a client can check"}
	case c.wish.format == formatRaw && len(c.names) > 0:
		return &statusError{http.StatusNotAcceptable, "a raw block has a CID and no path; ask for a CAR"}
	case c.mutable() && c.wish.format != formatRecord:
		return &statusError{http.StatusNotAcceptable, "of a name this gateway serves the record alone: ?format=ipns-record"}
	}
	return nil
}

// serve has the content sent, by this package or by boxo.
func (h *Handler) serve(w *responseWriter, r *http.Request, p *place, c *content) error {
	src, others := h.blocks, h.content
	if onlyHere(r) {
		src, others = h.near, h.nearContent
		if err := h.needHere(r, c); err != nil {
			return err
		}
	}
	if c.wish.header || c.wish.other {
		w.set("Content-Location", c.location())
	}
	if c.wish.format == formatRecord {
		return h.serveRecord(w, r, c)
	}
	if c.mutable() {
		if err := h.resolveName(r.Context(), c); err != nil {
			return err
		}
	}
	switch c.wish.format {
	case formatRaw:
		return h.serveRaw(w, r, src, c)
	case formatCAR:
		return h.serveCAR(w, r, src, c)
	case formatWeb:
		if c.saved() { // with a name, where there is one
			w.set("Content-Disposition", "attachment")
		}
		if served, err := h.serveFile(w, r, src, p, c); served || err != nil {
			return err
		}
		if err := h.checkListing(r.Context(), w.rq, src, c); err != nil {
			return err
		}
	default:
		at, err := h.checkCodec(r.Context(), w.rq, src, c)
		if err != nil {
			return err
		}
		if c.wish.format == formatTAR && w.rq.head {
			return headOfArchive(w, r, src, c, at)
		}
	}
	w.rq.content = c
	others.ServeHTTP(w, h.prepare(r, p, c, src))
	return nil
}

// needHere is nil if the root is on this machine. Names are elsewhere.
func (h *Handler) needHere(r *http.Request, c *content) error {
	absent := &statusError{http.StatusPreconditionFailed, "the content is not on this machine"}
	if c.mutable() {
		return absent
	}
	if has, err := h.near.Has(r.Context(), c.root); err != nil || !has {
		return absent
	}
	return nil
}

// checkCodec refuses a format that the block at the path has not: nothing is
// converted, but to a file. It also has the resolver look at every step for what
// must not be served: boxo asks about blocks, and not about paths.
func (h *Handler) checkCodec(ctx context.Context, rq *request, src *source, c *content) (*spot, error) {
	at, err := src.resolve(ctx, c.root, c.way)
	if err != nil {
		return nil, err
	}
	rq.found = true
	codec := at.cid.Prefix().Codec
	isFile := codec == cid.Raw || codec == cid.DagProtobuf
	fits := true
	switch c.wish.format {
	case formatDAGJSON:
		fits = codec == cid.DagJSON
	case formatDAGCBOR:
		fits = codec == cid.DagCBOR
	case formatJSON:
		fits = isFile || codec == cid.DagJSON || codec == uint64(multicodec.Json)
	case formatTAR:
		fits = isFile
	case formatCBOR:
		fits = isFile || codec == cid.DagCBOR || codec == uint64(multicodec.Cbor)
	}
	if fits {
		return at, nil
	}
	if err := src.need(ctx, at.cid); err != nil {
		return nil, err // what is not there has no codec
	}
	return nil, &statusError{http.StatusNotAcceptable, fmt.Sprintf("the block has codec 0x%x, and nothing is converted to %s", codec, c.wish.format)}
}

// location is where the content would be found in the same format without an
// Accept header.
func (c *content) location() string {
	query := url.Values{}
	for name, values := range c.query {
		query[name] = values
	}
	query.Set("format", c.wish.format)
	if c.wish.format == formatCAR {
		if p, err := carParamsOf(c.query, c.wish.params); err == nil {
			dups := "n"
			if p.dups {
				dups = "y"
			}
			query.Set("car-version", "1")
			query.Set("car-order", p.order)
			query.Set("car-dups", dups)
		}
	}
	to := url.URL{Path: c.shown, RawQuery: query.Encode()}
	return to.String()
}

// prepare returns r as boxo should see it.
func (h *Handler) prepare(r *http.Request, p *place, c *content, src *source) *http.Request {
	ctx := r.Context()
	if p.sub {
		key := boxo.SubdomainHostnameKey
		if p.base == p.host {
			key = boxo.DNSLinkHostnameKey
		}
		ctx = context.WithValue(ctx, key, p.base+p.port)
		ctx = context.WithValue(ctx, boxo.GatewayHostnameKey, p.base+p.port)
		ctx = context.WithValue(ctx, boxo.OriginalPathKey, r.URL.Path)
	}
	r = r.Clone(ctx)
	r.URL.Path, r.URL.RawPath = c.path, ""
	query := r.URL.Query()
	query.Del("uri") // it means something in one place alone
	if c.wish.format != formatWeb {
		query.Set("format", c.wish.format) // what was chosen, whoever said it
	}
	if query.Encode() != c.query.Encode() {
		r.URL.RawQuery = query.Encode()
	}
	accept := "*/*"
	for _, value := range r.Header.Values("Accept") {
		if strings.Contains(value, "text/html") {
			accept = "text/html"
		}
	}
	r.Header.Set("Accept", accept)
	r.Header.Del("Cache-Control")
	if !oneRange(r.Header) {
		// boxo sends the first of several alone, refuses what it cannot read, and begins
		// at the range also if it does not hold. All of it is always an answer.
		r.Header.Del("Range")
		r.Header.Del("If-Range")
	}
	// A validator proves that the client had the block once, not that it is
	// here. Without it the request goes the way of every other one.
	if match := r.Header["If-None-Match"]; len(match) > 0 {
		r.Header.Set("If-None-Match", strings.Join(match, ",")) // boxo reads the first alone
		if has, err := src.Has(ctx, c.root); err != nil || !has {
			r.Header.Del("If-None-Match")
		}
	}
	return r
}
