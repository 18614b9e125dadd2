package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// What limits are if nobody says so.
const (
	defaultRequests  = 1024
	defaultFirstByte = 30 * time.Second
	defaultProgress  = 60 * time.Second
	defaultDepth     = 256
)

// allowed are the methods of a gateway.
const allowed = "GET, HEAD, OPTIONS"

// Config is what a gateway serves. The zero value is a good one.
type Config struct {
	// Trustless leaves raw blocks, CARs and IPNS records only: answers that a
	// client can check by itself. Everything else is 406.
	Trustless bool
	// DeserializedHosts are those for which files, folders and other formats are
	// served; for others it is as if Trustless were set. A name may begin with
	// "*." for all below it. Default: localhost, 127.0.0.1, ::1, *.localhost.
	DeserializedHosts []string
	// Hosts have a subdomain for each CID and name: {cid}.ipfs.{host} and
	// {name}.ipns.{host}. Browsers are sent there from paths. Default: none.
	Hosts []string
	// TrustedProxies are the addresses whose X-Forwarded-Host and
	// X-Forwarded-Proto are believed. Default: nobody's.
	TrustedProxies []netip.Prefix
	// Names resolves what is not a CID. Default: it is answered by 501.
	Names Names
	// Refuse returns 410 or 451 for what must not be served, and 0 for all else. It
	// is asked about the path of each request, as "/ipfs/CID/a/b" with the CID of
	// its root or "/ipns/NAME/a" with none, about what each step of it leads to,
	// again as a path, and, with an empty path, about each block that an answer is
	// made of; before anything else, conditional requests included. It is called
	// by many goroutines, often, and must be fast. Default: nothing is refused.
	Refuse func(c cid.Cid, path string) int
	// PublicURL is where others reach the gateway, a scheme and a host: what
	// /routing/v1/providers tells of it. Default: it tells callers on this machine
	// where they have reached it, and is 501 to others.
	PublicURL string
	// Shards is how blocks are chosen among shards. Unchecked is ignored: a
	// gateway hashes every block. Default: all shards.
	Shards *dagstore.BlockstoreOptions
	// Limits bounds requests.
	Limits Limits
	// Logger hears of damaged blocks, sources that cannot be read, and panics.
	// Default: discards.
	Logger *slog.Logger
}

// Limits bounds one request and all of them. 0 means the default. No request has
// an end by the clock: whoever takes what it asked for may take long.
type Limits struct {
	Requests  int           // at once; above it 429. Default 1,024
	FirstByte time.Duration // until an answer begins; then 504. Default 30 s
	Progress  time.Duration // without a byte from the source or taken by the client; then broken off. Default 60 s
	Depth     int           // names of a path; default 256
}

// A Handler is a gateway over one store. It may be used by many goroutines,
// and needs no closing.
type Handler struct {
	config      Config
	blocks      *source
	content     http.Handler // boxo's
	near        *source      // what is on this machine
	nearContent http.Handler
	shards      func(context.Context) iter.Seq2[shard.Info, error]
	pieces      pieceStore // nil: there are none
	peer        string     // ID by which it is found
	public      string     // multiaddr of PublicURL, or nothing
	walks       budget
	counters    counters
}

// New makes a gateway over store, which must outlive it. cfg may be nil; it
// is copied. New starts nothing and reads nothing.
func New(store *dagstore.Store, cfg *Config) (*Handler, error) {
	if store == nil {
		return nil, errors.New("gateway: no store")
	}
	if cfg == nil {
		cfg = new(Config)
	}
	var opts dagstore.BlockstoreOptions
	if cfg.Shards != nil {
		opts = *cfg.Shards
	}
	opts.Unchecked = false
	near := opts
	near.LocalOnly = true
	shards := func(ctx context.Context) iter.Seq2[shard.Info, error] {
		return store.Shards(ctx, nil)
	}
	h, err := newHandler(store.Blockstore(&opts), store.Blockstore(&near), shards, *cfg)
	if err != nil {
		return nil, err
	}
	h.pieces, h.peer = store, store.PeerID()
	return h, nil
}

// dagstore promises the method set of boxo's interface without linking boxo.
var _ blockstore.Blockstore = (*dagstore.Blockstore)(nil)

// newHandler is New over anything that has blocks and lists shards.
func newHandler(bs, near blockstore.Blockstore, shards func(context.Context) iter.Seq2[shard.Info, error], cfg Config) (*Handler, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.fill()
	h := &Handler{config: cfg, shards: shards}
	var err error
	if h.public, err = publicAddr(cfg.PublicURL); err != nil {
		return nil, err
	}
	h.blocks = &source{Blockstore: bs, logger: cfg.Logger, refuse: cfg.Refuse, seen: &h.counters}
	h.near = &source{Blockstore: near, logger: cfg.Logger, refuse: cfg.Refuse, seen: &h.counters, here: true}
	if h.content, err = h.boxo(h.blocks); err != nil {
		return nil, err
	}
	if h.nearContent, err = h.boxo(h.near); err != nil {
		return nil, err
	}
	return h, nil
}

// check tells all that is wrong with hosts.
func (c *Config) check() error {
	var errs []error
	for _, host := range append(append([]string{}, c.DeserializedHosts...), c.Hosts...) {
		_, isAddr := netip.ParseAddr(host)
		if host == "" || isAddr != nil && strings.ContainsAny(host, ":/@ ") {
			errs = append(errs, fmt.Errorf("gateway: %q is no name of a host, which has neither scheme nor port", host))
		}
	}
	for _, host := range c.Hosts {
		if _, err := netip.ParseAddr(host); err == nil || strings.Contains(host, "*") {
			errs = append(errs, fmt.Errorf("gateway: %q has no subdomains", host))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) fill() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DeserializedHosts == nil {
		c.DeserializedHosts = []string{"localhost", "127.0.0.1", "::1", "*.localhost"}
	}
	l := &c.Limits
	if l.Requests <= 0 {
		l.Requests = defaultRequests
	}
	if l.FirstByte <= 0 {
		l.FirstByte = defaultFirstByte
	}
	if l.Progress <= 0 {
		l.Progress = defaultProgress
	}
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
}

// boxo is its gateway over src.
func (h *Handler) boxo(src *source) (http.Handler, error) {
	// Without an exchange a block service asks nobody else.
	inner, err := boxo.NewBlocksBackend(blockservice.New(src, nil))
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return boxo.NewHandler(boxo.Config{
		DeserializedResponses: true, // what comes to it may have them
		NoDNSLink:             true,
		DisableHTMLErrors:     true, // boxo's pages point to services that have nothing to do with this store
		DeprecatedXIpfsPath:   true,
		MaxRequestDuration:    365 * 24 * time.Hour, // limits are ours
		// One registry each: two gateways in a process must not fight.
		MetricsRegistry: prometheus.NewRegistry(),
	}, &backend{BlocksBackend: inner}), nil
}

// ServeHTTP answers GET, HEAD and OPTIONS below /ipfs/ and /ipns/, of hosts that
// stand for content, and GET of "/" with a page that says what this is. It stops
// when the client goes away. It panics with [http.ErrAbortHandler], and nothing
// else, when an answer that has begun cannot be completed.
//
// It sets a deadline for writing anew with each piece that it writes, and leaves
// the last one in place. A server that has other handlers on the same
// connections sets its WriteTimeout, which begins anew with each request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		w.Header().Set("Allow", allowed)
		http.Error(w, "this gateway is read-only", http.StatusMethodNotAllowed)
		return
	}
	h.counters.requests.Add(1)
	if h.counters.active.Add(1) > int64(h.config.Limits.Requests) {
		h.counters.active.Add(-1)
		h.counters.busy.Add(1)
		w.Header().Set("Retry-After", retryAfter)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "too many requests at once", http.StatusTooManyRequests)
		return
	}
	defer h.counters.active.Add(-1)
	h.serveContent(w, r)
}

// serveContent watches what becomes of the answer, and breaks it off if it cannot
// be completed.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request) {
	rw := &responseWriter{ResponseWriter: w, h: h, own: request{head: r.Method == http.MethodHead}}
	rw.rq = &rw.own
	rq := rw.rq
	r, end := rw.watch(r)
	defer end()
	if r.URL.Path == "" { // who asks by a proxy may name a host alone
		r = r.Clone(r.Context())
		r.URL.Path = "/"
		r.RequestURI = r.URL.RequestURI()
	}
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			h.config.Logger.ErrorContext(r.Context(), "gateway: panic", "path", r.URL.Path, "value", v, "stack", string(debug.Stack()))
			rq.breakOff()
		}
		rw.finish()
	}()
	// No ServeMux: it would clean paths, and names may hold "//" and "..".
	p := h.placeOf(r)
	path, err := h.pathOf(r, &p)
	switch {
	case err != nil:
	case path != "":
		err = h.answer(rw, r, &p, path)
	case r.URL.Path == "/":
		h.serveHome(rw, r)
	default:
		err = h.serveBeside(rw, r)
	}
	if err != nil {
		h.fail(rw, r, err)
	}
}

// Stats is what a gateway has done since it was made.
type Stats struct {
	Requests int64 // all that came
	Active   int64 // under way
	Bytes    int64 // of bodies
	Broken   int64 // answers that were broken off
	Busy     int64 // requests that were one too many
	Refused  int64 // by Config.Refuse
	Damaged  int64 // blocks that are damaged wherever they are
	Large    int64 // blocks of more than 2 MiB that were read: clients may refuse them
}

// Stats tells what the gateway has done.
func (h *Handler) Stats() Stats {
	c := &h.counters
	return Stats{
		c.requests.Load(), c.active.Load(), c.bytes.Load(), c.broken.Load(), c.busy.Load(), c.refused.Load(), c.damaged.Load(), c.large.Load(),
	}
}
