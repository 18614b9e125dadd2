package nodes

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
)

// The major types of CBOR.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborList
	cborMap
	cborTag
	cborSimple
)

const tagLink = 42

// cborLinks appends the links of a dag-cbor block: byte strings of tag 42, which
// hold a null byte and a CID. It keeps no more than how many items are to come at
// each depth.
func cborLinks(dst []cid.Cid, b []byte) ([]cid.Cid, error) {
	var open [maxDepth]uint64 // items that are to come
	depth, link := 0, false
	open[0] = 1
	for {
		for open[depth] == 0 {
			if depth == 0 {
				if len(b) > 0 {
					return dst, broken("%d bytes follow its CBOR", len(b))
				}
				return dst, nil
			}
			depth--
		}
		open[depth]--
		major, arg, rest, ok := cborHead(b)
		if !ok || link && major != cborBytes {
			return dst, broken("bad CBOR")
		}
		b = rest
		switch major {
		case cborBytes, cborText:
			if arg > uint64(len(b)) {
				return dst, broken("CBOR that is cut short")
			}
			body := b[:arg]
			b = b[arg:]
			if link {
				if len(body) == 0 || body[0] != 0 {
					return dst, broken("a link that lacks its null byte")
				}
				c, err := castCID(body[1:])
				if err != nil {
					return dst, err
				}
				dst = append(dst, c)
			}
			link = false
		case cborList, cborMap:
			if arg > uint64(len(b)) || depth+1 == maxDepth { // an item has a byte at least
				return dst, broken("CBOR that is cut short, or too deep")
			}
			depth++
			open[depth] = arg
			if major == cborMap {
				open[depth] = 2 * arg
			}
		case cborTag:
			open[depth]++ // what is tagged
			link = arg == tagLink
		}
	}
}

// cborHead takes the head of an item off the front of b. Lengths that are not
// known beforehand are not of dag-cbor.
func cborHead(b []byte) (major byte, arg uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	major, info := b[0]>>5, b[0]&0x1f
	b = b[1:]
	if info < 24 {
		return major, uint64(info), b, true
	}
	if info > 27 {
		return 0, 0, nil, false
	}
	n := 1 << (info - 24)
	if len(b) < n {
		return 0, 0, nil, false
	}
	var wide [8]byte
	copy(wide[8-n:], b)
	return major, binary.BigEndian.Uint64(wide[:]), b[n:], true
}
