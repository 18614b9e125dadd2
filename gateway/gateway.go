package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// maxRequests is how many requests for content are answered at once. More of
// them get 429 and are asked to come again.
const maxRequests = 1024

// allowed are the methods of a gateway.
const allowed = "GET, HEAD, OPTIONS"

// Config is what a gateway serves. The zero value is a good one.
type Config struct {
	// Trustless leaves raw blocks and CARs only: answers that a client can
	// check by itself. Everything else is 406.
	Trustless bool
	// Shards is how blocks are chosen among shards. Unchecked is ignored: a
	// gateway hashes every block. Default: all shards.
	Shards *dagstore.BlockstoreOptions
	// Logger hears of damaged blocks, sources that cannot be read, and panics.
	// Default: discards.
	Logger *slog.Logger
}

// A Handler is a gateway over one store. It may be used by many goroutines,
// and needs no closing.
type Handler struct {
	content http.Handler
	blocks  *source
	shards  func(context.Context) iter.Seq2[shard.Info, error]
	config  Config
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
	shards := func(ctx context.Context) iter.Seq2[shard.Info, error] {
		return store.Shards(ctx, nil)
	}
	return newHandler(store.Blockstore(&opts), shards, *cfg)
}

// dagstore promises the method set of boxo's interface without linking boxo.
var _ blockstore.Blockstore = (*dagstore.Blockstore)(nil)

// newHandler is New over anything that has blocks and lists shards.
func newHandler(bs blockstore.Blockstore, shards func(context.Context) iter.Seq2[shard.Info, error], cfg Config) (*Handler, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	src := &source{Blockstore: bs, logger: cfg.Logger}
	// Without an exchange a block service asks nobody else.
	inner, err := boxo.NewBlocksBackend(blockservice.New(src, nil))
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	content := boxo.NewHandler(boxo.Config{
		DeserializedResponses: !cfg.Trustless,
		NoDNSLink:             true,
		DisableHTMLErrors:     true, // boxo's pages point to services that have nothing to do with this store
		DeprecatedXIpfsPath:   true,
		MaxConcurrentRequests: maxRequests,
		// One registry each: two gateways in a process must not fight.
		MetricsRegistry: prometheus.NewRegistry(),
	}, &backend{BlocksBackend: inner, blocks: src})
	return &Handler{
		content: boxo.NewHeaders(nil).WithDeprecatedXIpfsPath().ApplyCors().Wrap(content),
		blocks:  src,
		shards:  shards,
		config:  cfg,
	}, nil
}

// ServeHTTP answers GET, HEAD and OPTIONS below /ipfs/ and /ipns/, and GET of
// "/" with a page that says what this is. It stops when the client goes away.
// It panics with [http.ErrAbortHandler], and nothing else, when an answer that
// has begun cannot be completed.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		w.Header().Set("Allow", allowed)
		http.Error(w, "this gateway is read-only", http.StatusMethodNotAllowed)
		return
	}
	// No ServeMux: it would clean paths, and names may hold "//" and "..".
	switch p := r.URL.Path; {
	case strings.HasPrefix(p, "/ipfs/"), strings.HasPrefix(p, "/ipns/"):
		h.serveContent(w, r)
	case p == "/":
		h.serveHome(w, r)
	default:
		http.Error(w, "paths of this gateway begin with /ipfs/ and a CID", http.StatusNotFound)
	}
}

// serveContent has boxo answer r, watches what becomes of the answer, and
// breaks it off if it cannot be completed.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request) {
	rq := &request{head: r.Method == http.MethodHead}
	r = h.prepare(r.WithContext(context.WithValue(r.Context(), requestKey{}, rq)))
	rw := &responseWriter{ResponseWriter: w, rq: rq}
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
	h.content.ServeHTTP(rw, r)
}

// prepare returns r with what boxo would get wrong set right.
func (h *Handler) prepare(r *http.Request) *http.Request {
	query := r.URL.Query()
	bytesOnly := query.Has("entity-bytes") && !query.Has("dag-scope")
	validator := r.Header.Get("If-None-Match") != ""
	manyRanges := strings.Contains(r.Header.Get("Range"), ",")
	if !bytesOnly && !validator && !manyRanges {
		return r
	}
	r = r.Clone(r.Context())
	if manyRanges {
		// A server may ignore ranges. To send the first one alone, as boxo
		// does, leaves out what was asked for; to send all is a way to have
		// the same bytes a thousand times.
		r.Header.Del("Range")
	}
	if bytesOnly {
		query.Set("dag-scope", string(boxo.DagScopeEntity))
		r.URL.RawQuery = query.Encode()
	}
	// A validator proves that the client had the block once, not that it is
	// here. Without it the request goes the way of every other one.
	if validator && !h.hasRoot(r) {
		r.Header.Del("If-None-Match")
	}
	return r
}

// hasRoot reports whether the store has the block with which the path begins.
func (h *Handler) hasRoot(r *http.Request) bool {
	p, err := path.NewPath(r.URL.Path)
	if err != nil || p.Mutable() {
		return false
	}
	ip, err := path.NewImmutablePath(p)
	if err != nil {
		return false
	}
	has, err := h.blocks.Has(r.Context(), ip.RootCid())
	return err == nil && has
}
