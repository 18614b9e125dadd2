package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestListing wants a folder listed without its children, and a listing that says
// which version made it.
func TestListing(t *testing.T) {
	for _, hamt := range []bool{false, true} {
		m := dagtest.New(t)
		server := serve(t, m, false, Config{})
		entries := map[string]ipld.Node{}
		for i := range 300 {
			entries[fmt.Sprintf("entry-%03d", i)] = m.File(fmt.Sprint("content ", i))
		}
		root := m.Folder(hamt, entries).Cid()
		for _, e := range entries {
			m.Drop(e.Cid())
		}
		path := "/ipfs/" + root.String() + "/"
		a := get(t, server, http.StatusOK, path)
		if !bytes.Contains(a.body, []byte("entry-000")) || !bytes.Contains(a.body, []byte("entry-299")) {
			t.Errorf("sharded %v: the listing lacks entries", hamt)
		}
		if got := a.header.Get("Etag"); !strings.Contains(got, "DirIndex-") || !strings.Contains(got, root.String()) {
			t.Errorf("sharded %v: ETag %s", hamt, got)
		}
		if got := a.header.Get("Cache-Control"); strings.Contains(got, "immutable") || got == "" {
			t.Errorf("sharded %v: Cache-Control %q", hamt, got)
		}
		get(t, server, http.StatusNotModified, path, "If-None-Match", a.header.Get("Etag"))
		get(t, server, http.StatusNotFound, path+"entry-007")
		if got := get(t, server, http.StatusMovedPermanently, strings.TrimSuffix(path, "/")+"?a=b").header.Get("Location"); got != path+"?a=b" {
			t.Errorf("sharded %v: sent to %q", hamt, got)
		}
		m.Reads()
		if a := ask(t, server, http.MethodHead, path); a.status != http.StatusOK {
			t.Errorf("sharded %v: HEAD %d", hamt, a.status)
		}
	}
}

// TestIndexPage serves index.html of folders, whatever its size, and none of a
// folder whose index.html is none.
func TestIndexPage(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	page := "<!DOCTYPE html><p>" + dagtest.Text(5000)
	site := m.Folder(true, map[string]ipld.Node{
		"index.html": m.File(page), "sub": m.Folder(false, map[string]ipld.Node{"index.html": m.File("sub")}), "a": m.File("a"),
	}).Cid()
	path := "/ipfs/" + site.String()
	for at, want := range map[string]string{"/": page, "/index.html": page, "/sub/": "sub"} {
		a := get(t, server, http.StatusOK, path+at)
		if string(a.body) != want || a.header.Get("Content-Type") != "text/html" && a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d bytes of %q", at, len(a.body), a.header.Get("Content-Type"))
		}
	}
	if got := get(t, server, http.StatusMovedPermanently, path+"/sub").header.Get("Location"); got != path+"/sub/" {
		t.Errorf("sent to %q", got)
	}
	if a := get(t, server, http.StatusPartialContent, path+"/index.html", "Range", "bytes=3000-3009"); string(a.body) != page[3000:3010] {
		t.Errorf("a part: %q", a.body)
	}
}

// TestTypes tells the type of a file by its name, or by its first bytes.
func TestTypes(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	root := m.Folder(false, map[string]ipld.Node{
		"a.css": m.File("a{}"), "a.js": m.File("1"), "png": m.File(png), "text": m.File("plain"), "empty": m.File(""),
		"page": m.File("<!DOCTYPE html><html></html>"), "long": m.File(png + dagtest.Text(5000)), "a.png": m.File("no png"),
	}).Cid()
	for name, want := range map[string]string{
		"a.css": "text/css; charset=utf-8", "a.js": "text/javascript; charset=utf-8", "png": "image/png", "text": "text/plain; charset=utf-8", "empty": "text/plain",
		"page": "text/html", "long": "image/png", "a.png": "image/png", "text?filename=x.css": "text/css; charset=utf-8",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := ask(t, server, method, "/ipfs/"+root.String()+"/"+name)
			if got := a.header.Get("Content-Type"); a.status != http.StatusOK || got != want {
				t.Errorf("%s %s: %d %q, want %q", method, name, a.status, got, want)
			}
		}
	}
	if got := get(t, server, http.StatusPartialContent, "/ipfs/"+root.String()+"/long", "Range", "bytes=3000-").header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("the middle of a file: %q", got)
	}
}

// TestModified tells when a file was changed, where its node says so.
func TestModified(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	// Of 2026-01-02 01:17:25.
	file := pb(m, []byte("\x08\x02\x12\x04data\x18\x04\x42\x06\x08\xa5\xb9\xdc\xca\x06"), nil)
	path := "/ipfs/" + file.String()
	a := get(t, server, http.StatusOK, path)
	const at = "Fri, 02 Jan 2026 01:17:25 GMT"
	if string(a.body) != "data" || a.header.Get("Last-Modified") != at {
		t.Errorf("%q of %q", a.body, a.header.Get("Last-Modified"))
	}
	for since, status := range map[string]int{
		at: 304, "Sat, 03 Jan 2026 00:00:00 GMT": 304, "Thu, 01 Jan 2026 00:00:00 GMT": 200, "nonsense": 200,
	} {
		get(t, server, status, path, "If-Modified-Since", since)
		get(t, server, http.StatusOK, path, "If-Modified-Since", since, "If-None-Match", `"x"`) // which counts
	}
	if a := get(t, server, http.StatusPartialContent, path, "Range", "bytes=1-2", "If-Range", at); string(a.body) != "at" {
		t.Errorf("If-Range by time: %q", a.body)
	}
}

// TestArchive wants HEAD of an archive to be no archive, and an archive of what
// there is.
func TestArchive(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	root := m.Folder(false, map[string]ipld.Node{"a": m.File(dagtest.Text(100_000)), "b": m.Folder(false, map[string]ipld.Node{"c": m.File("c")})}).Cid()
	m.Reads()
	head := ask(t, server, http.MethodHead, "/ipfs/"+root.String()+"?format=tar")
	if reads := m.Reads(); head.status != http.StatusOK || reads > 1 {
		t.Errorf("HEAD: %d after %d reads", head.status, reads)
	}
	a := get(t, server, http.StatusOK, "/ipfs/"+root.String()+"?format=tar")
	for _, name := range []string{"Etag", "Content-Type", "X-Ipfs-Roots", "Cache-Control", "X-Content-Type-Options"} {
		if head.header.Get(name) != a.header.Get(name) {
			t.Errorf("HEAD has %s %q, GET %q", name, head.header.Get(name), a.header.Get(name))
		}
	}
	if !bytes.Contains(a.body, []byte("b/c")) || len(a.body) < 100_000 || !strings.HasPrefix(a.header.Get("Etag"), `W/"`) {
		t.Errorf("%d bytes, ETag %s", len(a.body), a.header.Get("Etag"))
	}
	// A block that is no file and no folder has no archive.
	get(t, server, http.StatusNotAcceptable, "/ipfs/"+m.Block(cid.DagCBOR, 0x12, []byte{0xa0}).String()+"?format=tar")
}
