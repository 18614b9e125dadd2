package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/shard"
)

// rangeRows are ranges of something of 2,500 bytes. A part is first:length; a
// status of 200 is all of it.
var rangeRows = []struct {
	header string
	status int
	part   span
}{
	{"bytes=0-0", 206, span{0, 1}},
	{"bytes=0-", 206, span{0, 2500}},
	{"bytes=0-2499", 206, span{0, 2500}},
	{"bytes=0-99999", 206, span{0, 2500}},
	{"bytes=1000-1099", 206, span{1000, 100}},
	{"bytes=1020-1030", 206, span{1020, 11}},
	{"bytes=2499-", 206, span{2499, 1}},
	{"bytes=-1", 206, span{2499, 1}},
	{"bytes=-2500", 206, span{0, 2500}},
	{"bytes=-99999", 206, span{0, 2500}},
	{"bytes=-99999999999999999999999", 206, span{0, 2500}},
	{"bytes=0-99999999999999999999999", 206, span{0, 2500}},
	{"bytes= 5 - 9 ", 206, span{5, 5}},
	{"bytes=2500-", 416, span{}},
	{"bytes=2500-2600", 416, span{}},
	{"bytes=99999999999999999999999-", 416, span{}},
	{"bytes=-0", 416, span{}},
	// Several are answered by all, once.
	{"bytes=0-1,3-4", 200, span{0, 2500}},
	{"bytes=0-,0-,0-,0-", 200, span{0, 2500}},
	{"bytes=2500-,0-1", 200, span{0, 2500}},
	// What cannot be read is ignored.
	{"bytes=5-4", 200, span{0, 2500}},
	{"bytes=a-b", 200, span{0, 2500}},
	{"bytes=", 200, span{0, 2500}},
	{"bytes=5", 200, span{0, 2500}},
	{"bytes=--5", 200, span{0, 2500}},
	{"bytes=+1-2", 200, span{0, 2500}},
	{"lines=1-2", 200, span{0, 2500}},
}

// TestRanges is the matrix of ranges, on a raw block and on a file of three leaves,
// for GET and HEAD. A range that has nothing is not for ever.
func TestRanges(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	data := pattern(2500)
	raw := "/ipfs/" + m.Block(cid.Raw, 0x12, data).String()
	for name, path := range map[string]string{
		"raw": raw + "?format=raw", "raw as a file": raw, "file": "/ipfs/" + m.File(string(data)).Cid().String(),
		"file in a folder": "/ipfs/" + m.Folder(false, map[string]ipld.Node{"a.txt": m.File(string(data))}).Cid().String() + "/a.txt",
	} {
		for _, row := range rangeRows {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := ask(t, server, method, path, "Range", row.header)
				if a.status != row.status || a.err != nil {
					t.Errorf("%s: %s %q: %d, %v; want %d", name, method, row.header, a.status, a.err, row.status)
					continue
				}
				contentRange, cc := a.header.Get("Content-Range"), a.header.Get("Cache-Control")
				switch row.status {
				case http.StatusRequestedRangeNotSatisfiable:
					if contentRange != "bytes */2500" || cc != "no-store" || a.header.Get("Etag") != "" {
						t.Errorf("%s: %s %q: Content-Range %q, Cache-Control %q", name, method, row.header, contentRange, cc)
					}
					continue
				case http.StatusPartialContent:
					if want := fmt.Sprintf("bytes %d-%d/2500", row.part.off, row.part.off+row.part.length-1); contentRange != want {
						t.Errorf("%s: %s %q: Content-Range %q, want %q", name, method, row.header, contentRange, want)
					}
				}
				if length := a.header.Get("Content-Length"); length != fmt.Sprint(row.part.length) || cc != forever || a.header.Get("Accept-Ranges") != "bytes" {
					t.Errorf("%s: %s %q: Content-Length %q, Cache-Control %q", name, method, row.header, length, cc)
				}
				want := data[row.part.off:][:row.part.length]
				if method == http.MethodHead {
					want = nil
				}
				if !bytes.Equal(a.body, want) {
					t.Errorf("%s: %s %q: %d bytes, want %d", name, method, row.header, len(a.body), len(want))
				}
			}
		}
	}
}

// TestIfRange wants a part only of what the client has the beginning of.
func TestIfRange(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	data := pattern(2500)
	raw := "/ipfs/" + m.Block(cid.Raw, 0x12, data).String()
	for _, path := range []string{raw + "?format=raw", "/ipfs/" + m.File(string(data)).Cid().String()} {
		etag := get(t, server, http.StatusOK, path).header.Get("Etag")
		if !strings.HasPrefix(etag, `"`) || !strings.HasSuffix(etag, `"`) {
			t.Errorf("%s: the ETag %s is not quoted, or weak", path, etag)
		}
		for condition, status := range map[string]int{
			etag: 206, `W/` + etag: 200, `"x"`: 200, strings.Trim(etag, `"`): 200, "Mon, 02 Jan 2006 15:04:05 GMT": 200, etag + ", " + etag: 200, "*": 200,
		} {
			a := get(t, server, status, path, "Range", "bytes=5-9", "If-Range", condition)
			if want := map[int]int{206: 5, 200: 2500}[status]; len(a.body) != want {
				t.Errorf("%s: If-Range %s: %d bytes", path, condition, len(a.body))
			}
		}
		// A range that has nothing, of something else: all of it.
		get(t, server, http.StatusOK, path, "Range", "bytes=99999-", "If-Range", `"x"`)
	}
}

// TestIfNoneMatch is the matrix of validators. What is not there, or is refused, is
// not "not modified", whatever the client has.
func TestIfNoneMatch(t *testing.T) {
	m := dagtest.New(t)
	refused := cid.NewSet()
	server := serve(t, m, false, Config{Refuse: func(c cid.Cid, _ string) int {
		if refused.Has(c) {
			return http.StatusUnavailableForLegalReasons
		}
		return 0
	}})
	data := pattern(2500)
	block := m.Block(cid.Raw, 0x12, data)
	file := m.File(string(data)).Cid()
	cbor := m.Block(cid.DagCBOR, 0x12, []byte{0xa1, 0x61, 'a', 0x01})
	folder := m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid()
	for _, row := range []struct {
		root cid.Cid
		path string
	}{
		{block, "?format=raw"}, {block, ""}, {file, ""}, {file, "?format=car"}, {file, "?format=raw"}, {file, "?format=tar"},
		{cbor, "?format=dag-cbor"}, {folder, "/"}, {folder, "/a"}, {folder, "/a?format=car&dag-scope=block"},
	} {
		path := "/ipfs/" + row.root.String() + row.path
		etag := get(t, server, http.StatusOK, path).header.Get("Etag")
		for match, status := range map[string]int{
			etag: 304, "W/" + strings.TrimPrefix(etag, "W/"): 304, `"x", ` + etag: 304, `"x",,` + etag: 304, "*": 304, `"x"`: 200, "": 200, "x": 200, `W/"`: 200,
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := ask(t, server, method, path, "If-None-Match", match)
				if a.status != status {
					t.Errorf("%s %s If-None-Match %s: %d, want %d", method, path, match, a.status, status)
				}
				if status == http.StatusNotModified && (len(a.body) > 0 || a.header.Get("Etag") == "") {
					t.Errorf("%s %s: 304 with %d bytes, ETag %q", method, path, len(a.body), a.header.Get("Etag"))
				}
			}
		}
		refused.Add(row.root)
		for _, match := range []string{etag, "*"} {
			a := get(t, server, http.StatusUnavailableForLegalReasons, path, "If-None-Match", match)
			if cc := a.header.Get("Cache-Control"); cc != "no-store" {
				t.Errorf("%s: refused, Cache-Control %q", path, cc)
			}
		}
		refused.Remove(row.root)
		b, err := m.Get(t.Context(), row.root)
		if err != nil {
			t.Fatal(err)
		}
		m.Drop(row.root)
		for _, match := range []string{etag, "*"} {
			a := get(t, server, http.StatusNotFound, path, "If-None-Match", match)
			if cc := a.header.Get("Cache-Control"); cc != "public, max-age=15" {
				t.Errorf("%s: absent, Cache-Control %q", path, cc)
			}
		}
		if err := m.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeadReadsNothing wants what HEAD says without reading what it would be of.
func TestHeadReadsNothing(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	file := m.File(dagtest.Text(200_000))
	root := m.Folder(false, map[string]ipld.Node{"file.txt": file, "noext": file})
	block := m.Block(cid.Raw, 0x12, pattern(100_000))
	for path, most := range map[string]int{
		"/ipfs/" + block.String() + "?format=raw":             1, // GetSize, which a store answers by its index
		"/ipfs/" + block.String() + "?format=car":             0,
		"/ipfs/" + root.Cid().String() + "?format=car":        0,
		"/ipfs/" + root.Cid().String() + "/file.txt":          2,
		"/ipfs/" + root.Cid().String() + "/noext":             8, // the way to its first leaves, of 1 KiB
		"/ipfs/" + root.Cid().String() + "/noext?format=car":  1,
		"/ipfs/" + file.Cid().String() + "?format=raw":        1,
		"/ipfs/" + root.Cid().String() + "/file.txt?filename": 2,
	} {
		m.Reads()
		a := ask(t, server, http.MethodHead, path)
		if reads := m.Reads(); a.status != http.StatusOK || reads > most || len(a.body) > 0 {
			t.Errorf("HEAD %s: %d after %d reads, at most %d", path, a.status, reads, most)
		}
	}
}

// TestProbe is GET and HEAD of /ipfs/bafkqaaa, with which clients find out whether
// this is a gateway, and of other blocks that are inline.
func TestProbe(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{Trustless: true})
	long := cartest.Identity(bytes.Repeat([]byte("long "), 100)).CID
	for c, data := range map[string]string{
		"bafkqaaa": "", cartest.Identity([]byte("hello")).CID.String(): "hello", long.String(): strings.Repeat("long ", 100),
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, header := range [][]string{nil, {"Cache-Control", "only-if-cached"}} {
				a := ask(t, server, method, "/ipfs/"+c+"?format=raw", header...)
				if a.status != http.StatusOK || a.header.Get("Content-Length") != fmt.Sprint(len(data)) || method == http.MethodGet && string(a.body) != data {
					t.Errorf("%s %s raw: %d, %q", method, c, a.status, a.body)
				}
				a = ask(t, server, method, "/ipfs/"+c, append([]string{"Accept", "application/vnd.ipld.car"}, header...)...)
				if a.status != http.StatusOK {
					t.Errorf("%s %s as a CAR: %d", method, c, a.status)
				}
				if method == http.MethodGet {
					if roots, got := sections(t, a.body); len(roots) != 1 || roots[0].String() != c || len(got) != 1 {
						t.Errorf("%s as a CAR: roots %v, %v", c, roots, got)
					}
				}
			}
		}
	}
	if m.Reads() != 0 {
		t.Error("what is inline was asked for")
	}
}

// TestOnlyIfCached wants 412 for what is not on this machine, and nothing asked
// elsewhere for it.
func TestOnlyIfCached(t *testing.T) {
	far, near := dagtest.New(t), dagtest.New(t)
	here := near.Block(cid.Raw, 0x12, []byte("here"))
	far.Block(cid.Raw, 0x12, []byte("here"))
	away := far.Block(cid.Raw, 0x12, []byte("away"))
	part := near.Odd(away, "a").Cid() // a folder that is here, with a file that is not
	near.Fail(away, storeError(shard.ErrRemote))
	handler, err := newHandler(far, near, noShards, Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := serveHandler(t, handler)
	for _, format := range []string{"?format=raw", "?format=car", "", "?format=tar"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			far.Reads()
			for path, status := range map[string]int{
				"/ipfs/" + here.String() + format: 200, "/ipfs/" + away.String() + format: 412, "/ipns/example.org" + format: 412,
			} {
				a := ask(t, server, method, path, "Cache-Control", "only-if-cached")
				if cc := a.header.Get("Cache-Control"); a.status != status || status == 412 && cc != "no-store" {
					t.Errorf("%s %s: %d, want %d; Cache-Control %q", method, path, a.status, status, cc)
				}
			}
			if reads := far.Reads(); reads > 0 {
				t.Errorf("%s %s: %d reads elsewhere", method, format, reads)
			}
		}
	}
	get(t, server, http.StatusPreconditionFailed, "/ipfs/"+part.String()+"/a?format=raw", "Cache-Control", "only-if-cached")
	get(t, server, http.StatusOK, "/ipfs/"+away.String()+"?format=raw")
}

// TestRefused wants what must not be served not to be, whatever way leads to it.
func TestRefused(t *testing.T) {
	m := dagtest.New(t)
	bad := m.File("bad")
	inner := m.Folder(false, map[string]ipld.Node{"bad": bad, "good": m.File("good")})
	root := m.Folder(false, map[string]ipld.Node{"inner": inner, "file": m.File("file")})
	big := m.File(dagtest.Text(300_000))
	leaf := m.Block(cid.Raw, 0x12, []byte(dagtest.Text(300_000))[299*1024/2/1024*1024:][:1024])
	status := http.StatusGone
	var byPath string
	server := serve(t, m, false, Config{Refuse: func(c cid.Cid, path string) int {
		if c.Equals(bad.Cid()) || c.Equals(leaf) || byPath != "" && path == byPath {
			return status
		}
		return 0
	}})
	at := "/ipfs/" + root.Cid().String()
	for _, status = range []int{http.StatusGone, http.StatusUnavailableForLegalReasons} {
		for _, path := range []string{
			"/ipfs/" + bad.Cid().String(), "/ipfs/" + bad.Cid().String() + "?format=raw", "/ipfs/" + bad.Cid().String() + "?format=car",
			"/ipfs/" + bad.Cid().String() + "?format=tar", at + "/inner/bad", at + "/inner/bad?format=raw", at + "/inner/bad?format=car",
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for _, header := range [][]string{nil, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}} {
					if a := ask(t, server, method, path, header...); a.status != status || bytes.Contains(a.body, []byte("bad\n")) {
						t.Errorf("%s %s %v: %d, want %d: %q", method, path, header, a.status, status, a.body)
					}
				}
			}
		}
	}
	// In the middle of a CAR, a file or an archive it is broken off.
	for _, path := range []string{at + "/inner?format=car", at + "?format=car", "/ipfs/" + big.Cid().String(), "/ipfs/" + big.Cid().String() + "?format=car"} {
		if a := ask(t, server, http.MethodGet, path); a.err == nil && a.status == http.StatusOK {
			t.Errorf("%s: %d bytes that end well", path, len(a.body))
		}
	}
	get(t, server, http.StatusOK, at+"/inner/good")
	get(t, server, http.StatusOK, at+"/file?format=car")
	// Paths: that of the request, and those of its steps.
	for _, byPath = range []string{at + "/inner/good", "/ipfs/" + inner.Cid().String() + "/good", "/ipfs/" + m.File("good").Cid().String()} {
		for _, suffix := range []string{"", "?format=car", "?format=raw", "?format=tar"} {
			get(t, server, status, at+"/inner/good"+suffix)
		}
		get(t, server, http.StatusOK, at+"/file")
	}
}

// TestDisposition holds the names of downloads.
func TestDisposition(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	c := m.Block(cid.Raw, 0x12, []byte("x")).String()
	for query, want := range map[string]string{
		"?format=raw":                               `attachment; filename="` + c + `.bin"`,
		"?format=raw&filename=a.png":                `attachment; filename="a.png"`,
		"?format=raw&filename=a%20b.png":            `attachment; filename="a b.png"; filename*=UTF-8''a%20b.png`,
		"?format=raw&filename=tæst%25.txt":          `attachment; filename="t_st_.txt"; filename*=UTF-8''t%C3%A6st%25.txt`,
		"?format=raw&filename=%22%0D%0Ax:%20y":      `attachment; filename="___x: y"; filename*=UTF-8''%22%0D%0Ax%3A%20y`,
		"?format=raw&filename=%ff..%2F..%2Fetc":     `attachment; filename="_.._.._etc"; filename*=UTF-8''%EF%BF%BD..%2F..%2Fetc`,
		"?filename=a.png":                           `inline; filename="a.png"`,
		"?filename=a.png&download=true":             `attachment; filename="a.png"`,
		"?filename=写真.png&download=true":            `attachment; filename="__.png"; filename*=UTF-8''%E5%86%99%E7%9C%9F.png`,
		"?download=true":                            "attachment",
		"?download=false":                           "",
		"":                                          "",
		"?format=car&filename=b.car&download=false": `attachment; filename="b.car"`,
	} {
		a := get(t, server, http.StatusOK, "/ipfs/"+c+query)
		if got := a.header.Get("Content-Disposition"); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	page := m.Folder(false, map[string]ipld.Node{"index.html": m.File("page"), "list": m.Folder(false, map[string]ipld.Node{"a b": m.File("a")})}).Cid().String()
	for path, want := range map[string]string{
		"/?download=true": "attachment", "/?download=true&filename=p.html": `attachment; filename="p.html"`, "/?filename=p.html": `inline; filename="p.html"`,
		"/list/?download=true": "attachment", "/list/a%20b?download=true": `attachment; filename="a b"; filename*=UTF-8''a%20b`, "/list/a%20b": "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := ask(t, server, method, "/ipfs/"+page+path)
			if got := a.header.Get("Content-Disposition"); a.status != http.StatusOK || got != want {
				t.Errorf("%s %s: %d, %q, want %q", method, path, a.status, got, want)
			}
		}
	}
}

// TestDamagedIsCounted wants damage and large blocks counted, and the others not.
func TestDamagedIsCounted(t *testing.T) {
	m := dagtest.New(t)
	handler, err := newHandler(m, m, noShards, Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := serveHandler(t, handler)
	bad := m.Block(cid.Raw, 0x12, []byte("bad"))
	m.Fail(bad, storeError(&shard.Fault{Kind: shard.BadHash, CID: bad}))
	slow := m.Block(cid.Raw, 0x12, []byte("slow"))
	m.Fail(slow, storeError(context.DeadlineExceeded))
	large := m.Block(cid.Raw, 0x12, bytes.Repeat([]byte("x"), 3<<20))
	get(t, server, http.StatusNotFound, "/ipfs/"+bad.String()+"?format=raw")
	get(t, server, http.StatusGatewayTimeout, "/ipfs/"+slow.String()+"?format=raw")
	if a := get(t, server, http.StatusOK, "/ipfs/"+large.String()+"?format=raw"); len(a.body) != 3<<20 {
		t.Errorf("a large block: %d bytes", len(a.body))
	}
	idle(t, handler, 0) // the last bytes are counted when the client has them already
	s := handler.Stats()
	if s.Damaged != 1 || s.Large != 1 || s.Requests != 3 || s.Bytes < 3<<20 {
		t.Errorf("%+v", s)
	}
}
