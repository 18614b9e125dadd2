package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestBlocksOfDAGs walks what an explorer walks: folders, sharded ones, files,
// and DAG-CBOR.
func TestBlocksOfDAGs(t *testing.T) {
	dag := dagtest.New(t)
	file := dag.File(dagtest.Text(3 * dagtest.Chunk))
	folder := dag.Folder(false, map[string]ipld.Node{"file": file})
	sharded := dag.Folder(true, map[string]ipld.Node{"a": file, "b": folder})
	value, err := qp.BuildMap(basicnode.Prototype.Any, -1, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "name", qp.String("<photo>"))
		qp.MapEntry(m, "parts", qp.List(-1, func(l datamodel.ListAssembler) { qp.ListEntry(l, qp.Link(cidlink.Link{Cid: file.Cid()})) }))
	})
	if err != nil {
		t.Fatal(err)
	}
	var cbor bytes.Buffer
	if err := dagcbor.Encode(value, &cbor); err != nil {
		t.Fatal(err)
	}
	object := dag.Block(cid.DagCBOR, multihash.SHA2_256, cbor.Bytes())
	odd := dag.Block(uint64(multicodec.GitRaw), multihash.SHA2_256, []byte("git"))
	deep := dag.Block(cid.DagCBOR, multihash.SHA2_256, bytes.Repeat([]byte{0x81}, 1<<20))

	var blocks []cartest.Block
	for _, b := range dag.All() {
		blocks = append(blocks, cartest.Block{CID: b.Cid(), Data: b.RawData()})
	}
	r := newRig(t, nil)
	r.want(http.StatusCreated, "PUT", "/shards/dag", wire.Registration{Mount: r.file("dag.car", cartest.V1([]cid.Cid{folder.Cid()}, blocks))}, nil)
	block := func(c cid.Cid) (b wire.Block) {
		t.Helper()
		r.want(http.StatusOK, "GET", "/blocks/"+c.String(), nil, &b)
		if len(b.Locations) != 1 || b.Locations[0].Shard != "dag" {
			t.Errorf("%v lies at %+v", c, b.Locations)
		}
		return b
	}
	if b := block(folder.Cid()); b.UnixFS == nil || b.UnixFS.Type != "directory" || len(b.Links) != 1 || b.Links[0].Name != "file" || b.Links[0].CID != file.Cid().String() {
		t.Errorf("a folder: %+v, %+v", b, b.UnixFS)
	}
	if b := block(file.Cid()); b.UnixFS == nil || b.UnixFS.Type != "file" || b.UnixFS.Size != 3*dagtest.Chunk || b.LinkCount != 3 || b.Codec != "dag-pb" {
		t.Errorf("a file: %+v, %+v", b, b.UnixFS)
	}
	if b := block(sharded.Cid()); b.UnixFS == nil || b.UnixFS.Type != "hamt-shard" || len(b.Links) != 2 {
		t.Errorf("a sharded folder: %+v, %+v", b, b.UnixFS)
	}
	b := block(object)
	text, err := json.Marshal(b.Value)
	if err != nil || !strings.Contains(string(text), `photo`) || len(b.Links) != 1 || b.Links[0].Path != "parts/0" || b.Links[0].CID != file.Cid().String() {
		t.Errorf("an object: %s, %+v, %v", text, b.Links, err)
	}
	if b := block(odd); !strings.Contains(b.Undecoded, "git-raw") || b.Size != 3 {
		t.Errorf("of another codec: %+v", b)
	}
	if b := block(deep); b.Undecoded != errTooDeep.Error() {
		t.Errorf("a deep one: %.300v", b.Undecoded)
	}
}

// TestDecodeBounds: what is nested too deep, or lies about its length, costs
// nothing.
func TestDecodeBounds(t *testing.T) {
	for name, block := range map[string][]byte{
		"lists": bytes.Repeat([]byte{0x81}, 2<<20), "maps": bytes.Repeat([]byte{0xa1, 0x60}, 1<<20), "tags": bytes.Repeat([]byte{0xc6}, 2<<20),
		"long list": {0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "long text": {0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"long map": {0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0}, "indefinite": {0x9f, 0xff}, "cut": {0x82, 0x01}, "nothing": nil, "trailing": {0x01, 0x01},
	} {
		var out wire.Block
		if err := decode(&out, cid.DagCBOR, block); !errors.Is(err, errTooDeep) && !errors.Is(err, errNotCBOR) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, codec := range []multicodec.Code{multicodec.DagJson, multicodec.Json} {
		for _, block := range []string{strings.Repeat("[", 2<<20), strings.Repeat(`{"":`, 1<<19)} {
			var out wire.Block
			if err := decode(&out, uint64(codec), []byte(block)); !errors.Is(err, errTooDeep) {
				t.Errorf("%v: %v", codec, err)
			}
		}
	}
	var out wire.Block
	if err := decode(&out, uint64(multicodec.DagJson), []byte(`{"a":[{"/":"bafkqaaa"},"[[[\"["]}`)); err != nil || out.LinkCount != 1 || out.Links[0].Path != "a/0" {
		t.Errorf("%+v, %v", out, err)
	}
}

// FuzzDecode: no block brings the program down, and every answer is JSON.
func FuzzDecode(f *testing.F) {
	f.Add(uint64(cid.DagCBOR), []byte{0xa1, 0x61, 'a', 0x81, 0x01})
	f.Add(uint64(cid.DagProtobuf), []byte{0x0a, 0x02, 0x08, 0x01})
	f.Add(uint64(multicodec.DagJson), []byte(`{"a":{"/":{"bytes":"AA"}}}`))
	f.Add(uint64(multicodec.Json), []byte(`[1]`))
	f.Fuzz(func(t *testing.T, codec uint64, block []byte) {
		out := wire.Block{Links: []wire.Link{}}
		_ = decode(&out, codec, block) // any error will do
		if len(out.Links) > mostLinks || out.LinkCount < len(out.Links) {
			t.Errorf("%d links, %d are counted", len(out.Links), out.LinkCount)
		}
		if _, err := json.Marshal(out); err != nil {
			t.Error(err)
		}
	})
}
