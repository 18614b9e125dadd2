package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"
)

// CAR writes the DAG below root to w as a CARv1: depth first, links in the
// order in which they stand in their block, no block twice. The same DAG
// gives the same bytes, wherever it lies. A block whose bytes are its CID is
// left out, as is usual, unless it is the root.
//
// It wraps [ErrMissing] if a block is not there, and [ErrKind] if the links
// of one cannot be followed. What was written by then is a CAR that ends too
// early, and nothing in it says so. If it is the root, nothing was written.
func (r *Reader) CAR(ctx context.Context, root cid.Cid, w io.Writer) error {
	seen := cid.NewSet()
	queue := []cid.Cid{root}
	for len(queue) > 0 {
		c := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if !seen.Visit(c) {
			continue
		}
		b, err := r.blocks.Get(ctx, c)
		if err != nil {
			return r.blocks.explain(ctx, err)
		}
		below, err := links(c, b.RawData())
		if err != nil {
			return err
		}
		first := seen.Len() == 1
		if first {
			if _, err := w.Write(carHeader(root)); err != nil {
				return err
			}
		}
		if first || c.Prefix().MhType != multihash.IDENTITY {
			if err := writeSection(w, c, b.RawData()); err != nil {
				return err
			}
		}
		slices.Reverse(below) // the last one pushed is the next one written
		queue = append(queue, below...)
	}
	return nil
}

// carHeader is the header of a CARv1 with one root: its length, and the
// DAG-CBOR of {"roots": [root], "version": 1}. The specification is
// https://ipld.io/specs/transport/car/carv1/#header.
func carHeader(root cid.Cid) []byte {
	link := append([]byte{0}, root.Bytes()...) // a CID in CBOR begins with a zero byte
	header := []byte{0xa2, 0x65, 'r', 'o', 'o', 't', 's', 0x81, 0xd8, 42}
	header = appendByteString(header, link)
	header = append(header, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 1)
	return append(binary.AppendUvarint(nil, uint64(len(header))), header...)
}

// appendByteString appends a CBOR byte string with the shortest head.
func appendByteString(dst, s []byte) []byte {
	switch n := len(s); {
	case n < 24:
		dst = append(dst, 0x40|byte(n))
	case n < 1<<8:
		dst = append(dst, 0x58, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x59), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0x5a), uint32(n))
	}
	return append(dst, s...)
}

// writeSection writes the length of CID and data, and both.
func writeSection(w io.Writer, c cid.Cid, data []byte) error {
	head := binary.AppendUvarint(nil, uint64(c.ByteLen()+len(data)))
	if _, err := w.Write(append(head, c.Bytes()...)); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// links returns the CIDs that a block links to, in their order.
func links(c cid.Cid, data []byte) ([]cid.Cid, error) {
	decode, err := decoder(c)
	if err != nil || decode == nil {
		return nil, err
	}
	node := basicnode.Prototype.Any.NewBuilder()
	if err := decode(node, bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("%w: block %s does not decode as %s: %w", ErrKind, c, codecName(c.Prefix().Codec), err)
	}
	found, err := traversal.SelectLinks(node.Build())
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", ErrKind, c, err)
	}
	cids := make([]cid.Cid, 0, len(found))
	for _, link := range found {
		target, ok := link.(cidlink.Link)
		if !ok {
			return nil, fmt.Errorf("%w: block %s has a link that is no CID: %v", ErrKind, c, link)
		}
		cids = append(cids, target.Cid)
	}
	return cids, nil
}

// decoder returns how a block of c is decoded; nil if it has no links. Codecs
// are chosen here and not from the registry of the process, which depends on
// what else is linked into it.
func decoder(c cid.Cid) (codec.Decoder, error) {
	switch code := multicodec.Code(c.Prefix().Codec); code {
	case multicodec.DagPb:
		return dagpb.Decode, nil
	case multicodec.DagCbor:
		return dagcbor.Decode, nil
	case multicodec.DagJson:
		return dagjson.Decode, nil
	case multicodec.Raw, multicodec.Cbor, multicodec.Json:
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: block %s is %v, whose links cannot be followed", ErrKind, c, code)
	}
}
