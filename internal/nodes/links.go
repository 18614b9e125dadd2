package nodes

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// What is wrong with a block. Match them with [errors.Is].
var (
	ErrBroken = errors.New("nodes: the block is not what its codec says")
	ErrCodec  = errors.New("nodes: a codec whose links are not known")
)

// Codecs that go-cid has no name for. Neither has links.
const (
	codecCBOR = 0x51
	codecJSON = 0x0200
)

// maxDepth is how deep lists and maps of one block may lie in each other, as
// go-ipld-prime has it.
const maxDepth = 1024

// Links appends the links of a block to dst, in their order and as often as they
// are there. Codecs: raw, dag-pb, dag-cbor, dag-json, and those that have no links,
// cbor, json and libp2p-key; any other gives [ErrCodec].
func Links(dst []cid.Cid, codec uint64, block []byte) ([]cid.Cid, error) {
	switch codec {
	case cid.Raw, cid.Libp2pKey, codecCBOR, codecJSON:
		return dst, nil
	case cid.DagProtobuf:
		var node PB
		if err := node.Parse(block); err != nil {
			return dst, err
		}
		return node.AppendCIDs(dst)
	case cid.DagCBOR:
		return cborLinks(dst, block)
	case cid.DagJSON:
		return jsonLinks(dst, block)
	default:
		return dst, fmt.Errorf("%w: 0x%x", ErrCodec, codec)
	}
}

// Known says whether the links of a codec are known.
func Known(codec uint64) bool {
	_, err := Links(nil, codec, nil)
	return !errors.Is(err, ErrCodec)
}

// Inline returns the data that an identity CID holds; ok says that c is one.
func Inline(c cid.Cid) (data []byte, ok bool) {
	if !c.Defined() || c.Prefix().MhType != multihash.IDENTITY {
		return nil, false
	}
	mh, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return mh.Digest, true
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// castCID is the CID of a link.
func castCID(b []byte) (cid.Cid, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return cid.Undef, broken("a link that is no CID: %v", err)
	}
	return c, nil
}
