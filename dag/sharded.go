package dag

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/ipfs/go-unixfsnode/data"
	"github.com/multiformats/go-multihash"
	mhcore "github.com/multiformats/go-multihash/core"
)

// maxFanout is the widest node of a HAMT, as everywhere in the field.
const maxFanout = 1 << 10

// hashBits are in the hash of a name: a HAMT is no deeper than they last.
const hashBits = 64

// checkShard holds a node of a sharded folder against the format: the name of
// a link is its place among fanout, in hexadecimal digits, and behind them, if
// it is no further node of the HAMT, the name of an entry.
func (n *node) checkShard(u data.UnixFSData) error {
	switch {
	case !u.FieldHashType().Exists() || u.FieldHashType().Must().Int() != multihash.MURMUR3X64_64:
		return broken(n.cid, "a HAMT of another hash than murmur3-x64-64")
	case !u.FieldFanout().Exists():
		return broken(n.cid, "a HAMT without fanout")
	}
	width := u.FieldFanout().Must().Int()
	if width < 2 || width > maxFanout || width&(width-1) != 0 {
		return broken(n.cid, "a HAMT of fanout %d", width)
	}
	n.fanout = int(width)
	last := -1
	for _, l := range n.links {
		place, _, ok := n.place(l.name)
		if !ok || place <= last {
			return broken(n.cid, "a HAMT in which %q follows %d", l.name, last)
		}
		last = place
	}
	return nil
}

// digits is how many hexadecimal digits a place has.
func (n *node) digits() int { return len(strconv.FormatInt(int64(n.fanout-1), 16)) }

// place takes the name of a link apart. entry is empty for a further node.
func (n *node) place(name string) (place int, entry string, ok bool) {
	d := n.digits()
	if len(name) < d {
		return 0, "", false
	}
	v, err := strconv.ParseUint(name[:d], 16, 16)
	if err != nil || int(v) >= n.fanout || fmt.Sprintf("%0*X", d, v) != name[:d] {
		return 0, "", false
	}
	return int(v), name[d:], true
}

// hashOf is what decides where a name is in a HAMT.
func hashOf(name string) uint64 {
	h, err := mhcore.GetHasher(multihash.MURMUR3X64_64)
	if err != nil {
		panic(err) // it comes with go-multihash
	}
	_, _ = h.Write([]byte(name)) // a hash.Hash never fails
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// step is the place of a hash in n, which lies where used bits have led. It is
// false if there are not enough of them.
func (n *node) step(hash uint64, used int) (place, bitsUsed int, ok bool) {
	width := bits.TrailingZeros(uint(n.fanout))
	if used+width > hashBits {
		return 0, 0, false
	}
	return int(hash << used >> (hashBits - width)), used + width, true
}

// findSharded looks for a name in the HAMT that begins with n.
func (f *FS) findSharded(ctx context.Context, n *node, name string) (link, bool, error) {
	hash, used := hashOf(name), 0
	for {
		want, next, ok := n.step(hash, used)
		if !ok {
			return link{}, false, broken(n.cid, "a HAMT that is too deep")
		}
		l, entry, ok := n.at(want)
		switch {
		case !ok:
			return link{}, false, nil
		case entry != "":
			l.name = entry
			return l, entry == name, nil
		}
		below, err := f.belowShard(ctx, n, l)
		if err != nil {
			return link{}, false, err
		}
		n, used = below, next
	}
}

// at returns the link at a place.
func (n *node) at(place int) (l link, entry string, ok bool) {
	lo, hi := 0, len(n.links) // which are in order, as checkShard has seen
	for lo < hi {
		mid := (lo + hi) / 2
		if p, _, _ := n.place(n.links[mid].name); p < place {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(n.links) {
		return link{}, "", false
	}
	p, entry, _ := n.place(n.links[lo].name)
	return n.links[lo], entry, p == place
}

// belowShard reads a further node of a HAMT.
func (f *FS) belowShard(ctx context.Context, n *node, l link) (*node, error) {
	below, err := f.node(ctx, l.cid)
	switch {
	case err != nil:
		return nil, err
	case below.kind != shardedFolder || below.fanout != n.fanout:
		return nil, broken(l.cid, "it is no part of the HAMT that it lies in")
	case len(below.links) == 0:
		return nil, broken(l.cid, "an empty part of a HAMT") // many of them would be a long way to nothing
	}
	return below, nil
}
