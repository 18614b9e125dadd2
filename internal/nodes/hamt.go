package nodes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/multiformats/go-multihash"
	mhcore "github.com/multiformats/go-multihash/core"
)

const (
	maxFanout = 1 << 10 // the widest node of a HAMT, as everywhere in the field
	hashBits  = 64      // of a name: a HAMT is no deeper than they last
)

// A Finder looks for a name in a HAMT, node by node.
type Finder struct {
	name []byte
	hash uint64
	used int
}

// NewFinder begins to look for name.
func NewFinder(name string) *Finder {
	h, err := mhcore.GetHasher(multihash.MURMUR3X64_64)
	if err != nil {
		panic(err) // it comes with go-multihash
	}
	_, _ = h.Write([]byte(name)) // a hash.Hash never fails
	return &Finder{name: []byte(name), hash: binary.BigEndian.Uint64(h.Sum(nil))}
}

// Next looks in a node of the HAMT, which it must be. It returns the entry of
// the name (found), the next node in which to look (further), or nothing, which
// proves that there is no such name.
func (f *Finder) Next(n *PB, u *UnixFS) (l *Link, found, further bool, err error) {
	width := bits.TrailingZeros64(u.Fanout)
	if f.used+width > hashBits {
		return nil, false, false, broken("a HAMT that is too deep")
	}
	place := int(f.hash << f.used >> (hashBits - width))
	f.used += width
	prefix := fmt.Appendf(nil, "%0*X", ShardDigits(u.Fanout), place)
	for i := range n.Links {
		l := &n.Links[i]
		switch {
		case !bytes.HasPrefix(l.Name, prefix):
		case len(l.Name) == len(prefix):
			return l, false, true, nil
		case bytes.Equal(l.Name[len(prefix):], f.name):
			return l, true, false, nil
		default:
			return nil, false, false, nil // another name is where it would be
		}
	}
	return nil, false, false, nil
}

// ShardDigits is how many digits are before each name in a HAMT of this fanout:
// a link whose name is no longer leads to a further node of the HAMT.
func ShardDigits(fanout uint64) int { return len(strconv.FormatUint(fanout-1, 16)) }
