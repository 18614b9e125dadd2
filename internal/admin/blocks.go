package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

const (
	fewLocations  = 32 // of an answer about a block
	someLocations = 1000
	mostLocations = 10000
	mostLinks     = 4096
	// mostDecoded is how long a block may be of which the inside is shown.
	mostDecoded = 2 << 20
	mostValue   = 256 << 10
)

// getBlock says what a block is, for who walks DAGs.
func (s *Server) getBlock(c *call) error {
	id, err := c.cid()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	block, err := s.store.Blockstore(nil).Get(ctx, id)
	if err != nil {
		return err
	}
	p := id.Prefix()
	out := wire.Block{
		CID: id.String(), Version: int(p.Version), Codec: multicodec.Code(p.Codec).String(), CodecCode: p.Codec,
		Hash: multicodec.Code(p.MhType).String(), Size: len(block.RawData()), Links: []wire.Link{},
	}
	at, err := s.locate(ctx, id, fewLocations)
	if err != nil {
		return err
	}
	out.Locations, out.More = at.Locations, at.More
	switch {
	case out.Size > mostDecoded:
		out.Undecoded = fmt.Sprintf("it is longer than %d bytes", mostDecoded)
	default:
		if err := decode(&out, p.Codec, block.RawData()); err != nil {
			out.Undecoded = err.Error()
		}
	}
	return c.answer(out)
}

// getRaw sends the bytes of a block. They have been hashed before the first of
// them is sent.
func (s *Server) getRaw(c *call) error {
	id, err := c.cid()
	if err != nil {
		return err
	}
	return s.store.Blockstore(nil).View(c.r.Context(), id, func(data []byte) error {
		h := c.w.Header()
		h.Set("Content-Type", c.route.answer.mime)
		h.Set("Content-Length", strconv.Itoa(len(data)))
		h.Set("Content-Disposition", `attachment; filename="`+id.String()+`.bin"`)
		out := newStream(c, c.route.answer.mime)
		_, err := out.Write(data)
		return err
	})
}

func (s *Server) getSize(c *call) error {
	id, err := c.cid()
	if err != nil {
		return err
	}
	size, err := s.store.Blockstore(nil).GetSize(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.answer(wire.Size{Size: size})
}

func (s *Server) getLocations(c *call) error {
	id, err := c.cid()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", someLocations, 1, mostLocations)
	if err != nil {
		return err
	}
	out, err := s.locate(c.r.Context(), id, int(limit))
	if err != nil {
		return err
	}
	return c.answer(out)
}

// locate finds where a block lies, in up to limit places.
func (s *Server) locate(ctx context.Context, id cid.Cid, limit int) (wire.Locations, error) {
	out := wire.Locations{Locations: []wire.Location{}}
	if id.Prefix().MhType == multihash.IDENTITY {
		return out, nil
	}
	var info shard.Info // of the shard of the last location
	for at, err := range s.store.Find(ctx, id) {
		if err != nil {
			p := wire.ProblemOf(err)
			out.Problem = &p
			return out, ctx.Err()
		}
		if len(out.Locations) == limit {
			out.More = true
			return out, nil
		}
		if info.Key != at.Shard {
			if info, err = s.store.Info(ctx, at.Shard); err != nil {
				info = shard.Info{}
				continue // removed meanwhile
			}
		}
		out.Locations = append(out.Locations, wire.LocationOf(at, info.Payload.Offset))
	}
	return out, nil
}
