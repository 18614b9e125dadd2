package pack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

const outBuffer = 1 << 20

// The head of a CARv2: a pragma, which is a CARv1 header of version 2, and a
// header of 40 bytes. https://ipld.io/specs/transport/car/carv2/
var pragma = []byte{0x0a, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 0x02}

const headV2 = 11 + 40

// A car is a CAR that is being written. As an ipld.DAGService it takes nodes and
// gives none back: who makes a DAG from its leaves needs none.
type car struct {
	ipld.DAGService // nil: nothing else is asked for
	out             Output
	w               *bufio.Writer
	head            int64 // bytes in front of the payload
	size            int64 // of the payload so far
	root            int   // bytes of the root's CID
	blocks          int64
	seen            map[string]struct{}
	index           *index.Builder // nil: a CARv1
}

// newCAR begins a CAR whose root is not known yet, but how long its CID is.
func newCAR(out Output, rootSize int, indexed bool) (*car, error) {
	c := &car{out: out, w: bufio.NewWriterSize(out, outBuffer), root: rootSize, seen: make(map[string]struct{})}
	if indexed {
		c.head = headV2
		c.index = index.NewBuilder(&index.WriteOptions{Bare: true})
	}
	room := int(c.head) + len(header(make([]byte, rootSize)))
	if _, err := c.w.Write(make([]byte, room)); err != nil {
		return nil, err
	}
	c.size = int64(room) - c.head
	return c, nil
}

func (c *car) close() {
	if c.index != nil {
		_ = c.index.Close() // its files are of no use any more
	}
}

// header is the header of a CARv1 with one root: its length, and the DAG-CBOR of
// {"roots": [root], "version": 1}. https://ipld.io/specs/transport/car/carv1/
func header(root []byte) []byte {
	link := append([]byte{0}, root...) // a CID in CBOR begins with a zero byte
	head := []byte{0xa2, 0x65, 'r', 'o', 'o', 't', 's', 0x81, 0xd8, 42, 0x58, byte(len(link))}
	head = append(head, link...)
	head = append(head, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 1)
	return append(binary.AppendUvarint(nil, uint64(len(head))), head...)
}

// Add writes a node, unless it was written before.
func (c *car) Add(ctx context.Context, node ipld.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.block(node)
}

// AddMany writes nodes.
func (c *car) AddMany(ctx context.Context, nodes []ipld.Node) error {
	for _, node := range nodes {
		if err := c.Add(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// Get never finds anything: what was written is gone.
func (c *car) Get(_ context.Context, id cid.Cid) (ipld.Node, error) {
	return nil, ipld.ErrNotFound{Cid: id}
}

// block writes the section of a block. Two CIDs of one block, as those of a raw
// leaf and of a file that happens to look like it, are two blocks.
func (c *car) block(b blocks.Block) error {
	key := b.Cid().KeyString()
	if _, twice := c.seen[key]; twice {
		return nil
	}
	c.seen[key] = struct{}{}
	data := b.RawData()
	head := binary.AppendUvarint(nil, uint64(len(key)+len(data)))
	if c.index != nil {
		at := index.Position{Offset: c.size, Size: int64(len(data)), Head: len(head) + len(key)}
		if err := c.index.Add(b.Cid().Hash(), at); err != nil {
			return err
		}
	}
	_, err := c.w.Write(head)
	if err == nil {
		_, err = c.w.WriteString(key)
	}
	if err == nil {
		_, err = c.w.Write(data)
	}
	c.size += int64(len(head) + len(key) + len(data))
	c.blocks++
	return err
}

// finish writes what was left open, and returns how long the CAR is.
func (c *car) finish(ctx context.Context, root cid.Cid) (size int64, err error) {
	if root.Prefix().MhType != multihash.SHA2_256 || root.ByteLen() != c.root {
		return 0, fmt.Errorf("the root is %s, whose CID has %d bytes instead of %d", root, root.ByteLen(), c.root)
	}
	size = c.head + c.size
	if c.index != nil {
		stats, err := c.index.WriteTo(ctx, c.w, [16]byte{})
		if err != nil {
			return 0, err
		}
		size += stats.Length
	}
	if err := c.w.Flush(); err != nil {
		return 0, err
	}
	var head []byte
	if c.index != nil {
		head = append(head, pragma...)
		head = append(head, make([]byte, 16)...) // characteristics
		head = binary.LittleEndian.AppendUint64(head, uint64(c.head))
		head = binary.LittleEndian.AppendUint64(head, uint64(c.size))
		head = binary.LittleEndian.AppendUint64(head, uint64(c.head+c.size))
	}
	head = append(head, header(root.Bytes())...)
	if n, err := c.out.WriteAt(head, 0); err != nil {
		return 0, errors.Join(err, fmt.Errorf("after %d bytes", n))
	}
	return size, nil
}
