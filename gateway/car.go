package gateway

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync"
	"time"

	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/nodes"
)

// serveCAR answers with a CAR of what lies at a path: first the blocks that lead
// there, then those that the parameters say, depth first.
func (h *Handler) serveCAR(w *responseWriter, r *http.Request, src *source, c *content) error {
	ctx := r.Context()
	params, err := carParamsOf(c.query, c.wish.params)
	if err != nil {
		return err
	}
	if err := src.need(ctx, c.root); err != nil {
		return err
	}
	at, err := src.resolve(ctx, c.root, c.way)
	var absent *noLinkError
	if errors.As(err, &absent) {
		return h.proveAbsent(w, r, src, c, &params, at)
	} else if err != nil {
		return err
	}
	out := &carAnswer{w: w, c: c, at: at, params: &params, root: at.cid}
	if done, err := out.unchanged(r, src); done || err != nil {
		return err
	}
	part, err := h.partOf(ctx, src, at, &params)
	if err != nil {
		return err
	}
	if w.rq.head {
		if err := src.need(ctx, at.cid); err != nil {
			return err
		}
		out.describe()
		w.WriteHeader(http.StatusOK)
		return nil
	}
	defer out.end()
	out.share = &share{of: &h.walks}
	defer out.share.end()
	out.seen = newSet(out.share)
	if err := out.passed(ctx, src); err != nil {
		return err
	}
	return out.finish(out.send(ctx, src, part))
}

// proveAbsent answers for a name that leads nowhere with the blocks that show it.
// The root is the empty one.
func (h *Handler) proveAbsent(w *responseWriter, r *http.Request, src *source, c *content, params *carParams, at *spot) error {
	out := &carAnswer{w: w, c: c, at: at, params: params, root: boxo.EmptyIdentityCID, share: &share{of: &h.walks}}
	defer out.end()
	defer out.share.end()
	out.seen = newSet(out.share)
	if done, err := out.unchanged(r, src); done || err != nil {
		return err
	}
	if w.rq.head {
		out.describe()
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if len(at.way) == 0 { // no block was needed to see that a raw one has no names
		at.way = []passed{{cid: at.cid}}
	}
	return out.finish(out.passed(r.Context(), src))
}

// partOf is which part of the file at a spot is asked for. An error says that
// there is none.
func (h *Handler) partOf(ctx context.Context, src *source, at *spot, params *carParams) (span, error) {
	if params.part == nil || params.scope != scopeEntity || len(at.inner) > 0 {
		return everything, nil
	}
	size, known := int64(-1), true
	switch at.cid.Prefix().Codec {
	case cid.Raw:
		n, err := src.GetSize(ctx, at.cid)
		if err != nil {
			return span{}, err
		}
		size = int64(n)
	case cid.DagProtobuf:
		err := src.View(ctx, at.cid, func(data []byte) error {
			if e := readEntity(data); e.kind.IsFile() && e.unixfs {
				size, known = e.size, e.size >= 0
			}
			return nil
		})
		if err != nil {
			return span{}, err
		}
	}
	if !known {
		return span{}, errParts
	}
	if size < 0 {
		return everything, nil // it has no bytes to choose from
	}
	part, outside := params.part.of(size)
	switch {
	case outside:
		return span{}, &statusError{http.StatusBadRequest, "entity-bytes " + params.part.String() + " lies outside of the entity"}
	case part.length == 0:
		params.scope = scopeBlock
		return everything, nil
	}
	return part, nil
}

// An entity is what a dag-pb node is.
type entity struct {
	unixfs bool
	kind   nodes.Kind
	size   int64 // of a file; -1: its parts are not those that it says
	mtime  time.Time
}

// readEntity looks at a dag-pb node. One that cannot be read is no UnixFS.
func readEntity(block []byte) entity {
	var n nodes.PB
	if n.Parse(block) != nil || !n.HasData {
		return entity{}
	}
	u, err := nodes.ParseUnixFS(n.Data)
	if err != nil {
		return entity{}
	}
	e := entity{unixfs: true, kind: u.Kind, mtime: u.ModTime}
	if u.Kind.IsFile() {
		if _, e.size, err = u.Measure(len(n.Links)); err != nil {
			e.size = -1
		}
	}
	return e
}

// A carAnswer is a CAR on its way to a client.
type carAnswer struct {
	w      *responseWriter
	c      *content
	at     *spot
	params *carParams
	root   cid.Cid
	share  *share
	seen   *set
	buf    *[]byte // what has not left yet
	rooted bool    // the block at the spot is in it, or proven to be absent
}

// unchanged answers a client that has this CAR, if its root is here.
func (a *carAnswer) unchanged(r *http.Request, src *source) (bool, error) {
	if !unchanged(r, a.params.etag(a.c.root, a.c.path), time.Time{}) {
		return false, nil
	}
	if err := src.need(r.Context(), a.root); err != nil {
		return false, err
	}
	a.describe()
	a.w.WriteHeader(http.StatusNotModified)
	return true, nil
}

// describe sets the header.
func (a *carAnswer) describe() {
	h := a.w.Header()
	name := a.c.query.Get("filename")
	if name == "" {
		name = a.c.root.String()
		if last := a.c.last(); last != "" {
			name += "_" + last
		}
		name += ".car"
	}
	a.w.set("X-Ipfs-Roots", a.at.header(a.c))
	a.w.set("Etag", a.params.etag(a.c.root, a.c.path))
	a.w.set("Content-Type", a.params.contentType())
	a.w.set("Accept-Ranges", "none")
	h["X-Content-Type-Options"] = nosniff
	a.w.set("Content-Disposition", disposition("attachment", name))
	a.c.fresh.set(a.w)
}

// carBuffer is how much of small blocks is sent at once. What is larger is not
// copied.
const carBuffer = 64 << 10

var carBuffers = sync.Pool{New: func() any { // a cache: of no meaning to anybody
	b := make([]byte, 0, carBuffer)
	return &b
}}

func (a *carAnswer) end() {
	if a.buf != nil {
		carBuffers.Put(a.buf)
		a.buf = nil
	}
}

// begin puts the header of the CAR into the buffer.
func (a *carAnswer) begin() {
	a.describe()
	a.buf = carBuffers.Get().(*[]byte)
	id := a.root.Bytes()
	link := binary.AppendUvarint(nil, 0)
	link = append(link, id...)
	head := append([]byte{0xa2, 0x65}, "roots"...)
	head = append(head, 0x81, 0xd8, 0x2a) // a list of one link
	head = appendBytesHead(head, len(link))
	head = append(head, link...)
	head = append(append(head, 0x67), "version"...)
	head = append(head, 0x01)
	b := binary.AppendUvarint((*a.buf)[:0], uint64(len(head)))
	*a.buf = append(b, head...)
}

// appendBytesHead appends the head of a CBOR byte string.
func appendBytesHead(b []byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, 0x40|byte(n))
	case n < 1<<8:
		return append(b, 0x58, byte(n))
	default:
		return append(b, 0x59, byte(n>>8), byte(n)) // no CID is longer than 64 KiB
	}
}

// section sends a block. What identity CIDs hold is in those already; only where
// such a one is the root it is a block like others.
func (a *carAnswer) section(c cid.Cid, data []byte) error {
	if _, own := nodes.Inline(c); own && !c.Equals(a.at.cid) {
		return nil
	}
	if a.buf == nil {
		a.begin()
	}
	id := c.KeyString()
	if len(*a.buf)+len(id)+len(data)+binary.MaxVarintLen64 > carBuffer {
		if err := a.flush(); err != nil {
			return err
		}
	}
	b := binary.AppendUvarint(*a.buf, uint64(len(id)+len(data)))
	b = append(b, id...)
	if len(b)+len(data) <= carBuffer {
		*a.buf = append(b, data...)
		return nil
	}
	*a.buf = b
	if err := a.flush(); err != nil {
		return err
	}
	_, err := a.w.Write(data)
	return err
}

func (a *carAnswer) flush() error {
	_, err := a.w.Write(*a.buf)
	*a.buf = (*a.buf)[:0]
	return err
}

// Marks of a block.
const (
	markSent  = 1 << iota // it is in the CAR
	markWhole             // and so is everything below it
)

// enter says whether to read a block. Without duplicates one that was read with
// all that is below it is passed by: there are DAGs of forty blocks with a
// trillion ways through them.
func (a *carAnswer) enter(c cid.Cid, whole bool) (bool, error) {
	if a.params.dups {
		return true, nil
	}
	if !whole {
		return true, nil
	}
	had, err := a.seen.mark(c, markWhole)
	return had&markWhole == 0, err
}

// block sends a block, unless that was done.
func (a *carAnswer) block(c cid.Cid, data []byte) error {
	a.rooted = a.rooted || c.Equals(a.at.cid)
	if !a.params.dups {
		if had, err := a.seen.mark(c, markSent); err != nil || had&markSent != 0 {
			return err
		}
	}
	return a.section(c, data)
}

// passed sends the blocks that lead to the spot.
func (a *carAnswer) passed(ctx context.Context, src *source) error {
	for _, p := range a.at.way {
		var err error
		if p.data != nil {
			err = a.block(p.cid, p.data)
		} else {
			err = src.View(ctx, p.cid, func(data []byte) error { return a.block(p.cid, data) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends what lies at the spot.
func (a *carAnswer) send(ctx context.Context, src *source, part span) error {
	w := &walk{src: src, visit: visitor{enter: a.enter, block: a.block}, share: a.share}
	one := func() error {
		return src.View(ctx, a.at.cid, func(data []byte) error { return a.block(a.at.cid, data) })
	}
	switch a.params.scope {
	case scopeAll:
		if !nodes.Known(a.at.cid.Prefix().Codec) {
			return nodes.ErrCodec
		}
		return w.all(ctx, a.at.cid)
	case scopeBlock:
		return one()
	}
	if len(a.at.inner) > 0 || a.at.cid.Prefix().Codec != cid.DagProtobuf {
		return one()
	}
	var e entity
	err := src.View(ctx, a.at.cid, func(data []byte) error {
		e = readEntity(data)
		return nil
	})
	switch {
	case err != nil:
		return err
	case e.unixfs && e.kind.IsFile() && e.size < 0:
		return errParts
	case e.unixfs && e.kind.IsFile():
		return w.file(ctx, a.at.cid, part)
	case e.unixfs && e.kind == nodes.HAMT:
		return w.shards(ctx, a.at.cid)
	}
	return one()
}

// finish sends what is left, or says that the CAR cannot be completed: by the
// status, if nothing has left yet and the client may ask again, else by an end
// that no client takes for one. A CAR that has begun is one of a root that there
// is, so that a block that is missing does not make it a CAR that is not.
func (a *carAnswer) finish(err error) error {
	if a.buf == nil { // nothing was sent of an identity on the way, say
		if err != nil {
			return err
		}
		a.begin()
	}
	if err == nil {
		return a.flush()
	}
	if a.w.status == 0 && a.rooted {
		if status, _ := answerTo(a.w.ctx, err); status == http.StatusNotFound {
			_ = a.flush() // it is broken off in any case
			_ = http.NewResponseController(a.w.ResponseWriter).Flush()
		}
	}
	return cmp.Or(err, errBroken)
}
