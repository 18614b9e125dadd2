package piece

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

// The codes of FRC-0069 and of the multicodec table.
const (
	codecUnsealed = 0xf101 // fil-commitment-unsealed
	hashV1        = 0x1012 // sha2-256-trunc254-padded
	hashV2        = 0x1011 // fr32-sha256-trunc254-padbintree
)

const (
	nodeSize  = 32
	inQuad    = 127 // bytes that four leaves hold
	minHeight = 2   // of the tree over them
	// MaxHeight is of the largest tree whose length fits an int64.
	MaxHeight = 58
)

// An ID is what a piece CID says.
type ID struct {
	Root   [nodeSize]byte // of the tree
	Size   int64          // bytes of the piece; -1: a CID of version 1 does not say
	Height uint8          // of the tree, if Size is there
}

// Parse reads a piece CID of either version.
func Parse(c cid.Cid) (id ID, ok bool) {
	if !c.Defined() || c.Version() != 1 {
		return ID{}, false
	}
	hash, err := multihash.Decode(c.Hash())
	if err != nil {
		return ID{}, false
	}
	switch {
	case c.Type() == codecUnsealed && hash.Code == hashV1 && len(hash.Digest) == nodeSize:
		id.Root, id.Size = [nodeSize]byte(hash.Digest), -1
	case c.Type() == cid.Raw && hash.Code == hashV2:
		padding, n, err := varint.FromUvarint(hash.Digest)
		if err != nil || len(hash.Digest) != n+1+nodeSize {
			return ID{}, false
		}
		id.Height = hash.Digest[n]
		room, ok := Room(id.Height)
		if !ok || padding > uint64(room) {
			return ID{}, false
		}
		id.Size = room - int64(padding)
		if id.Height > minHeight && id.Size <= room/2 {
			return ID{}, false // half the tree would have done
		}
		id.Root = [nodeSize]byte(hash.Digest[n+1:])
	default:
		return ID{}, false
	}
	// Field elements have 254 bits.
	return id, id.Root[nodeSize-1]&^lastByte == 0
}

// Room is how many bytes a tree of a height holds.
func Room(height uint8) (int64, bool) {
	if height < minHeight || height > MaxHeight {
		return 0, false
	}
	return inQuad << (height - minHeight), true
}

// heightOf is that of the least tree that holds size bytes.
func heightOf(size int64) (uint8, bool) {
	for h := uint8(minHeight); h <= MaxHeight; h++ {
		if room, _ := Room(h); room >= size {
			return h, true
		}
	}
	return 0, false
}

// V1 is the CID of version 1.
func (id ID) V1() cid.Cid { return makeCID(codecUnsealed, hashV1, id.Root[:]) }

// V2 is the CID of version 2 of a piece with this root that has size bytes,
// or an undefined one if there is none.
func V2(root [nodeSize]byte, size int64) cid.Cid {
	height, ok := heightOf(size)
	if !ok || size < 0 {
		return cid.Undef
	}
	room, _ := Room(height)
	digest := binary.AppendUvarint(nil, uint64(room-size))
	digest = append(digest, height)
	return makeCID(cid.Raw, hashV2, append(digest, root[:]...))
}

// makeCID writes the multihash by hand: no hash function is registered for
// these codes.
func makeCID(codec, code uint64, digest []byte) cid.Cid {
	hash := binary.AppendUvarint(nil, code)
	hash = binary.AppendUvarint(hash, uint64(len(digest)))
	return cid.NewCidV1(codec, append(hash, digest...))
}
