package cartest

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Pragma is what every CARv2 begins with.
const Pragma = "\x0a\xa1\x67version\x02"

// V2Header is the length of pragma and header of a CARv2: where its payload
// may begin at the earliest.
const V2Header = 51

// A Block is a CID and the bytes under it. They need not match.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// Raw returns data as a block: CIDv1, raw codec, SHA2-256. It keeps data.
func Raw(data []byte) Block { return Sum(cid.Raw, multihash.SHA2_256, data) }

// Identity returns data as a block whose CID holds the data itself.
func Identity(data []byte) Block { return Sum(cid.Raw, multihash.IDENTITY, data) }

// V0 returns data as a block with a CIDv0, as old UnixFS writers name theirs.
func V0(data []byte) Block {
	return Block{CID: cid.NewCidV0(sum(multihash.SHA2_256, data)), Data: data}
}

// Sum returns data as a block: CIDv1, the given codec and hash function. It
// panics on a hash function that go-multihash does not know.
func Sum(codec, hash uint64, data []byte) Block {
	return Block{CID: cid.NewCidV1(codec, sum(hash, data)), Data: data}
}

func sum(hash uint64, data []byte) multihash.Multihash {
	mh, err := multihash.Sum(data, hash, -1)
	if err != nil {
		panic("cartest: " + err.Error())
	}
	return mh
}

// V1 returns a CARv1 of roots and blocks, in this order.
func V1(roots []cid.Cid, blocks []Block) []byte {
	size := 64 + 48*len(roots)
	for i := range blocks {
		size += len(blocks[i].Data) + 64
	}
	out := AppendHeader(make([]byte, 0, size), roots)
	for i := range blocks {
		out = AppendBlock(out, blocks[i])
	}
	return out
}

// Container is what a CARv2 has around its payload. The zero Container has
// no padding and no index.
type Container struct {
	Characteristics [16]byte
	DataPadding     int    // null bytes before the payload
	IndexPadding    int    // null bytes before the index
	Index           []byte // as it stands in the file, codec first; nil: none
}

// V2 returns a CARv2 around payload, which is a CARv1.
func V2(payload []byte, c Container) []byte {
	data := uint64(V2Header + c.DataPadding)
	var index uint64
	if c.Index != nil {
		index = data + uint64(len(payload)+c.IndexPadding)
	}
	out := AppendV2Header(nil, c.Characteristics, data, uint64(len(payload)), index)
	out = append(out, make([]byte, c.DataPadding)...)
	out = append(out, payload...)
	if c.Index != nil {
		out = append(out, make([]byte, c.IndexPadding)...)
		out = append(out, c.Index...)
	}
	return out
}

// AppendV2Header appends pragma and header of a CARv2 with these fields,
// however impossible they are.
func AppendV2Header(dst []byte, characteristics [16]byte, data, size, index uint64) []byte {
	dst = append(dst, Pragma...)
	dst = append(dst, characteristics[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, data)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	return binary.LittleEndian.AppendUint64(dst, index)
}

// AppendHeader appends the header of a CARv1, length first.
func AppendHeader(dst []byte, roots []cid.Cid) []byte {
	body := make([]byte, 0, 32+48*len(roots))
	body = append(body, 0xa2) // a map of two
	body = append(body, "\x65roots"...)
	body = AppendCBORHead(body, 4, uint64(len(roots)))
	for _, c := range roots {
		body = AppendLink(body, c.Bytes())
	}
	body = append(body, "\x67version\x01"...)
	dst = AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

// AppendLink appends id as DAG-CBOR writes a link: tag 42 around the bytes
// of the CID after a null byte.
func AppendLink(dst, id []byte) []byte {
	dst = append(dst, 0xd8, 42)
	dst = AppendCBORHead(dst, 2, uint64(len(id)+1))
	dst = append(dst, 0)
	return append(dst, id...)
}

// AppendCBORHead appends the head of a CBOR item, as short as it can be.
func AppendCBORHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg < 1<<8:
		return append(dst, major|24, byte(arg))
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	default:
		return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
	}
}

// AppendBlock appends b as a section.
func AppendBlock(dst []byte, b Block) []byte {
	return AppendSection(dst, b.CID.Bytes(), b.Data)
}

// AppendSection appends a section: its length, id and data. The bytes of id
// may be anything.
func AppendSection(dst, id, data []byte) []byte {
	dst = AppendUvarint(dst, uint64(len(id)+len(data)))
	dst = append(dst, id...)
	return append(dst, data...)
}

// AppendUvarint appends v as an unsigned varint.
func AppendUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }
