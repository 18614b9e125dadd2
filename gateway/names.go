package gateway

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
)

// maxNames is how many names may lead to each other.
const maxNames = 32

// Names is how to find out what names lead to. Without one of its functions the
// names of that kind are answered by 501. They are called by many goroutines, and
// may return [ErrNoName].
type Names struct {
	// Record returns the signed record of an IPNS key, which is written as a
	// CIDv1 in base 36, and for how much longer that may be kept: 0 for as long as it
	// says itself. It is checked before it is followed or passed on.
	Record func(ctx context.Context, key string) (record []byte, ttl time.Duration, err error)
	// DNSLink returns where a domain leads: a path that begins with /ipfs/ or
	// /ipns/, and for how long that is good, 0 if nobody knows.
	DNSLink func(ctx context.Context, domain string) (path string, ttl time.Duration, err error)
}

var errNoNames = &statusError{http.StatusNotImplemented, "this gateway resolves no names of this kind"}

// resolveName finds out where a content begins whose path begins with a name.
func (h *Handler) resolveName(ctx context.Context, c *content) error {
	name, way := c.name, c.names
	known := false
	for range maxNames {
		if err := h.blocks.allowed(cid.Undef, "/ipns/"+strings.Join(append([]string{name}, way...), "/")); err != nil {
			return err
		}
		path, ttl, err := h.lookUp(ctx, name)
		if err != nil {
			return err
		}
		if ttl > 0 && (!known || ttl < c.fresh.ttl) {
			known, c.fresh.ttl = true, ttl
		}
		next, err := parseContent(path, h.config.Limits.Depth)
		if err != nil {
			return &statusError{http.StatusNotFound, fmt.Sprintf("the name %q leads to no path", shorten(name))}
		}
		way = append(append([]string{}, next.names...), way...)
		if len(way) > h.config.Limits.Depth {
			return &statusError{http.StatusBadRequest, "the name leads to a path that is too long"}
		}
		if !next.mutable() {
			c.root, c.way = next.root, way
			return h.blocks.allowed(c.root, "/ipfs/"+strings.Join(append([]string{c.root.String()}, way...), "/"))
		}
		name = next.name
	}
	return &statusError{http.StatusBadRequest, "the name leads to names without end"}
}

// keyOf is the key that a name is, in any base. Old ones are CIDs of another codec.
func keyOf(name string) (ipns.Name, bool) {
	if key, err := ipns.NameFromString(name); err == nil {
		return key, true
	}
	c, err := cid.Decode(name)
	if err != nil {
		return ipns.Name{}, false
	}
	key, err := ipns.NameFromCid(cid.NewCidV1(cid.Libp2pKey, c.Hash()))
	return key, err == nil
}

// lookUp is where one name leads.
func (h *Handler) lookUp(ctx context.Context, name string) (path string, ttl time.Duration, err error) {
	if key, ok := keyOf(name); ok {
		_, record, ttl, err := h.record(ctx, key)
		if err != nil {
			return "", 0, err
		}
		value, err := record.Value()
		if err != nil {
			return "", 0, &statusError{http.StatusNotFound, "the record of the name leads to no path"}
		}
		return value.String(), ttl, nil
	}
	if h.config.Names.DNSLink == nil {
		return "", 0, errNoNames
	}
	path, ttl, err = h.config.Names.DNSLink(ctx, strings.TrimSuffix(name, "."))
	return path, ttl, h.nameError(ctx, name, err)
}

// record returns the record of a key, which was checked, and for how long it is
// good.
func (h *Handler) record(ctx context.Context, key ipns.Name) (raw []byte, r *ipns.Record, ttl time.Duration, err error) {
	if h.config.Names.Record == nil {
		return nil, nil, 0, errNoNames
	}
	raw, left, err := h.config.Names.Record(ctx, key.String())
	if err != nil {
		return nil, nil, 0, h.nameError(ctx, key.String(), err)
	}
	if r, err = ipns.UnmarshalRecord(raw); err == nil {
		err = ipns.ValidateWithName(r, key)
	}
	if err != nil {
		h.config.Logger.WarnContext(ctx, "gateway: bad record", "name", key, "error", err)
		return nil, nil, 0, &statusError{http.StatusNotFound, "there is no good record of the name"}
	}
	if ttl, err = r.TTL(); err != nil {
		ttl = 0 // it does not say
	}
	if end, err := r.Validity(); err == nil {
		ttl = min(ttl, time.Until(end))
	}
	if left > 0 {
		ttl = min(ttl, left)
	}
	return raw, r, max(ttl, 0), nil
}

// nameError is what a client is told of an error of a resolver.
func (h *Handler) nameError(ctx context.Context, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoName):
		return &statusError{http.StatusNotFound, fmt.Sprintf("there is no name %q", shorten(name))}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return &statusError{http.StatusGatewayTimeout, "the name was not resolved in time"}
	}
	h.config.Logger.WarnContext(ctx, "gateway: name cannot be resolved", "name", name, "error", err)
	return &statusError{http.StatusServiceUnavailable, "the name cannot be resolved now"}
}

// serveRecord answers with the signed record of an IPNS key.
func (h *Handler) serveRecord(w *responseWriter, r *http.Request, c *content) error {
	key, ok := keyOf(c.name)
	if !c.mutable() || len(c.names) > 0 || !ok {
		return &statusError{http.StatusBadRequest, "only /ipns/ and a key has a record"}
	}
	raw, _, ttl, err := h.record(r.Context(), key)
	if err != nil {
		return err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(raw) // it never fails
	etag := `"` + strconv.FormatUint(sum.Sum64(), 32) + `.ipns-record"`
	name := c.query.Get("filename")
	if name == "" {
		name = key.String() + ".ipns-record"
	}
	header := w.Header()
	w.set("Etag", etag)
	w.set("Content-Type", typeOf(formatRecord))
	header["X-Content-Type-Options"] = nosniff
	w.set("Content-Disposition", disposition("attachment", name))
	// A record that is about to end may not be kept at all.
	w.set("Cache-Control", "public, max-age="+strconv.FormatInt(int64(ttl/time.Second), 10))
	if unchanged(r, etag, time.Time{}) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(http.StatusOK)
	if w.rq.head {
		return nil
	}
	_, err = w.Write(raw)
	return err
}
