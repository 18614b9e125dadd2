package dag

import (
	"cmp"
	"encoding/binary"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-unixfsnode/data"
	dagpb "github.com/ipld/go-codec-dagpb"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
)

// A dag-pb block of more than maxNode bytes, four times what IPFS nodes
// exchange, is not taken for UnixFS. One with more than maxLinks is not either:
// in 32 bytes of a block there is room for four links to nothing, which have as
// many times their length in memory before anything is known of them.
const (
	maxNode  = 8 << 20
	maxLinks = maxNode / 32
)

// What a node is.
type kind uint8

const (
	file kind = iota
	folder
	shardedFolder // a HAMT, or a part of one
	symlink
)

// The permissions of what does not say which it has, by the specification.
const (
	defaultFile   fs.FileMode = 0o644
	defaultFolder fs.FileMode = 0o755
)

// A node is a UnixFS node as its block has it. It is never changed.
type node struct {
	cid    cid.Cid
	kind   kind
	data   []byte // of a file: its beginning; of a symlink: its target
	links  []link // of a folder by name, else as they are
	size   int64  // of a file: all of it
	perm   fs.FileMode
	mtime  time.Time
	fanout int // of a sharded folder
	weight int // bytes of the block, and of what was made of it
}

type link struct {
	name string
	cid  cid.Cid
	end  int64 // of a file: where what is below it ends, from the node's beginning
}

// decode makes a node of the block of c.
func decode(c cid.Cid, block []byte) (*node, error) {
	switch c.Prefix().Codec {
	case cid.Raw:
		return &node{cid: c, kind: file, data: block, size: int64(len(block)), perm: defaultFile, weight: len(block)}, nil
	case cid.DagProtobuf:
	default:
		return nil, broken(c, "its codec is 0x%x", c.Prefix().Codec)
	}
	if len(block) > maxNode {
		return nil, broken(c, "a node of %d bytes, the most is %d", len(block), maxNode)
	}
	if n := countLinks(block); n > maxLinks {
		return nil, broken(c, "a node of %d links, the most is %d", n, maxLinks)
	}
	builder := dagpb.Type.PBNode.NewBuilder()
	if err := dagpb.DecodeBytes(builder, block); err != nil {
		return nil, broken(c, "%v", err)
	}
	pb, ok := builder.Build().(dagpb.PBNode)
	if !ok || !pb.FieldData().Exists() {
		return nil, broken(c, "no data of UnixFS")
	}
	u, err := data.DecodeUnixFSData(pb.FieldData().Must().Bytes())
	if err != nil {
		return nil, broken(c, "%v", err)
	}
	n := &node{cid: c}
	if n.links, err = linksOf(c, pb); err != nil {
		return nil, err
	}
	n.weight = len(block) + len(n.links)*linkWeight
	return n, n.fill(u)
}

// linkWeight is about what a link has in memory, beside its name and its CID.
const linkWeight = 64

// countLinks is how many links there are in a block, without making any of
// them. Of a block that is no dag-pb it may be anything.
func countLinks(block []byte) (links int) {
	for len(block) > 0 {
		tag, n := binary.Uvarint(block)
		if n <= 0 {
			break
		}
		size, m := binary.Uvarint(block[n:])
		if m <= 0 || size > uint64(len(block)-n-m) {
			break
		}
		if tag == 2<<3|2 { // field 2, of bytes
			links++
		}
		block = block[n+m+int(size):]
	}
	return links
}

func linksOf(c cid.Cid, pb dagpb.PBNode) ([]link, error) {
	links := make([]link, 0, pb.FieldLinks().Length())
	for all := pb.FieldLinks().Iterator(); !all.Done(); {
		_, l := all.Next()
		to, ok := l.FieldHash().Link().(cidlink.Link)
		if !ok || !to.Defined() {
			return nil, broken(c, "a link that is no CID")
		}
		next := link{cid: to.Cid}
		if l.FieldName().Exists() {
			next.name = l.FieldName().Must().String()
		}
		links = append(links, next)
	}
	return links, nil
}

// fill sets what the UnixFS data says.
func (n *node) fill(u data.UnixFSData) error {
	n.perm = defaultFolder
	switch t := u.FieldDataType().Int(); t {
	case data.Data_Raw, data.Data_File:
		n.kind, n.perm = file, defaultFile
	case data.Data_Directory:
		n.kind = folder
		// A stable order: of two with one name the first is found.
		slices.SortStableFunc(n.links, func(a, b link) int { return cmp.Compare(a.name, b.name) })
	case data.Data_HAMTShard:
		n.kind = shardedFolder
	case data.Data_Symlink:
		n.kind, n.perm = symlink, 0o777
	default:
		return broken(n.cid, "UnixFS of type %d", t)
	}
	if u.FieldMode().Exists() {
		n.perm = fs.FileMode(u.FieldMode().Must().Int()) & fs.ModePerm
	}
	if u.FieldMtime().Exists() {
		t := u.FieldMtime().Must()
		nanos := int64(0)
		if f := t.FieldFractionalNanoseconds(); f.Exists() {
			nanos = f.Must().Int()
		}
		if nanos < 0 || nanos >= int64(time.Second) {
			return broken(n.cid, "a time with %d nanoseconds", nanos)
		}
		n.mtime = time.Unix(t.FieldSeconds().Int(), nanos).UTC()
	}
	if d := u.FieldData(); d.Exists() && (n.kind == file || n.kind == symlink) {
		n.data = d.Must().Bytes()
	}
	switch n.kind {
	case file:
		return n.measure(u)
	case shardedFolder:
		return n.checkShard(u)
	default:
		return nil
	}
}

// measure adds up the sizes of a file's parts, and holds the sum against what
// the node says.
func (n *node) measure(u data.UnixFSData) error {
	sizes := u.FieldBlockSizes()
	if int(sizes.Length()) != len(n.links) {
		return broken(n.cid, "%d sizes of %d parts", sizes.Length(), len(n.links))
	}
	end := int64(len(n.data))
	all := sizes.Iterator()
	for i := range n.links {
		_, s := all.Next()
		part := s.Int()
		if part < 0 || part > math.MaxInt64-end {
			return broken(n.cid, "part %d has %d bytes", i, uint64(part))
		}
		end += part
		n.links[i].end = end
	}
	n.size = end
	if u.FieldFileSize().Exists() && u.FieldFileSize().Must().Int() != end {
		return broken(n.cid, "it says that it has %d bytes, its parts have %d", u.FieldFileSize().Must().Int(), end)
	}
	return nil
}

// mode is the type of n and its permissions.
func (n *node) mode() fs.FileMode {
	switch n.kind {
	case folder, shardedFolder:
		return fs.ModeDir | n.perm
	case symlink:
		return fs.ModeSymlink | n.perm
	default:
		return n.perm
	}
}

func (n *node) isFolder() bool { return n.kind == folder || n.kind == shardedFolder }
