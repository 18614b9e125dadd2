package extract

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	carv2 "github.com/ipld/go-car/v2"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// export returns the CAR of root, and what go-car reads in it.
func export(t *testing.T, m *dagtest.Memory, root cid.Cid) (car []byte, order []cid.Cid) {
	t.Helper()
	var out bytes.Buffer
	if err := New(m).CAR(t.Context(), root, &out); err != nil {
		t.Fatal(err)
	}
	reader, err := carv2.NewBlockReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatalf("go-car: %v", err)
	}
	if reader.Version != 1 || len(reader.Roots) != 1 || !reader.Roots[0].Equals(root) {
		t.Fatalf("version %d, roots %v", reader.Version, reader.Roots)
	}
	for {
		b, err := reader.Next() // hashes it
		if errors.Is(err, io.EOF) {
			return out.Bytes(), order
		}
		if err != nil {
			t.Fatalf("go-car: %v", err)
		}
		order = append(order, b.Cid())
	}
}

func TestCAROrder(t *testing.T) {
	m := dagtest.New(t)
	leaf1, leaf2 := m.File("1"), m.File("2")
	a := m.Folder(false, map[string]ipld.Node{"x": leaf1, "y": leaf2})
	b := m.Folder(false, map[string]ipld.Node{"x": leaf2, "y": leaf1})
	root := m.Folder(false, map[string]ipld.Node{"a": a, "b": b, "c": leaf1})
	car, order := export(t, m, root.Cid())
	want := []cid.Cid{root.Cid(), a.Cid(), leaf1.Cid(), leaf2.Cid(), b.Cid()}
	if !slices.Equal(order, want) {
		t.Errorf("got  %v\nwant %v", order, want)
	}
	if again, _ := export(t, m, root.Cid()); !bytes.Equal(car, again) {
		t.Error("not the same bytes again")
	}
}

func TestCARCodecs(t *testing.T) {
	m := dagtest.New(t)
	leaf := m.Block(cid.Raw, 0x12, []byte("leaf"))
	plain := m.Block(0x51, 0x12, []byte{0xa0}) // CBOR that is no DAG has no links
	inline := m.Block(cid.Raw, 0x00, []byte("inline"))
	link := func(c cid.Cid) []byte {
		return appendByteString([]byte{0xd8, 42}, append([]byte{0}, c.Bytes()...))
	}
	json := m.Block(cid.DagJSON, 0x12, []byte(`{"a":{"/":"`+leaf.String()+`"}}`))
	root := m.Block(cid.DagCBOR, 0x12, slices.Concat([]byte{0x84}, link(json), link(inline), link(plain), link(leaf)))
	if _, order := export(t, m, root); !slices.Equal(order, []cid.Cid{root, json, leaf, plain}) {
		t.Errorf("got %v", order)
	}
	if _, order := export(t, m, inline); !slices.Equal(order, []cid.Cid{inline}) {
		t.Errorf("an identity root: got %v", order)
	}
	large := m.Block(cid.Raw, 0x00, make([]byte, 300)) // its link needs a longer head in the header
	if _, order := export(t, m, large); len(order) != 1 {
		t.Errorf("a root with a CID of %d bytes: got %v", large.ByteLen(), order)
	}
}

func TestCARFails(t *testing.T) {
	m := dagtest.New(t)
	unknown := m.Block(cid.GitRaw, 0x11, []byte("blob 0\x00"))
	broken := m.Block(cid.DagCBOR, 0x12, []byte{0xff})
	for name, c := range map[string]cid.Cid{"unknown codec": unknown, "not decodable": broken} {
		var out bytes.Buffer
		if err := New(m).CAR(t.Context(), c, &out); !errors.Is(err, ErrKind) || out.Len() > 0 {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
	}
	var out bytes.Buffer
	if err := New(m).CAR(t.Context(), cid.MustParse(v1), &out); !errors.Is(err, ErrMissing) || out.Len() > 0 {
		t.Errorf("missing root: %d bytes, %v", out.Len(), err)
	}
	// Nested so deep that a decoder that recurses would end the process.
	deep := m.Block(cid.DagCBOR, 0x12, bytes.Repeat([]byte{0x81}, 8<<20))
	if err := New(m).CAR(t.Context(), deep, &out); !errors.Is(err, ErrKind) {
		t.Errorf("nested: %v", err)
	}
}
