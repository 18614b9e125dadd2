package nodes

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestPBAgrees holds every node of some DAGs against what boxo reads in them.
func TestPBAgrees(t *testing.T) {
	m := dagtest.New(t)
	entries := map[string]ipld.Node{"file": m.File(dagtest.Text(30_000)), "link": m.Symlink("to"), "": m.File("no name")}
	for i := range 400 {
		entries[fmt.Sprintf("entry %d ü", i)] = m.File(fmt.Sprint(i))
	}
	m.Folder(false, entries)
	m.Folder(true, entries)
	checked := 0
	var n PB // used again and again
	for _, b := range m.All() {
		if b.Cid().Prefix().Codec != cid.DagProtobuf {
			continue
		}
		want, err := merkledag.DecodeProtobuf(b.RawData())
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Parse(b.RawData()); err != nil {
			t.Fatalf("%s: %v", b.Cid(), err)
		}
		if !bytes.Equal(n.Data, want.Data()) || len(n.Links) != len(want.Links()) {
			t.Fatalf("%s: %d bytes and %d links, want %d and %d", b.Cid(), len(n.Data), len(n.Links), len(want.Data()), len(want.Links()))
		}
		for i, l := range want.Links() {
			c, err := n.Links[i].CID()
			if err != nil || !c.Equals(l.Cid) || string(n.Links[i].Name) != l.Name {
				t.Errorf("%s: link %d is %q to %s, %v; want %q to %s", b.Cid(), i, n.Links[i].Name, c, err, l.Name, l.Cid)
			}
		}
		agree(t, b.Cid(), n.Data)
		checked++
	}
	if checked < 20 {
		t.Errorf("only %d nodes", checked)
	}
}

func agree(t *testing.T, c cid.Cid, data []byte) {
	t.Helper()
	want, err := unixfs.FSNodeFromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseUnixFS(data)
	if err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	if int(u.Kind) != int(want.Type()) || !bytes.Equal(u.Data, want.Data()) || u.Fanout != want.Fanout() || u.Hash != want.HashType() {
		t.Errorf("%s: %+v is not %v", c, u, want)
	}
	if !u.Kind.IsFile() {
		return
	}
	_, size, err := u.Measure(want.NumChildren())
	if err != nil || uint64(size) != want.FileSize() {
		t.Errorf("%s: %d bytes, %v; want %d", c, size, err, want.FileSize())
	}
}

// TestFinder looks for every name of a HAMT, and for some that are not there.
func TestFinder(t *testing.T) {
	m := dagtest.New(t)
	entries, want := map[string]ipld.Node{}, map[string]cid.Cid{}
	for i := range 3000 {
		name := fmt.Sprintf("name %d", i)
		entries[name] = m.File(fmt.Sprint(i))
		want[name] = entries[name].Cid()
	}
	root := m.Folder(true, entries).Cid()
	find := func(name string) (cid.Cid, bool) {
		c := root
		for f := NewFinder(name); ; {
			b, err := m.Get(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var n PB
			if err := n.Parse(b.RawData()); err != nil {
				t.Fatal(err)
			}
			u, err := ParseUnixFS(n.Data)
			if err != nil || !u.IsShard() {
				t.Fatalf("%+v, %v", u, err)
			}
			l, found, further, err := f.Next(&n, &u)
			if err != nil {
				t.Fatal(err)
			}
			if !found && !further {
				return cid.Undef, false
			}
			if c, err = l.CID(); err != nil {
				t.Fatal(err)
			}
			if found {
				return c, true
			}
		}
	}
	for name, c := range want {
		if got, ok := find(name); !ok || !got.Equals(c) {
			t.Fatalf("%q: %s, %v; want %s", name, got, ok, c)
		}
	}
	for i := range 300 {
		if got, ok := find(fmt.Sprintf("none %d", i)); ok {
			t.Errorf("none %d: %s", i, got)
		}
	}
}

// someCIDs are links for tests.
func someCIDs(t *testing.T) []cid.Cid {
	t.Helper()
	var all []cid.Cid
	for i := range 5 {
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum([]byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return append(all, cid.NewCidV0(all[0].Hash()))
}

// TestDataAgrees wants the links of dag-cbor and dag-json that go-ipld-prime finds.
func TestDataAgrees(t *testing.T) {
	cids := someCIDs(t)
	link := func(i int) string { return fmt.Sprintf(`{"/":%q}`, cids[i]) }
	for _, text := range []string{
		`1`, `"x"`, `[]`, `{}`, `null`, `true`, `-1.5`, link(0), `[` + link(0) + `,` + link(1) + `,` + link(0) + `]`,
		`{"a":` + link(2) + `,"b":{"c":[` + link(3) + `,{"/":{"bytes":"aGk"}},"/","` + cids[4].String() + `"]},"d":` + link(5) + `}`,
		`{"/a":"x","b":["/",{"y":"/"}]}`,
	} {
		b := basicnode.Prototype.Any.NewBuilder()
		if err := dagjson.Decode(b, strings.NewReader(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		node := b.Build()
		want := linksOf(t, node)
		if got, err := Links(nil, cid.DagJSON, []byte(text)); err != nil || !same(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		var cbor bytes.Buffer
		if err := dagcbor.Encode(node, &cbor); err != nil {
			t.Fatal(err)
		}
		// dag-cbor has its keys in another order.
		if got, err := Links(nil, cid.DagCBOR, cbor.Bytes()); err != nil || len(got) != len(want) || !subset(got, want) {
			t.Errorf("%s as CBOR: %v, %v; want %v", text, got, err, want)
		}
	}
}

func linksOf(t *testing.T, node datamodel.Node) []cid.Cid {
	t.Helper()
	links, err := traversal.SelectLinks(node)
	if err != nil {
		t.Fatal(err)
	}
	var all []cid.Cid
	for _, l := range links {
		all = append(all, l.(cidlink.Link).Cid)
	}
	return all
}

func same(a, b []cid.Cid) bool { return slices.EqualFunc(a, b, cid.Cid.Equals) }

func subset(a, b []cid.Cid) bool {
	for _, c := range a {
		if !slices.ContainsFunc(b, c.Equals) {
			return false
		}
	}
	return true
}

// TestBroken wants an error, and soon, for what is not what its codec says.
func TestBroken(t *testing.T) {
	id := someCIDs(t)[0].Bytes()
	tagged := append([]byte{0xd8, 0x2a, 0x58, byte(len(id) + 1), 0}, id...)
	for name, bad := range map[string]struct {
		codec uint64
		block string
	}{
		"a length past the end":       {cid.DagProtobuf, "\x0a\x05x"},
		"a length past everything":    {cid.DagProtobuf, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
		"another field":               {cid.DagProtobuf, "\x1a\x00"},
		"another wire type":           {cid.DagProtobuf, "\x08\x01"},
		"data twice":                  {cid.DagProtobuf, "\x0a\x00\x0a\x00"},
		"a link to nothing":           {cid.DagProtobuf, "\x12\x00"},
		"a link that is no CID":       {cid.DagProtobuf, "\x12\x03\x0a\x01\x07"},
		"a link cut short":            {cid.DagProtobuf, "\x12\x02\x0a\x05"},
		"a link with another field":   {cid.DagProtobuf, "\x12\x02\x20\x01"},
		"CBOR of nothing":             {cid.DagCBOR, ""},
		"CBOR cut short":              {cid.DagCBOR, "\x82\x01"},
		"CBOR with something behind":  {cid.DagCBOR, "\x01\x01"},
		"CBOR of unknown length":      {cid.DagCBOR, "\x9f\x01\xff"},
		"a long list of nothing":      {cid.DagCBOR, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"},
		"a long map of nothing":       {cid.DagCBOR, "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"},
		"a long text of nothing":      {cid.DagCBOR, "\x7b\xff\xff\xff\xff\xff\xff\xff\xff"},
		"deep CBOR":                   {cid.DagCBOR, strings.Repeat("\x81", 100_000) + "\x01"},
		"a link that is text":         {cid.DagCBOR, "\xd8\x2a\x61x"},
		"a link without a null byte":  {cid.DagCBOR, "\xd8\x2a\x41\x01"},
		"a link with something after": {cid.DagCBOR, string(tagged) + "\x00"},
		"a tagged nothing":            {cid.DagCBOR, "\xd8\x2a"},
		"JSON of nothing":             {cid.DagJSON, ""},
		"JSON cut short":              {cid.DagJSON, `{"a":`},
		"JSON with something behind":  {cid.DagJSON, `1 2`},
		"deep JSON":                   {cid.DagJSON, strings.Repeat("[", 100_000)},
		"no JSON":                     {cid.DagJSON, "x"},
		"a JSON link that is none":    {cid.DagJSON, `{"/":"x"}`},
	} {
		if links, err := Links(nil, bad.codec, []byte(bad.block)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", name, links, err)
		}
	}
	if _, err := Links(nil, 0x78, nil); !errors.Is(err, ErrCodec) || Known(0x78) || !Known(cid.Raw) {
		t.Errorf("a codec that nobody knows: %v", err)
	}
}

func TestBrokenUnixFS(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":           "",
		"no type":           "\x12\x00",
		"a type of none":    "\x08\x09",
		"cut short":         "\x08",
		"data cut short":    "\x08\x02\x12\x05x",
		"packed, cut short": "\x08\x02\x22\x01\xff",
		"another wire type": "\x08\x02\x0d",
	} {
		if u, err := ParseUnixFS([]byte(data)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	const everything = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
	for _, data := range []string{"\x08\x02\x20" + everything, "\x08\x02\x18" + everything + "\x20\x01", "\x08\x02\x22\x0a" + everything} {
		u, err := ParseUnixFS([]byte(data))
		if _, size, measured := u.Measure(1); err != nil || !u.Kind.IsFile() || !errors.Is(measured, ErrBroken) {
			t.Errorf("a size of everything: %+v, %v: %d bytes, %v", u, err, size, measured)
		}
	}
	most := UnixFS{Kind: File, Size: -1, Sizes: []int64{1<<62 + 1, 1 << 62}}
	if _, _, err := most.Measure(2); !errors.Is(err, ErrBroken) {
		t.Errorf("more bytes than there are: %v", err)
	}
	for _, u := range []UnixFS{{Kind: File, Size: 3, Sizes: []int64{2}}, {Kind: File, Size: -1}} {
		if _, _, err := u.Measure(1); !errors.Is(err, ErrBroken) {
			t.Errorf("%+v: %v", u, err)
		}
	}
}

func TestModTime(t *testing.T) {
	// Of 2026-01-02 01:17:25 and 7 ns; without nanoseconds; with too many.
	for data, want := range map[string]string{
		"\x08\x02\x42\x0b\x08\xa5\xb9\xdc\xca\x06\x15\x07\x00\x00\x00": "2026-01-02T01:17:25.000000007Z",
		"\x08\x02\x42\x06\x08\xa5\xb9\xdc\xca\x06":                     "2026-01-02T01:17:25Z",
		"\x08\x02\x42\x0b\x08\xa5\xb9\xdc\xca\x06\x15\xff\xff\xff\xff": "0001-01-01T00:00:00Z",
	} {
		u, err := ParseUnixFS([]byte(data))
		if got := u.ModTime.Format("2006-01-02T15:04:05.999999999Z07:00"); err != nil || got != want {
			t.Errorf("%x: %s, %v; want %s", data, got, err, want)
		}
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(uint8(0), []byte("\x12\x03\x0a\x01\x07"))
	f.Add(uint8(1), []byte("\x82\x01\xd8\x2a\x41\x00"))
	f.Add(uint8(2), []byte(`{"/":"bafkqaaa"}`))
	f.Fuzz(func(t *testing.T, codec uint8, block []byte) {
		of := []uint64{cid.DagProtobuf, cid.DagCBOR, cid.DagJSON}[codec%3]
		links, err := Links(nil, of, block)
		if len(links) > len(block) {
			t.Fatalf("%d links in %d bytes", len(links), len(block))
		}
		_, _ = ParseUnixFS(block)
		// What others read, and read whole, has the same links here.
		b := basicnode.Prototype.Any.NewBuilder()
		switch of {
		case cid.DagProtobuf:
			n, other := merkledag.DecodeProtobuf(block)
			if other == nil && err == nil && len(n.Links()) != len(links) {
				t.Fatalf("%d links, boxo has %d", len(links), len(n.Links()))
			}
		case cid.DagCBOR:
			if dagcbor.Decode(b, bytes.NewReader(block)) == nil {
				if want := linksOf(t, b.Build()); err == nil && len(want) != len(links) { // it takes more than the format has
					t.Fatalf("%v; go-ipld-prime has %v", links, want)
				}
			}
		case cid.DagJSON:
			if dagjson.Decode(b, bytes.NewReader(block)) == nil && err == nil {
				if want := linksOf(t, b.Build()); len(want) != len(links) {
					t.Fatalf("%v; go-ipld-prime has %v", links, want)
				}
			}
		}
	})
}
