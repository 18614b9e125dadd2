package dag_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ipfs/boxo/ipld/unixfs"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// refused fails unless a root is refused for what is wrong with it, soon.
func refused(t *testing.T, m *dagtest.Memory, root cid.Cid) {
	t.Helper()
	began := time.Now()
	err := all(dag.NewFS(t.Context(), m, root))
	var pe *fs.PathError
	if !errors.Is(err, dag.ErrUnixFS) || !errors.As(err, &pe) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// all reads everything there is, to the first error.
func all(f *dag.FS) error {
	return fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := d.Info(); err != nil || d.IsDir() || d.Type() != 0 {
			return err
		}
		_, err = f.ReadFile(name)
		return err
	})
}

// TestWrongSizes: a file whose parts are not what it says is refused, before
// anything is made of the claim.
func TestWrongSizes(t *testing.T) {
	m := dagtest.New(t)
	leaf := m.Block(cid.Raw, multihash.SHA2_256, []byte("twelve bytes"))
	part := &ipld.Link{Cid: leaf, Size: 12}
	inner := node(t, m, fileData(t, "", 12), part)
	claims := unixfs.NewFSNode(unixfs.TFile)
	claims.AddBlockSize(12)
	claims.UpdateFilesize(1 << 50)
	huge, err := claims.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]cid.Cid{
		"a leaf is shorter":   node(t, m, fileData(t, "", 13), part),
		"a leaf is longer":    node(t, m, fileData(t, "", 11), part),
		"one size too few":    node(t, m, fileData(t, "", 12), part, part),
		"one size too many":   node(t, m, fileData(t, "", 12, 12), part),
		"a sum over 2^63":     node(t, m, fileData(t, "", 1<<62, 1<<62, 1<<62), part, part, part),
		"a negative size":     node(t, m, fileData(t, "", 1<<63), part),
		"a size of its own":   node(t, m, huge, part),
		"a part that differs": node(t, m, fileData(t, "", 1<<40), &ipld.Link{Cid: inner}),
		"a folder as a part":  node(t, m, fileData(t, "", 12), &ipld.Link{Cid: m.Folder(false, nil).Cid()}),
		"not UnixFS":          node(t, m, []byte("\xff\xff\xff")),
		"no data":             node(t, m, nil),
		"another codec":       m.Block(cid.DagCBOR, multihash.SHA2_256, []byte{0xa0}),
		"not dag-pb":          m.Block(cid.DagProtobuf, multihash.SHA2_256, []byte("\x07nonsense")),
		"metadata":            node(t, m, []byte{8, 3}),
	} {
		t.Run(name, func(t *testing.T) { refused(t, m, c) })
	}
}

// TestTooDeep: a file that is one node below another, many times.
func TestTooDeep(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, multihash.SHA2_256, []byte("x"))
	for range 100 {
		c = node(t, m, fileData(t, "", 1), &ipld.Link{Cid: c})
	}
	refused(t, m, c)
}

// TestALongFileCostsWhatIsRead: one leaf, 2^50 bytes of it.
func TestALongFileCostsWhatIsRead(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, multihash.SHA2_256, bytes.Repeat([]byte("0123456789abcdef"), 64))
	size := uint64(1 << 10)
	for range 5 {
		var sizes []uint64
		var links []*ipld.Link
		for range 256 {
			sizes, links = append(sizes, size), append(links, &ipld.Link{Cid: c})
		}
		c = node(t, m, fileData(t, "", sizes...), links...)
		size *= 256
	}
	f := open(t, dag.NewFS(t.Context(), m, c), ".")
	m.Reads()
	p := make([]byte, 16)
	for _, off := range []int64{0, 1<<49 + 16, 1<<50 - 16} {
		if n, err := f.ReadAt(p, off); n != 16 || err != nil || string(p) != "0123456789abcdef" {
			t.Errorf("at %d: %q, %v", off, p[:n], err)
		}
	}
	if n := m.Reads(); n > 3*6 {
		t.Errorf("%d blocks were read for 48 bytes", n)
	}
}

func hamt(t *testing.T, m *dagtest.Memory, fanout uint64, links ...*ipld.Link) cid.Cid {
	t.Helper()
	data, err := unixfs.HAMTShardData([]byte{1}, fanout, multihash.MURMUR3X64_64)
	if err != nil {
		t.Fatal(err)
	}
	return node(t, m, data, links...)
}

// TestHAMTBombs: sharded folders that have no end, or lie about where a name is.
func TestHAMTBombs(t *testing.T) {
	m := dagtest.New(t)
	x := m.File("x").Cid()
	empty := hamt(t, m, 256)
	everywhere := func(c cid.Cid, entry string) (links []*ipld.Link) {
		for i := range 256 {
			links = append(links, &ipld.Link{Name: fmt.Sprintf("%02X%s", i, entry), Cid: c})
		}
		return links
	}
	bomb, hollow := hamt(t, m, 256, everywhere(x, "same")...), empty
	for range 7 {
		bomb = hamt(t, m, 256, everywhere(bomb, "")...)
		hollow = hamt(t, m, 256, everywhere(hollow, "")...)
	}
	chain := hamt(t, m, 256, &ipld.Link{Name: "00x", Cid: x})
	for range 20 {
		chain = hamt(t, m, 256, &ipld.Link{Name: "00", Cid: chain})
	}
	blake, err := unixfs.HAMTShardData([]byte{1}, 256, multihash.BLAKE3)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]cid.Cid{
		"one node in all places":  bomb,
		"nothing in all places":   hollow,
		"too deep":                chain,
		"a name elsewhere":        hamt(t, m, 256, &ipld.Link{Name: "00wrong", Cid: x}),
		"a file as a part":        hamt(t, m, 256, &ipld.Link{Name: "00", Cid: x}),
		"another fanout below":    hamt(t, m, 256, &ipld.Link{Name: "00", Cid: hamt(t, m, 16, &ipld.Link{Name: "0x", Cid: x})}),
		"places out of order":     hamt(t, m, 256, &ipld.Link{Name: "02x", Cid: x}, &ipld.Link{Name: "01y", Cid: x}),
		"a place twice":           hamt(t, m, 256, &ipld.Link{Name: "02x", Cid: x}, &ipld.Link{Name: "02y", Cid: x}),
		"a place that is none":    hamt(t, m, 256, &ipld.Link{Name: "zz", Cid: x}),
		"a place in small digits": hamt(t, m, 256, &ipld.Link{Name: "abx", Cid: x}),
		"fanout 3":                hamt(t, m, 3),
		"fanout 0":                hamt(t, m, 0),
		"fanout 2^40":             hamt(t, m, 1<<40),
		"another hash":            node(t, m, blake),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, m, c)
			if _, err := dag.NewFS(t.Context(), m, c).Open("nobody"); err == nil {
				t.Error("a name was found")
			}
		})
	}
	if err := fstest.TestFS(dag.NewFS(t.Context(), m, empty)); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
}

// one is a source of one block, which is what it is told.
type one struct {
	c    cid.Cid
	data []byte
}

func (s one) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if !c.Equals(s.c) {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return blocks.NewBlockWithCid(s.data, c)
}

func (s one) Has(_ context.Context, c cid.Cid) (bool, error) { return c.Equals(s.c), nil }

// FuzzNode decodes any bytes as a node. There is an error, or something that
// can be read without end or crash.
func FuzzNode(f *testing.F) {
	m := dagtest.New(f)
	root, _ := tree(m)
	for i, b := range m.All() {
		if b.Cid().Type() == cid.DagProtobuf && (i%20 == 0 || b.Cid().Equals(root)) {
			f.Add(b.RawData())
		}
	}
	bad, _ := hex.DecodeString("0a0208001200")
	f.Add(bad)
	c, err := cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256}.Sum([]byte("whatever"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files := dag.NewFS(t.Context(), one{c, data}, c)
		in, err := files.Stat(".")
		if err != nil {
			if !errors.Is(err, dag.ErrUnixFS) {
				t.Fatal(err)
			}
			return
		}
		if in.IsDir() {
			_, _ = files.ReadDir(".")
			_, _ = files.Open("a")
			return
		}
		if in.Size() < 0 {
			t.Fatalf("a size of %d", in.Size())
		}
		got, err := files.ReadFile(".")
		if err == nil && int64(len(got)) != in.Size() {
			t.Fatalf("%d bytes of %d", len(got), in.Size())
		}
	})
}

// TestTornNodes cuts and flips real nodes: an error, or a folder or file that
// can be read to an end.
func TestTornNodes(t *testing.T) {
	m := dagtest.New(t)
	root, _ := tree(m)
	rng := rand.New(rand.NewPCG(3, 4))
	refusals := 0
	for i, b := range m.All() {
		if b.Cid().Type() != cid.DagProtobuf || i%16 != 0 && !b.Cid().Equals(root) {
			continue
		}
		for range 4 {
			data := bytes.Clone(b.RawData())
			data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
			data = data[:len(data)-rng.IntN(2)]
			if err := all(dag.NewFS(t.Context(), over{m, one{b.Cid(), data}}, root)); err != nil {
				refusals++
			}
		}
	}
	if refusals == 0 {
		t.Error("no damage was noticed")
	}
}

// over is m but for one block.
type over struct {
	*dagtest.Memory
	one
}

func (s over) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if c.Equals(s.c) {
		return s.one.Get(ctx, c)
	}
	return s.Memory.Get(ctx, c)
}

func (s over) Has(ctx context.Context, c cid.Cid) (bool, error) { return s.Memory.Has(ctx, c) }
