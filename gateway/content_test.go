package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multibase"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

func TestRawBlock(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{Trustless: true})
	data := []byte("a block\x00with anything in it")
	c := m.Block(cid.Raw, 0x12, data)
	path := "/ipfs/" + c.String()

	for _, ask := range [][]string{
		{path + "?format=raw"},
		{path, "Accept", "application/vnd.ipld.raw"},
	} {
		a := get(t, server, http.StatusOK, ask[0], ask[1:]...)
		if !bytes.Equal(a.body, data) {
			t.Errorf("%v: got %q", ask, a.body)
		}
		for name, want := range map[string]string{
			"Content-Type":                "application/vnd.ipld.raw",
			"X-Content-Type-Options":      "nosniff",
			"Cache-Control":               "public, max-age=29030400, immutable",
			"X-Ipfs-Path":                 path,
			"X-Ipfs-Roots":                c.String(),
			"Access-Control-Allow-Origin": "*",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%v: %s is %q, want %q", ask, name, got, want)
			}
		}
	}
	head := ask(t, server, http.MethodHead, path+"?format=raw")
	if head.status != http.StatusOK || head.header.Get("Content-Length") != fmt.Sprint(len(data)) {
		t.Errorf("HEAD: %d, length %q", head.status, head.header.Get("Content-Length"))
	}
	part := get(t, server, http.StatusPartialContent, path+"?format=raw", "Range", "bytes=2-6")
	if string(part.body) != "block" {
		t.Errorf("range: got %q", part.body)
	}
	get(t, server, http.StatusBadRequest, path)
	if a := get(t, server, http.StatusNotAcceptable, path, "Accept", "text/html"); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("406 of a trustless gateway: Cache-Control %q", a.header.Get("Cache-Control"))
	}
}

func TestManyCIDForms(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	node := m.Folder(false, map[string]ipld.Node{"a": m.File("text")})
	v0 := cid.NewCidV0(node.Cid().Hash())
	for _, form := range []string{v0.String(), node.Cid().String(), node.Cid().Encode(multibase.MustNewEncoder('z')), node.Cid().Encode(multibase.MustNewEncoder('f'))} {
		a := get(t, server, http.StatusOK, "/ipfs/"+form+"?format=raw")
		if !bytes.Equal(a.body, node.RawData()) {
			t.Errorf("%s: wrong bytes", form)
		}
	}
}

func TestFile(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	data := pattern(20_000)
	root := m.Folder(false, map[string]ipld.Node{
		"big.bin": m.File(string(data)),
		"sub":     m.Folder(true, map[string]ipld.Node{"a ü&b.txt": m.File("hello")}),
		"link":    m.Symlink("big.bin"),
	})
	path := "/ipfs/" + root.Cid().String()

	if a := get(t, server, http.StatusOK, path+"/big.bin"); !bytes.Equal(a.body, data) {
		t.Errorf("file: %d bytes, want %d", len(a.body), len(data))
	}
	if a := get(t, server, http.StatusPartialContent, path+"/big.bin", "Range", "bytes=5000-5999"); !bytes.Equal(a.body, data[5000:6000]) {
		t.Error("range: wrong bytes")
	}
	if a := get(t, server, http.StatusPartialContent, path+"/big.bin", "Range", "bytes=-10"); !bytes.Equal(a.body, data[len(data)-10:]) {
		t.Error("suffix range: wrong bytes")
	}
	if a := get(t, server, http.StatusOK, path+"/big.bin", "Range", "bytes=0-1,0-1,0-1"); !bytes.Equal(a.body, data) {
		t.Error("several ranges: not the whole file")
	}
	if a := get(t, server, http.StatusOK, path+"/sub/a%20%C3%BC&b.txt"); string(a.body) != "hello" {
		t.Errorf("name in a sharded folder: %q", a.body)
	}
	unsatisfiable := get(t, server, http.StatusRequestedRangeNotSatisfiable, path+"/big.bin", "Range", "bytes=99999-")
	if cc := unsatisfiable.header.Get("Cache-Control"); strings.Contains(cc, "immutable") {
		t.Errorf("416: Cache-Control %q", cc)
	}
	head := ask(t, server, http.MethodHead, path+"/big.bin")
	if head.status != http.StatusOK || head.header.Get("Content-Length") != fmt.Sprint(len(data)) {
		t.Errorf("HEAD: %d, length %q", head.status, head.header.Get("Content-Length"))
	}
	first := get(t, server, http.StatusOK, path+"/big.bin")
	get(t, server, http.StatusNotModified, path+"/big.bin", "If-None-Match", first.header.Get("Etag"))
}

func TestFolder(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	plain := m.Folder(false, map[string]ipld.Node{"one.txt": m.File("1"), "<b>": m.File("2")})
	site := m.Folder(false, map[string]ipld.Node{"index.html": m.File("<p>home</p>")})
	many := map[string]ipld.Node{}
	leaf := m.File("leaf")
	for i := range 600 {
		many[fmt.Sprintf("entry-%03d", i)] = leaf
	}
	sharded := m.Folder(true, many)

	redirect := get(t, server, http.StatusMovedPermanently, "/ipfs/"+plain.Cid().String())
	if want := "/ipfs/" + plain.Cid().String() + "/"; redirect.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", redirect.header.Get("Location"), want)
	}
	listing := string(get(t, server, http.StatusOK, "/ipfs/"+plain.Cid().String()+"/").body)
	if !strings.Contains(listing, "one.txt") || !strings.Contains(listing, "&lt;b&gt;") || strings.Contains(listing, "<b>") {
		t.Error("listing lacks a name, or does not escape one")
	}
	if body := get(t, server, http.StatusOK, "/ipfs/"+site.Cid().String()+"/").body; string(body) != "<p>home</p>" {
		t.Errorf("index.html: %q", body)
	}
	all := string(get(t, server, http.StatusOK, "/ipfs/"+sharded.Cid().String()+"/").body)
	for _, name := range []string{"entry-000", "entry-599"} {
		if !strings.Contains(all, name) {
			t.Errorf("listing of a sharded folder lacks %s", name)
		}
	}
	tar := get(t, server, http.StatusOK, "/ipfs/"+plain.Cid().String()+"?format=tar")
	if !bytes.Contains(tar.body, []byte("one.txt")) {
		t.Error("archive lacks one.txt")
	}
}

func TestCodecs(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	// {"a": 1}
	cbor := []byte{0xa1, 0x61, 'a', 0x01}
	dagCBOR := m.Block(cid.DagCBOR, 0x12, cbor)
	dagJSON := m.Block(cid.DagJSON, 0x12, []byte(`{"a":1}`))
	if a := get(t, server, http.StatusOK, "/ipfs/"+dagCBOR.String()+"?format=dag-cbor"); !bytes.Equal(a.body, cbor) {
		t.Errorf("dag-cbor: %x", a.body)
	}
	if a := get(t, server, http.StatusOK, "/ipfs/"+dagJSON.String()+"?format=dag-json"); string(a.body) != `{"a":1}` {
		t.Errorf("dag-json: %q", a.body)
	}
	get(t, server, http.StatusNotAcceptable, "/ipfs/"+dagCBOR.String()+"?format=dag-json")
}

func TestIdentity(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	for _, format := range []string{"raw", "car"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			m.Block(cid.Raw, 0x00, nil) // as a store that answers identity CIDs from themselves
			if a := ask(t, server, method, "/ipfs/bafkqaaa?format="+format); a.status != http.StatusOK || a.err != nil {
				t.Errorf("%s of the probe as %s: %d, %v", method, format, a.status, a.err)
			}
		}
	}
}

func TestNotFound(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	const absent = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	for _, suffix := range []string{"", "/name", "?format=raw", "?format=car", "?format=car&dag-scope=block", "?format=tar", "?format=dag-cbor", "?format=dag-json"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, header := range [][]string{nil, {"If-None-Match", `W/"anything", *`}} {
				a := ask(t, server, method, absent+suffix, header...)
				if a.status != http.StatusNotFound || a.err != nil {
					t.Errorf("%s %q %q: %d, %v; want 404", method, suffix, header, a.status, a.err)
				}
				if cc := a.header.Get("Cache-Control"); cc != "public, max-age=15" {
					t.Errorf("%s %q: Cache-Control %q", method, suffix, cc)
				}
				if a.header.Get("Etag") != "" || a.header.Get("Content-Disposition") != "" {
					t.Errorf("%s %q: has the header of a success", method, suffix)
				}
			}
		}
	}
	folder := m.Folder(false, map[string]ipld.Node{"a": m.File("x")})
	get(t, server, http.StatusNotFound, "/ipfs/"+folder.Cid().String()+"/b")
	get(t, server, http.StatusNotFound, "/somewhere")
	get(t, server, http.StatusBadRequest, "/ipfs/nonsense?format=raw")
}

func TestRefusedMultihash(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	weak := m.Block(cid.Raw, 0xd5, []byte("md5"))
	for _, suffix := range []string{"", "?format=raw", "?format=car"} {
		get(t, server, http.StatusNotFound, "/ipfs/"+weak.String()+suffix)
	}
}

func TestNames(t *testing.T) {
	server := serve(t, dagtest.New(t), false, Config{})
	for _, path := range []string{
		"/ipns/example.org/",
		"/ipns/example.org?format=car",
		"/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8?format=ipns-record",
	} {
		get(t, server, http.StatusNotImplemented, path)
	}
	get(t, server, http.StatusPreconditionFailed, "/ipns/example.org/", "Cache-Control", "only-if-cached")
}

func TestMethods(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	path := "/ipfs/" + m.Block(cid.Raw, 0x12, []byte("x")).String()
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"} {
		for _, p := range []string{path, "/", "/elsewhere"} {
			a := ask(t, server, method, p)
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != allowed {
				t.Errorf("%s %s: %d, Allow %q", method, p, a.status, a.header.Get("Allow"))
			}
		}
	}
	// Pages of other sites may ask, and read what they get, errors too.
	for _, p := range []string{path, path + "?format=raw", path + "?format=car", path + "/none", "/ipfs/nonsense", "/piece/nonsense", "/routing/v1/providers/nonsense"} {
		for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodHead} {
			a := ask(t, server, method, p)
			file := !strings.Contains(p, "format=") && strings.HasPrefix(p, "/ipfs/")
			for name, parts := range map[string]string{
				"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET HEAD OPTIONS", "Access-Control-Allow-Headers": "Content-Type Range User-Agent X-Requested-With",
				"Access-Control-Expose-Headers": "Content-Range Content-Length X-Ipfs-Path X-Ipfs-Roots X-Chunked-Output X-Stream-Output Ipfs-Uri",
			} {
				if strings.HasPrefix(name, "Access-Control-Allow-") && parts != "*" && method != http.MethodOptions && !file {
					continue // it need not say that again
				}
				for part := range strings.FieldsSeq(parts) {
					if !strings.Contains(a.header.Get(name), part) {
						t.Errorf("%s %s: %s is %q, without %s", method, p, name, a.header.Get(name), part)
					}
				}
			}
			if method == http.MethodOptions && (a.status != http.StatusOK || a.header.Get("Allow") != allowed) {
				t.Errorf("OPTIONS %s: %d, %v", p, a.status, a.header)
			}
		}
	}
}
