package blocks

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// multihashOf is the multihash of c, as a part of it: what c.Hash would give,
// without a copy. It is empty if c is undefined.
func multihashOf(c cid.Cid) string {
	s := c.KeyString()
	if len(s) == 34 && s[0] == multihash.SHA2_256 && s[1] == 32 {
		return s // version 0 is the multihash
	}
	for range 2 { // version and codec
		for len(s) > 0 && s[0] >= 0x80 {
			s = s[1:]
		}
		s = s[min(1, len(s)):]
	}
	return s
}

func isIdentity(mh multihash.Multihash) bool { return len(mh) > 0 && mh[0] == multihash.IDENTITY }

// wholeIdentity reports whether an identity multihash has as many bytes as it
// says. A CID that was made of parts instead of parsed may have others.
func (l *lookup) wholeIdentity() bool {
	size, n := binary.Uvarint(l.mh[1:])
	return n > 0 && size == uint64(len(l.mh)-1-n)
}

// identity is the data in an identity multihash, which is whole.
func (l *lookup) identity() []byte {
	_, n := binary.Uvarint(l.mh[1:])
	return l.mh[1+n:]
}
