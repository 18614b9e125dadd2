package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// FuzzRequest sends requests of all kinds to a gateway over a DAG that is
// whole. None may make it panic, none may be broken off, and no failure may be
// kept for ever or blamed on somebody upstream.
func FuzzRequest(f *testing.F) {
	const root = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	f.Add("GET", "/ipfs/ROOT/file", "", "", "", "")
	f.Add("HEAD", "/ipfs/ROOT", "format=car&dag-scope=entity&entity-bytes=-3:*", "", "", "")
	f.Add("GET", "/ipfs/ROOT/sub/", "format=tar", "", "", `W/"x", *`)
	f.Add("GET", "/ipfs/ROOT/file", "", "text/html", "bytes=1-2,3-4", "")
	f.Add("GET", "/ipfs/CBOR/a/b", "format=dag-json", "application/vnd.ipld.car;version=1;dups=y", "bytes=-5", "")
	f.Add("OPTIONS", "/ipfs/"+root+"/../x", "filename=%00", "application/vnd.ipld.raw", "", "")
	f.Add("GET", "/ipns/example.org//", "uri=ipfs://ROOT", "", "", "")
	f.Add("GET", "/", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, accept, ranges, match string) {
		m := dagtest.New(t)
		file := m.File(dagtest.Text(5000))
		folder := m.Folder(false, map[string]ipld.Node{"file": file, "sub": m.Folder(true, map[string]ipld.Node{"a": file})})
		object := m.Block(cid.DagCBOR, 0x12, []byte{0xa1, 0x61, 'a', 0xa1, 0x61, 'b', 1})
		handler, err := newHandler(m, m, noShards, Config{})
		if err != nil {
			t.Fatal(err)
		}
		fill := strings.NewReplacer("ROOT", folder.Cid().String(), "CBOR", object.String())
		path, query = fill.Replace(path), fill.Replace(query)
		// As the server makes it: only what it would parse comes through.
		u, err := url.ParseRequestURI((&url.URL{Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: query}).String())
		if err != nil {
			return
		}
		r := &http.Request{
			Method: method, URL: u, RequestURI: u.RequestURI(), Host: "localhost", RemoteAddr: "127.0.0.1:1",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody,
		}
		r = r.WithContext(t.Context())
		for name, value := range map[string]string{"Accept": accept, "Range": ranges, "If-None-Match": match} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusBadGateway {
			t.Errorf("status %d", w.Code)
		}
		if w.Code >= 400 && strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("status %d for ever: %v", w.Code, w.Header())
		}
	})
}
