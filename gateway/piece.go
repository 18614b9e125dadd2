package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	filpiece "github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

// A pieceStore is what a store knows of pieces, and how their bytes are reached.
type pieceStore interface {
	FindPiece(context.Context, cid.Cid) iter.Seq2[shard.Info, error]
	Acquire(context.Context, shard.Key, *dagstore.AcquireOptions) (*dagstore.Accessor, error)
	Info(context.Context, shard.Key) (shard.Info, error)
}

// maxClaims is how many shards that claim a piece are tried.
const maxClaims = 8

// servePiece answers with the whole source of a shard as the piece that it is
// said to be, by FRC-0066. Its bytes are not held against anything here: whoever
// asks by a piece CID can do that. A CID of version 2 says how long the piece
// is, and behind the bytes that there are stand zeros; one of version 1 does
// not, and gets the bytes.
func (h *Handler) servePiece(w *responseWriter, r *http.Request, name string) error {
	if preflight(w.Header(), r) {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	c, err := cid.Decode(name)
	if err != nil {
		return &statusError{http.StatusBadRequest, fmt.Sprintf("%q is no piece CID: %v", shorten(name), err)}
	}
	if err := h.pieceAllowed(c); err != nil {
		return err
	}
	claims, err := h.claimants(r.Context(), c)
	if err != nil {
		return err
	}
	here := onlyHere(r)
	var first error
	for _, info := range claims {
		p := &pieceAnswer{h: h, w: w, r: r, cid: c, info: info, here: here}
		if err = p.serve(); err == nil || w.status != 0 {
			return err
		}
		if first == nil {
			first = err
		}
	}
	if errors.Is(first, shard.ErrRemote) {
		return &statusError{http.StatusPreconditionFailed, "the piece is not on this machine"}
	}
	if first == nil {
		first = &statusError{http.StatusNotFound, "no shard is known to be this piece"}
	}
	return h.publicPiece(r.Context(), c, first)
}

// publicPiece keeps names of shards and sources from the client, and tells the
// request and the operator of what cannot be read.
func (h *Handler) publicPiece(ctx context.Context, c cid.Cid, err error) error {
	var request *statusError
	var block *blockError
	switch {
	case errors.As(err, &request), errors.As(err, &block), errors.Is(err, errStalled), ctx.Err() != nil:
		return err
	}
	status, why := statusOf(err)
	if is(err, shard.ErrBlock, shard.ErrCAR) {
		h.counters.damaged.Add(1)
	}
	h.config.Logger.WarnContext(ctx, "gateway: piece cannot be served", "piece", c, "status", status, "error", err)
	fault := &blockError{status: status, why: "piece " + c.String() + ": " + why}
	requestFrom(ctx).note(c, fault)
	return fault
}

// pieceAllowed is nil if a piece may be served, as far as its CID says.
func (h *Handler) pieceAllowed(c cid.Cid) error {
	if err := h.blocks.unrefused(c, ""); err != nil {
		return err
	}
	if id, ok := filpiece.Parse(c); ok && id.Size >= 0 {
		return h.blocks.unrefused(id.V1(), "")
	}
	return nil
}

// claimants are shards that are said to be a piece: those first whose bytes
// were found to be it. It is refused if one of them has something that is, in
// the other form of the CID or in its roots.
func (h *Handler) claimants(ctx context.Context, c cid.Cid) (claims []shard.Info, err error) {
	if h.pieces == nil {
		return nil, nil
	}
	checked := 0
	for info, err := range h.pieces.FindPiece(ctx, c) {
		switch {
		case err != nil:
			return nil, h.publicPiece(ctx, c, err)
		case info.State == shard.Destroying:
			continue
		}
		if info.Piece.Defined() {
			if err := h.pieceAllowed(info.Piece); err != nil {
				return nil, err
			}
		}
		for _, root := range info.Roots {
			if err := h.blocks.unrefused(root, ""); err != nil {
				return nil, err
			}
		}
		claims = append(claims, info)
		if !info.PieceChecked.IsZero() {
			claims[checked], claims[len(claims)-1] = claims[len(claims)-1], claims[checked]
			checked++
		}
		if len(claims) == maxClaims {
			break
		}
	}
	return claims, nil
}

// A pieceAnswer is a piece on its way to a client, out of one shard.
type pieceAnswer struct {
	h    *Handler
	w    *responseWriter
	r    *http.Request
	cid  cid.Cid
	info shard.Info
	here bool // not from elsewhere

	size int64 // of the piece
	part span
}

// serve sends the piece. An error before anything was sent leaves the header as
// it was.
func (p *pieceAnswer) serve() (err error) {
	ctx := p.r.Context()
	var acc *dagstore.Accessor
	// What a HEAD has to say is known of a shard that is indexed.
	if !p.w.rq.head || p.info.Version == 0 || p.here {
		if acc, err = p.h.pieces.Acquire(ctx, p.info.Key, &dagstore.AcquireOptions{LocalOnly: p.here}); err != nil {
			return err
		}
		defer func() { // what was delivered is delivered, whatever comes of letting go
			if err := acc.Close(); err != nil {
				p.h.config.Logger.WarnContext(ctx, "gateway: piece", "piece", p.cid, "error", err)
			}
		}()
		if p.info.Version == 0 { // it has been indexed for us
			if p.info, err = p.h.pieces.Info(ctx, p.info.Key); err != nil {
				return err
			}
		}
	}
	bytes := p.info.Bytes
	if acc != nil {
		bytes = acc.CAR(ctx).Size()
	}
	p.size = bytes
	if id, ok := filpiece.Parse(p.cid); ok && id.Size >= 0 {
		if p.size = id.Size; bytes > p.size {
			return &statusError{http.StatusNotFound, "no shard is known to be this piece"}
		}
	}
	etag := p.etag()
	if unchanged(p.r, etag, time.Time{}) {
		p.describe(etag)
		p.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	part, whole, ok := rangeOf(p.r, p.size, etag, time.Time{})
	if !ok {
		unsatisfiable(p.w, p.size)
		return nil
	}
	p.part = part
	if p.w.rq.head {
		p.describe(etag)
		begin(p.w, part, p.size, whole)
		return nil
	}
	body := &padded{of: acc.CAR(ctx), bytes: bytes}
	return p.send(body, func() {
		p.describe(etag)
		begin(p.w, part, p.size, whole)
	})
}

// send writes the part, its first bytes read before anything is said.
func (p *pieceAnswer) send(body io.ReaderAt, begin func()) error {
	const atOnce = 1 << 20
	buf := make([]byte, min(atOnce, p.part.length))
	for off, end := p.part.off, p.part.off+p.part.length; ; {
		some := buf[:min(int64(len(buf)), end-off)]
		if len(some) > 0 {
			if _, err := body.ReadAt(some, off); err != nil {
				if off > p.part.off { // no other shard is tried
					err = p.h.publicPiece(p.r.Context(), p.cid, err)
				}
				return err
			}
		}
		if off == p.part.off {
			begin()
		}
		if _, err := p.w.Write(some); err != nil {
			return err
		}
		if off += int64(len(some)); off == end {
			return nil
		}
	}
}

// etag is of the bytes: a CID of version 1 does not say how many there are.
func (p *pieceAnswer) etag() string {
	if id, ok := filpiece.Parse(p.cid); ok && id.Size >= 0 {
		return `"` + p.cid.String() + `"`
	}
	return `"` + p.cid.String() + "." + strconv.FormatInt(p.size, 10) + `"`
}

func (p *pieceAnswer) describe(etag string) {
	header := p.w.Header()
	header["Etag"] = []string{etag}
	header["Cache-Control"] = []string{forever}
	header["X-Content-Type-Options"] = nosniff
	kind, name := "application/octet-stream", p.cid.String()
	if p.info.Version > 0 {
		kind, name = "application/vnd.ipld.car; version="+strconv.Itoa(p.info.Version), name+".car"
	}
	header["Content-Type"] = []string{kind}
	header["Content-Disposition"] = []string{disposition("attachment", name)}
}

// padded has zeros behind the bytes of a reader.
type padded struct {
	of    io.ReaderAt
	bytes int64
}

func (p *padded) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < p.bytes {
		var err error
		n, err = p.of.ReadAt(b[:min(int64(len(b)), p.bytes-off)], off)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return n, err
		case n < len(b) && off+int64(n) < p.bytes:
			return n, io.ErrUnexpectedEOF
		}
	}
	clear(b[n:])
	return len(b), nil
}
