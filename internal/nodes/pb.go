package nodes

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
)

// A PB is a dag-pb node. Its slices lie in the block that it was parsed from.
// It may be parsed again, and then uses its memory for links once more.
type PB struct {
	Data    []byte
	HasData bool
	Links   []Link
}

// A Link of a dag-pb node.
type Link struct {
	Hash []byte // the bytes of a CID, which may be wrong
	Name []byte
}

// CID is where the link leads.
func (l *Link) CID() (cid.Cid, error) { return castCID(l.Hash) }

// AppendCIDs appends where the links lead.
func (n *PB) AppendCIDs(dst []cid.Cid) ([]cid.Cid, error) {
	for i := range n.Links {
		c, err := n.Links[i].CID()
		if err != nil {
			return dst, err
		}
		dst = append(dst, c)
	}
	return dst, nil
}

// usualLink is about what a link has in a block: of a file 44 bytes and more.
const usualLink = 44

// Parse reads a block. Fields may come in any order, since old writers disagree
// on it.
func (n *PB) Parse(block []byte) error {
	n.Data, n.HasData, n.Links = nil, false, n.Links[:0]
	for len(block) > 0 {
		field, body, rest, err := pbField(block)
		if err != nil {
			return err
		}
		block = rest
		switch field {
		case 1:
			if n.HasData {
				return broken("a dag-pb node with data twice")
			}
			n.Data, n.HasData = body, true
		case 2:
			l, err := pbLink(body)
			if err != nil {
				return err
			}
			if n.Links == nil {
				n.Links = make([]Link, 0, min(len(block)/usualLink+2, 4096))
			}
			n.Links = append(n.Links, l)
		default:
			return broken("a dag-pb node with a field %d", field)
		}
	}
	return nil
}

// pbField takes a field of bytes off the front of b.
func pbField(b []byte) (field uint64, body, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag&7 != 2 {
		return 0, nil, nil, broken("dag-pb of another wire type than bytes")
	}
	body, rest, ok := sized(b[n:])
	if !ok {
		return 0, nil, nil, broken("a dag-pb field that is longer than its block")
	}
	return tag >> 3, body, rest, nil
}

// sized takes bytes with their length before them off the front of b.
func sized(b []byte) (body, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

func pbLink(b []byte) (l Link, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return l, broken("a dag-pb link that is cut short")
		}
		b = b[n:]
		switch tag {
		case 1<<3 | 2, 2<<3 | 2:
			body, rest, ok := sized(b)
			if !ok {
				return l, broken("a dag-pb link that is cut short")
			}
			if b = rest; tag == 1<<3|2 {
				l.Hash = body
			} else {
				l.Name = body
			}
		case 3 << 3: // the size, which is a hint
			_, n := binary.Uvarint(b)
			if n <= 0 {
				return l, broken("a dag-pb link that is cut short")
			}
			b = b[n:]
		default:
			return l, broken("a dag-pb link with a field of tag %d", tag)
		}
	}
	if len(l.Hash) == 0 {
		return l, broken("a dag-pb link to nothing")
	}
	return l, nil
}
