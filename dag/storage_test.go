package dag_test

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"testing"

	"github.com/ipfs/go-cid"
	ipldformat "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/storage"
	"github.com/ipld/go-ipld-prime/traversal"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

func TestStorage(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, multihash.SHA2_256, []byte("some bytes"))
	own := inlined("own bytes").Cid()
	s := dag.NewStorage(m)
	ctx := t.Context()
	for c, want := range map[cid.Cid]string{c: "some bytes", own: "own bytes"} {
		key := string(c.Bytes())
		if has, err := s.Has(ctx, key); !has || err != nil {
			t.Errorf("Has: %v, %v", has, err)
		}
		got, err := s.Get(ctx, key)
		if err != nil || string(got) != want {
			t.Fatalf("Get: %q, %v", got, err)
		}
		clear(got) // it is the caller's
		r, err := storage.GetStream(ctx, s, key)
		if err != nil {
			t.Fatal(err)
		}
		streamed, err := io.ReadAll(r)
		if err != nil || string(streamed) != want || r.Close() != nil {
			t.Errorf("GetStream: %q, %v", streamed, err)
		}
		seen, closer, err := storage.Peek(ctx, s, key)
		if err != nil || string(seen) != want || closer.Close() != nil {
			t.Errorf("Peek: %q, %v", seen, err)
		}
	}
	absent := m.Block(cid.Raw, multihash.SHA2_256, []byte("gone"))
	m.Drop(absent)
	if has, err := s.Has(ctx, string(absent.Bytes())); has || err != nil {
		t.Errorf("Has of an absent block: %v, %v", has, err)
	}
	if _, err := s.Get(ctx, string(absent.Bytes())); !ipldformat.IsNotFound(err) {
		t.Errorf("Get of an absent block: %v", err)
	}
	if _, err := s.GetStream(ctx, "no CID"); err == nil {
		t.Error("a key that is no CID")
	}
}

// TestLinkSystem walks a DAG of four codecs, and hashes nothing.
func TestLinkSystem(t *testing.T) {
	m := dagtest.New(t)
	leaf := m.Block(cid.Raw, multihash.SHA2_256, []byte("leaf"))
	file := m.File(dagtest.Text(3000))
	json := m.Block(cid.DagJSON, multihash.SHA2_256, []byte(`{"leaf":{"/":"`+leaf.String()+`"}}`))
	cbor := m.Block(cid.DagCBOR, multihash.SHA2_256, cborLinks(json, file.Cid()))

	links := dag.LinkSystem(m)
	hashed := 0
	choose := links.HasherChooser
	links.HasherChooser = func(p datamodel.LinkPrototype) (hash.Hash, error) {
		h, err := choose(p)
		return countHash{h, &hashed}, err
	}
	root, err := links.Load(ipld.LinkContext{Ctx: t.Context()}, cidlink.Link{Cid: cbor}, basicnode.Prototype.Any)
	if err != nil {
		t.Fatal(err)
	}
	m.Reads()
	p := traversal.Progress{Cfg: &traversal.Config{
		Ctx: t.Context(), LinkSystem: links,
		LinkTargetNodePrototypeChooser: func(datamodel.Link, ipld.LinkContext) (datamodel.NodePrototype, error) {
			return basicnode.Prototype.Any, nil
		},
	}}
	nodes := 0
	if err := walk(p, root, &nodes); err != nil {
		t.Fatal(err)
	}
	if hashed != 0 || m.Reads() < 5 || nodes < 10 {
		t.Errorf("%d nodes, %d bytes hashed", nodes, hashed)
	}
	if _, err := links.Store(ipld.LinkContext{Ctx: t.Context()}, cidlink.LinkPrototype{Prefix: cbor.Prefix()}, root); err == nil {
		t.Error("it stores")
	}
	absent := m.Block(cid.DagCBOR, multihash.SHA2_256, []byte{0xa0})
	m.Drop(absent)
	_, err = links.Load(ipld.LinkContext{Ctx: t.Context()}, cidlink.Link{Cid: absent}, basicnode.Prototype.Any)
	if nf := (ipldformat.ErrNotFound{}); !errors.As(err, &nf) {
		t.Errorf("a block that is not there: %v", err)
	}
}

// countHash counts the bytes that are hashed.
type countHash struct {
	hash.Hash
	n *int
}

func (h countHash) Write(p []byte) (int, error) {
	*h.n += len(p)
	return h.Hash.Write(p)
}

// walk follows every link below n.
func walk(p traversal.Progress, n datamodel.Node, nodes *int) error {
	*nodes++
	if n.Kind() == datamodel.Kind_Link {
		l, err := n.AsLink()
		if err != nil {
			return err
		}
		below, err := p.Cfg.LinkSystem.Load(ipld.LinkContext{Ctx: p.Cfg.Ctx}, l, basicnode.Prototype.Any)
		if err != nil {
			return err
		}
		return walk(p, below, nodes)
	}
	if i := n.MapIterator(); i != nil {
		for !i.Done() {
			_, v, err := i.Next()
			if err == nil {
				err = walk(p, v, nodes)
			}
			if err != nil {
				return err
			}
		}
	}
	if i := n.ListIterator(); i != nil {
		for !i.Done() {
			_, v, err := i.Next()
			if err == nil {
				err = walk(p, v, nodes)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// cborLinks is a list of links as dag-cbor.
func cborLinks(cids ...cid.Cid) []byte {
	var b bytes.Buffer
	b.WriteByte(0x80 | byte(len(cids)))
	for _, c := range cids {
		b.Write([]byte{0xd8, 42, 0x58, byte(len(c.Bytes()) + 1), 0})
		b.Write(c.Bytes())
	}
	return b.Bytes()
}
