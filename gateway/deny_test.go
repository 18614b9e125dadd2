package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/internal/denylist"
)

// refusing is Config.Refuse by a denylist.
func refusing(t *testing.T, text string) func(cid.Cid, string) int {
	t.Helper()
	list, problems, err := denylist.Parse("test.deny", strings.NewReader(text))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	set := denylist.NewSet(list)
	return func(c cid.Cid, path string) int {
		m := set.Block(c)
		if path != "" {
			m = set.Content(path)
		}
		if !m.Denies() {
			return 0
		}
		return m.Status
	}
}

// TestDenied: a rule holds wherever what it is about is met.
func TestDenied(t *testing.T) {
	m := dagtest.New(t)
	secret := m.File("secret")
	large := m.File(string(pattern(600_000)))
	below := m.Folder(false, map[string]ipld.Node{"secret": secret, "fine": m.File("fine"), "index.html": m.File("page")})
	root := m.Folder(false, map[string]ipld.Node{"b": below, "large": large, "many": m.Folder(true, map[string]ipld.Node{"secret": secret, "fine": m.File("fine")})})
	leaf := large.Links()[1].Cid
	inline := cartest.Identity([]byte("bad")).CID
	store := openStore(t)
	addBlocks(t, store, root.Cid(), all(m))
	a := "/ipfs/" + root.Cid().String()
	b := "/ipfs/" + below.Cid().String()
	raw := func(c cid.Cid, codec uint64) string {
		return "/ipfs/" + cid.NewCidV1(codec, c.Hash()).String() + "?format=raw"
	}
	const ok, gone, cut = http.StatusOK, http.StatusGone, 0
	for rules, want := range map[string]map[string]int{
		// The block of a file.
		"/ipfs/" + secret.Cid().String(): {
			raw(secret.Cid(), cid.DagProtobuf): gone, raw(secret.Cid(), cid.Raw): gone, "/ipfs/" + secret.Cid().String(): gone,
			a + "/b/secret": gone, a + "/b/secret?format=car": gone, b + "/secret": gone, a + "/many/secret": gone,
			a + "/b/fine": ok, a + "/b/": ok, a + "?format=car": cut, a + "?format=car&dag-scope=block": ok, a + "/b?format=car&dag-scope=entity": ok,
			a + "?format=tar": cut, a + "/b/fine?format=car": ok,
		},
		// One leaf of a file: it is met when the answer has begun.
		"/ipfs/" + leaf.String(): {
			a + "/large": cut, a + "/large?format=car": cut, a + "/large?format=car&entity-bytes=0:9": ok, raw(leaf, cid.Raw): gone, a + "/b/fine": ok,
		},
		// A folder on the way.
		"/ipfs/" + below.Cid().String(): {a + "/b/fine": gone, a + "/b/": gone, a + "/b?format=car": gone, a + "/": ok, b + "/": gone},
		// A path, by its root and from the middle of another.
		b + "/secret": {
			b + "/secret": gone, b + "/secret/": gone, b + "//secret": gone, a + "/b/secret": gone, a + "/b/secret?format=raw": gone, a + "/b/secret?format=car": gone,
			raw(secret.Cid(), cid.DagProtobuf): ok, a + "/many/secret": ok, a + "/b/fine": ok, a + "?format=car": ok,
		},
		a + "/b*\n!" + a + "/b/fine": {a + "/b/secret": gone, a + "/b/": gone, a + "/b/fine": ok, a + "/large": ok},
		a + "/*":                     {a: gone, a + "/b/fine": gone, a + "?format=car": gone, b + "/fine": ok},
		"/ipfs/" + inline.String():   {"/ipfs/" + inline.String() + "?format=raw": gone, "/ipfs/" + inline.String() + "?format=car": gone},
		"/ipfs/" + inline.String() + "\n!/ipfs/" + inline.String(): {"/ipfs/" + inline.String() + "?format=raw": ok},
		"/ipns/bad.example": {"/ipns/bad.example": gone, "/ipns/bad.example/?format=car": gone, "/ipns/fine.example": http.StatusNotImplemented},
	} {
		server := serveStore(t, store, &Config{Refuse: refusing(t, rules)})
		for path, status := range want {
			for _, header := range [][]string{nil, {"If-None-Match", "*"}, {"If-None-Match", `"` + root.Cid().String() + `"`}} {
				got := ask(t, server, http.MethodGet, path, header...)
				switch {
				case status == cut && got.err == nil && got.status != gone && header == nil: // it may be met before anything has left
					t.Errorf("%q: %s: status %d, and a body of %d bytes that ends well", rules, path, got.status, len(got.body))
				case status == ok && got.status != ok && got.status != http.StatusNotModified, status != ok && status != cut && got.status != status:
					t.Errorf("%q: %s %v: status %d, want %d; %.100q", rules, path, header, got.status, status, got.body)
				}
				if status == gone && (got.header.Get("Cache-Control") != "no-store" || got.header.Get("Etag") != "") {
					t.Errorf("%q: %s: %v", rules, path, got.header)
				}
			}
			if head := ask(t, server, http.MethodHead, path); status == gone && head.status != gone {
				t.Errorf("%q: HEAD %s: status %d", rules, path, head.status)
			}
		}
	}
}
