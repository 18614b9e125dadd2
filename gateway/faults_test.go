package gateway

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

const absentCID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

// TestFaultsOfBoxo holds the twelve points in which boxo/gateway goes wrong over a
// store that is only read, each by its number in docs/rfc/0026-gateway.md.
func TestFaultsOfBoxo(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"1 CAR of an absent root": func(t *testing.T) {
			server := serve(t, dagtest.New(t), false, Config{})
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := ask(t, server, method, "/ipfs/"+absentCID+"?format=car")
				if a.status != http.StatusNotFound || strings.Contains(a.header.Get("Cache-Control"), "immutable") {
					t.Errorf("%s: %d %v", method, a.status, a.header)
				}
			}
		},
		"2 a missing or damaged block in a CAR": func(t *testing.T) {
			for kind, spoil := range spoilers() {
				for _, http2 := range []bool{false, true} {
					m := dagtest.New(t)
					server := serve(t, m, http2, Config{})
					root, _ := damagedDAG(t, m, spoil)
					if a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+"?format=car"); a.err == nil {
						t.Errorf("%s, HTTP/2 %v: %d bytes that end well", kind, http2, len(a.body))
					}
				}
			}
		},
		"3 damaged bytes on the disk": TestDamagedStore,
		"4 HEAD of a CAR": func(t *testing.T) {
			m := dagtest.New(t)
			server := serve(t, m, false, Config{})
			root := m.File(dagtest.Text(100_000)).Cid()
			m.Reads()
			a := ask(t, server, http.MethodHead, "/ipfs/"+root.String()+"?format=car")
			if reads := m.Reads(); a.status != http.StatusOK || reads > 0 {
				t.Errorf("%d after %d reads", a.status, reads)
			}
		},
		"5 304 for what is absent or refused": TestIfNoneMatch,
		"6 entity-bytes without dag-scope": func(t *testing.T) {
			s := newSite(t, Config{})
			a := get(t, s.server, 200, "/ipfs/"+s.file.String()+"?format=car&entity-bytes=0:10")
			b := get(t, s.server, 200, "/ipfs/"+s.file.String()+"?format=car&entity-bytes=0:10&dag-scope=entity")
			if !bytes.Equal(a.body, b.body) || len(a.body) > 5_000 {
				t.Errorf("%d and %d bytes", len(a.body), len(b.body))
			}
		},
		"7 416 for ever": TestRanges,
		"8 several variants of CAR": func(t *testing.T) {
			s := newSite(t, Config{})
			a := get(t, s.server, 200, s.path, "Accept", "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5")
			if got := a.header.Get("Content-Type"); got != "application/vnd.ipld.car; version=1; order=dfs; dups=y" {
				t.Errorf("Content-Type %q", got)
			}
		},
		"9 hashes that are not served": func(t *testing.T) {
			m := dagtest.New(t)
			server := serve(t, m, false, Config{})
			for _, hash := range []uint64{0xd5, 0x22} { // MD5, Murmur3
				weak := m.Block(cid.Raw, hash, []byte("weak"))
				folder := m.Odd(weak, "a").Cid()
				for _, suffix := range []string{weak.String() + "?format=raw", weak.String() + "?format=car", weak.String(), folder.String() + "/a", folder.String() + "/a?format=raw"} {
					get(t, server, http.StatusNotFound, "/ipfs/"+suffix)
				}
			}
		},
		"10 what is inline, and what is not found": func(t *testing.T) {
			store := openStore(t)
			server := serveStore(t, store, nil)
			if a := get(t, server, 200, "/ipfs/"+cartest.Identity([]byte("inline")).CID.String()); string(a.body) != "inline" {
				t.Errorf("inline: %q", a.body)
			}
			if _, err := store.Blockstore(nil).Get(t.Context(), cid.MustParse(absentCID)); !ipld.IsNotFound(err) {
				t.Errorf("not found: %v", err)
			}
			get(t, server, 404, "/ipfs/"+absentCID)
		},
		"11 CONNECT": func(t *testing.T) {
			h := handlerOver(t, dagtest.New(t), Config{})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodConnect, "http://example.org:443", nil)
			r.URL.Path = ""
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Location") != "" {
				t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
			}
		},
		"12 X-Ipfs-Path": func(t *testing.T) {
			m := dagtest.New(t)
			server := serve(t, m, false, Config{})
			at := "/ipfs/" + m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid().String()
			for path, want := range map[string]string{at + "/": at + "/", at + "/a": at + "/a", at + "/a?format=raw": at + "/a", at + "?format=car": at, at + "?format=tar": at} {
				if got := get(t, server, 200, path).header.Get("X-Ipfs-Path"); got != want {
					t.Errorf("%s: %q, want %q", path, got, want)
				}
			}
		},
	} {
		t.Run(name, test)
	}
}
