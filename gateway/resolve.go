package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/dagstore/dagstore/internal/nodes"
)

// A spot is where a path leads.
type spot struct {
	cid   cid.Cid   // of the last block
	inner []string  // the names that lie within it
	roots []cid.Cid // of each name on the way, the first being the root
	way   []passed  // the blocks that were read, in their order, without the last
}

// A passed block lay on the way. Its data is kept up to maxKept in all.
type passed struct {
	cid  cid.Cid
	data []byte // or nil
}

const maxKept = 8 << 20

// header is the X-Ipfs-Roots of a spot, to which the path of c leads.
func (s *spot) header(c *content) string {
	if len(s.roots) == 1 {
		return c.text(s.roots[0])
	}
	all := make([]string, len(s.roots))
	for i, root := range s.roots {
		all[i] = c.text(root)
	}
	return strings.Join(all, ",")
}

// A follower follows a path block by block.
type follower struct {
	src   *source
	spot  spot
	kept  int
	roots [2]cid.Cid // room for those of the spot, which most paths need no more of
}

// resolve follows names from root. Where a name leads nowhere the error is a
// *noLinkError, and the spot has the blocks that prove it. The last block is not
// read.
func (s *source) resolve(ctx context.Context, root cid.Cid, names []string) (*spot, error) {
	r := &follower{src: s}
	r.spot = spot{cid: root, roots: append(r.roots[:0], root)}
	for len(names) > 0 {
		used, err := r.step(ctx, names)
		if err != nil {
			return &r.spot, err
		}
		names = names[used:]
		if s.refuse != nil {
			path := "/ipfs/" + strings.Join(append([]string{r.spot.cid.String()}, names...), "/")
			if err := s.allowed(r.spot.cid, path); err != nil {
				return &r.spot, s.report(ctx, r.spot.cid, err)
			}
		}
	}
	return &r.spot, nil
}

// read returns the block at the spot, and notes that it was passed.
func (r *follower) read(ctx context.Context) ([]byte, error) {
	b, err := r.src.Get(ctx, r.spot.cid)
	if err != nil {
		return nil, err
	}
	p := passed{cid: r.spot.cid}
	if n := len(b.RawData()); r.kept+n <= maxKept {
		r.kept += n
		p.data = b.RawData()
	}
	r.spot.way = append(r.spot.way, p)
	return b.RawData(), nil
}

// step follows the first of names, or as many as lie within the block.
func (r *follower) step(ctx context.Context, names []string) (used int, err error) {
	switch codec := r.spot.cid.Prefix().Codec; codec {
	case cid.DagProtobuf:
		return 1, r.stepPB(ctx, names[0])
	case cid.DagCBOR, cid.DagJSON:
		return r.stepData(ctx, codec, names)
	case cid.Raw:
		if err := r.src.need(ctx, r.spot.cid); err != nil {
			return 0, err
		}
	}
	return 0, &noLinkError{names[0], r.spot.cid}
}

func (r *follower) stepPB(ctx context.Context, name string) error {
	block, err := r.read(ctx)
	if err != nil {
		return err
	}
	var n nodes.PB
	if err := n.Parse(block); err != nil {
		return err
	}
	from := r.spot.cid
	u, err := nodes.ParseUnixFS(n.Data)
	switch {
	case n.HasData && err == nil && u.IsShard():
		return r.stepHAMT(ctx, from, &n, &u, name)
	case n.HasData && err == nil && (u.Kind.IsFile() || u.Kind == nodes.HAMT):
		return &noLinkError{name, from}
	}
	for i := range n.Links {
		if string(n.Links[i].Name) == name {
			return r.follow(&n.Links[i])
		}
	}
	return &noLinkError{name, from}
}

// follow goes where a link leads.
func (r *follower) follow(l *nodes.Link) error {
	c, err := l.CID()
	if err != nil {
		return err
	}
	r.spot.cid = c
	r.spot.roots = append(r.spot.roots, c)
	return nil
}

func (r *follower) stepHAMT(ctx context.Context, from cid.Cid, n *nodes.PB, u *nodes.UnixFS, name string) error {
	fanout := u.Fanout
	for f := nodes.NewFinder(name); ; {
		l, found, further, err := f.Next(n, u)
		switch {
		case err != nil:
			return err
		case found:
			return r.follow(l)
		case !further:
			return &noLinkError{name, from}
		}
		if r.spot.cid, err = l.CID(); err != nil {
			return err
		}
		block, err := r.read(ctx)
		if err != nil {
			return err
		}
		n = new(nodes.PB)
		if err := n.Parse(block); err != nil {
			return err
		}
		below, err := nodes.ParseUnixFS(n.Data)
		if err != nil {
			return err
		}
		if u = &below; !u.IsShard() || u.Fanout != fanout {
			return &noLinkError{name, from}
		}
	}
}

// stepData goes through a block of dag-cbor or dag-json, until a link leads out
// of it or names end.
func (r *follower) stepData(ctx context.Context, codec uint64, names []string) (used int, err error) {
	block, err := r.read(ctx)
	if err != nil {
		return 0, err
	}
	from := r.spot.cid
	node, err := decode(codec, block)
	if err != nil {
		return 0, err
	}
	for used < len(names) {
		next, err := node.LookupBySegment(datamodel.ParsePathSegment(names[used]))
		if err != nil {
			return 0, &noLinkError{names[used], from}
		}
		used++
		if next.Kind() == datamodel.Kind_Link {
			link, err := next.AsLink()
			if err != nil {
				return 0, err
			}
			to, ok := link.(cidlink.Link)
			if !ok {
				return 0, &noLinkError{names[used-1], from}
			}
			r.spot.cid = to.Cid
			r.spot.roots = append(r.spot.roots, to.Cid)
			return used, nil
		}
		node = next
		r.spot.roots = append(r.spot.roots, from)
	}
	// The block was not passed: the path ends in it.
	r.spot.way = r.spot.way[:len(r.spot.way)-1]
	r.spot.inner = names
	return used, nil
}

var errNotData = errors.New("gateway: neither dag-cbor nor dag-json")

// decode makes a node of a block. Its links are read first, which bounds how deep
// it can be.
func decode(codec uint64, block []byte) (datamodel.Node, error) {
	if _, err := nodes.Links(nil, codec, block); err != nil {
		return nil, err
	}
	b := basicnode.Prototype.Any.NewBuilder()
	var err error
	switch codec {
	case cid.DagCBOR:
		err = dagcbor.Decode(b, bytes.NewReader(block))
	case cid.DagJSON:
		err = dagjson.Decode(b, bytes.NewReader(block))
	default:
		err = errNotData
	}
	if err != nil {
		return nil, &statusError{http.StatusNotFound, "the block cannot be decoded: " + err.Error()}
	}
	return b.Build(), nil
}
