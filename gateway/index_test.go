package gateway

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestRangeOfPage wants the page of a folder, and what boxo serves, to be had in parts
// by the same rules as a file: a range that does not hold is no reason for other bytes.
func TestRangeOfPage(t *testing.T) {
	m := dagtest.New(t)
	text := dagtest.Text(5000)
	index := m.File(text)
	site := m.Folder(false, map[string]ipld.Node{
		"index.html": index, "many": m.Folder(true, map[string]ipld.Node{"index.html": index, "a": m.File("a")}),
		"404.html": m.File(text), "_redirects": m.File("/app/* /index.html 200\n/gone/* /404.html 404\n"),
		"list": m.Folder(false, map[string]ipld.Node{"a": m.File("a")}),
	}).Cid()
	cbor := m.Block(cid.DagCBOR, 0x12, append([]byte{0x59, 0x13, 0x88}, text...))
	server := serve(t, m, false, Config{Hosts: []string{"gw.example"}, DeserializedHosts: []string{"*.gw.example", "127.0.0.1"}})
	at := "/ipfs/" + site.String()
	etag := get(t, server, 200, at+"/").header.Get("Etag")
	for _, path := range []string{at + "/", at + "/many/", at + "/index.html", "/ipfs/" + index.Cid().String() + "?filename=index.html", "/ipfs/" + cbor.String() + "?format=dag-cbor"} {
		whole := get(t, server, 200, path)
		page := string(whole.body)
		for _, row := range []struct {
			header []string
			status int
			body   string
		}{
			{nil, 200, page},
			{[]string{"Range", "bytes=2000-2009"}, 206, page[2000:2010]},
			{[]string{"Range", "bytes=-3"}, 206, page[len(page)-3:]},
			{[]string{"Range", "bytes=2000-2009", "If-Range", `"x"`}, 200, page},
			{[]string{"Range", "bytes=2000-2009", "If-Range", "W/" + etag}, 200, page},
			{[]string{"Range", "bytes=0-1,3-4"}, 200, page},
			{[]string{"Range", "items=0-1"}, 200, page},
			{[]string{"Range", "bytes=x"}, 200, page},
			{[]string{"Range", "bytes=-"}, 200, page},
			{[]string{"Range", "bytes=4-2"}, 200, page},
			{[]string{"Range", "bytes=9000-"}, 416, ""},
		} {
			a := ask(t, server, http.MethodGet, path, row.header...)
			if a.err != nil || a.status != row.status || row.status != 416 && string(a.body) != row.body {
				t.Errorf("GET %s %q: %d, %d bytes, %v; want %d, %d bytes", path, row.header, a.status, len(a.body), a.err, row.status, len(row.body))
			}
			head := ask(t, server, http.MethodHead, path, row.header...)
			if head.status != row.status || row.status != 416 && head.header.Get("Content-Length") != fmt.Sprint(len(row.body)) {
				t.Errorf("HEAD %s %q: %d, %q; want %d, %d bytes", path, row.header, head.status, head.header.Get("Content-Length"), row.status, len(row.body))
			}
		}
	}
	if a := get(t, server, 206, at+"/", "Range", "bytes=10-19", "If-Range", etag); string(a.body) != text[10:20] {
		t.Errorf("a range that holds: %q", a.body)
	}
	if a := get(t, server, 200, at+"/list/", "Range", "bytes=x"); a.header.Get("Content-Type") != "text/html" {
		t.Errorf("a listing: %v", a.header)
	}
	// Where _redirects leads.
	for path, status := range map[string]int{"/app/x": 200, "/gone/x": 404} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = site.String() + ".ipfs.gw.example"
		r.Header.Set("Range", "bytes=2000-2009")
		r.Header.Set("If-Range", `"x"`)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != status || string(body) != text {
			t.Errorf("%s: %d, %d bytes, %v", path, resp.StatusCode, len(body), err)
		}
	}
}

// TestPageOfFolder wants the page to be of its folder: its ETag, its time, its roots.
func TestPageOfFolder(t *testing.T) {
	m := dagtest.New(t)
	page := m.File("<p>page</p>")
	site := m.Folder(false, map[string]ipld.Node{"index.html": page, "sub": m.Folder(false, map[string]ipld.Node{"index.html": m.Folder(false, nil)})})
	server := serve(t, m, false, Config{})
	at := "/ipfs/" + site.Cid().String()
	for _, path := range []string{at + "/", at + "/?filename=a.txt"} {
		a := get(t, server, 200, path)
		if string(a.body) != "<p>page</p>" || a.header.Get("Etag") != `"`+site.Cid().String()+`"` || a.header.Get("X-Ipfs-Roots") != site.Cid().String() ||
			a.header.Get("Content-Type") != "text/html" || a.header.Get("X-Ipfs-Path") != at+"/" || a.header.Get("Cache-Control") != forever {
			t.Errorf("%s: %q %v", path, a.body, a.header)
		}
	}
	if a := ask(t, server, http.MethodGet, at); a.status != http.StatusMovedPermanently || a.header.Get("Location") != at+"/" {
		t.Errorf("without its slash: %d to %q", a.status, a.header.Get("Location"))
	}
	if a := ask(t, server, http.MethodGet, at+"/sub/"); a.status == http.StatusOK {
		t.Errorf("a page that is a folder: %d", a.status)
	}
	denying := serve(t, m, false, Config{Refuse: refusing(t, at+"/index.html\n")})
	get(t, denying, http.StatusGone, at+"/")
	get(t, denying, http.StatusGone, at+"/", "If-None-Match", "*")
	m.Drop(page.Cid())
	for _, header := range [][]string{nil, {"If-None-Match", "*"}, {"If-Modified-Since", time.Now().UTC().Format(http.TimeFormat)}} {
		get(t, server, http.StatusNotFound, at+"/", header...)
	}
}
