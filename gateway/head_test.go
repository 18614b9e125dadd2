package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestHeadOfFolder wants what HEAD says of a folder to be what GET does, without
// its nodes being read one by one to count what is in it.
func TestHeadOfFolder(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	many := map[string]ipld.Node{}
	for i := range 3000 {
		many[fmt.Sprint("entry ", i)] = m.File("x")
	}
	sharded := m.Folder(true, many)
	many["index.html"] = m.File("<p>page</p>")
	root := m.Folder(false, map[string]ipld.Node{"many": sharded, "page": m.Folder(true, many), "plain": m.Folder(false, map[string]ipld.Node{"a": m.File("a")})})
	at := "/ipfs/" + root.Cid().String()
	for path, most := range map[string]int{
		at + "/many/": 12, at + "/many": 12, at + "/page/": 20, at + "/plain/": 12, at + "/": 8, "/ipfs/" + sharded.Cid().String() + "/": 12,
	} {
		m.Reads()
		head := ask(t, server, http.MethodHead, path)
		reads := m.Reads()
		got := ask(t, server, http.MethodGet, path)
		if head.status != got.status || reads > most || len(head.body) > 0 {
			t.Errorf("HEAD %s: %d after %d reads, at most %d; GET: %d", path, head.status, reads, most, got.status)
		}
		for _, name := range []string{"Etag", "Content-Type", "Cache-Control", "X-Ipfs-Roots", "X-Ipfs-Path", "Location"} {
			if head.header.Get(name) != got.header.Get(name) {
				t.Errorf("HEAD %s: %s is %q, by GET %q", path, name, head.header.Get(name), got.header.Get(name))
			}
		}
		if etag := head.header.Get("Etag"); etag != "" {
			if a := ask(t, server, http.MethodHead, path, "If-None-Match", etag); a.status != http.StatusNotModified {
				t.Errorf("HEAD %s, unchanged: %d", path, a.status)
			}
		}
	}
	m.Drop(sharded.Cid())
	if a := ask(t, server, http.MethodHead, at+"/many/"); a.status != http.StatusNotFound {
		t.Errorf("HEAD of a folder that is not there: %d", a.status)
	}
}

// TestSeveralLines wants a header that came in several lines to be read as if it
// were one.
func TestSeveralLines(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	block := m.Block(cid.Raw, 0x12, pattern(100)).String()
	folder := m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid().String()
	cbor := m.Block(cid.DagCBOR, 0x12, []byte{0xa1, 0x61, 'a', 0x01}).String()
	for _, path := range []string{block + "?format=raw", block, block + "?format=car", folder + "/", cbor + "?format=dag-cbor", folder + "?format=tar"} {
		etag := get(t, server, http.StatusOK, "/ipfs/"+path).header.Get("Etag")
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, lines := range [][]string{{`"x"`, etag}, {"", etag}, {`"x", "y"`, `W/"z"`, etag, `"v"`}} {
				r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/ipfs/"+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header["If-None-Match"] = lines
				resp, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusNotModified {
					t.Errorf("%s %s If-None-Match %q: %d", method, path, lines, resp.StatusCode)
				}
			}
		}
	}
	for value, want := range map[string]int{"max-age=0, Only-If-Cached": 412, "no-transform ,only-if-cached": 412, "x-only-if-cached": 404} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+absentCID+"?format=raw", "Cache-Control", value); a.status != want {
			t.Errorf("Cache-Control %q: %d, want %d", value, a.status, want)
		}
	}
}
