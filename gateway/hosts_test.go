package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multibase"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// visit asks a handler as a client that believes to be at host.
func visit(t *testing.T, h *Handler, host, target string, header ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

func handlerOver(t *testing.T, m *dagtest.Memory, cfg Config) *Handler {
	t.Helper()
	h, err := newHandler(m, m, noShards, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestDeserializedHosts wants files for some hosts, and for all others what a client
// can check.
func TestDeserializedHosts(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"a": m.File("a")})
	at := "/ipfs/" + root.Cid().String()
	for host, files := range map[string]bool{
		"localhost": true, "localhost:8447": true, "127.0.0.1:1": true, "[::1]:80": true, "x.localhost": true, "LOCALHOST": true, "localhost.": true,
		"example.org": false, "192.0.2.1": false, "127.0.0.1.example.org": false, "notlocalhost": false, "": false, "localhost.example": false,
	} {
		h := handlerOver(t, m, Config{})
		for _, row := range []struct {
			path, accept   string
			file, trustful int
		}{
			{at + "/a", "", 200, 400},
			{at + "/a", "*/*", 200, 400},
			{at + "/a", "text/html", 200, 406},
			{at + "/a", "text/html, application/vnd.ipld.car;q=0.5", 200, 200},
			{at + "/", "", 200, 400},
			{at + "?format=tar", "", 200, 406},
			{at + "?format=dag-json", "", 406, 406},
			{at + "?format=raw", "", 200, 200},
			{at + "/a?format=raw", "", 200, 406},
			{at + "/a?format=car", "", 200, 200},
			{at, "application/vnd.ipld.raw", 200, 200},
			{"/ipns/example.org?format=car", "", 501, 406},
			{"/ipns/example.org?format=ipns-record", "", 400, 400},
		} {
			want := row.trustful
			if files {
				want = row.file
			}
			if got := visit(t, h, host, row.path, "Accept", row.accept); got.status != want {
				t.Errorf("%q: %s, Accept %q: %d, want %d: %s", host, row.path, row.accept, got.status, want, got.body)
			}
		}
	}
	h := handlerOver(t, m, Config{DeserializedHosts: []string{"*.example.org", "other.example"}})
	for host, want := range map[string]int{"a.example.org": 200, "a.b.Example.org:80": 200, "other.example": 200, "example.org": 406, "localhost": 406} {
		if got := visit(t, h, host, at+"/a", "Accept", "text/html"); got.status != want {
			t.Errorf("%q: %d, want %d", host, got.status, want)
		}
	}
}

// TestFormats is the matrix of formats, codecs and Accept; the query beats Accept.
func TestFormats(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	paths := map[string]string{
		"raw": m.Block(cid.Raw, 0x12, []byte("raw")).String(), "pb": m.File(dagtest.Text(3000)).Cid().String(),
		"cbor": m.Block(cid.DagCBOR, 0x12, []byte{0xa1, 0x61, 'a', 0x01}).String(), "json": m.Block(cid.DagJSON, 0x12, []byte(`{"a":1}`)).String(),
		"plain json": m.Block(0x0200, 0x12, []byte(`{ "a": 1 }`)).String(), "plain cbor": m.Block(0x51, 0x12, []byte{0xa1, 0x61, 'a', 0x01}).String(),
	}
	for _, row := range []struct {
		block, format, accept string
		status                int
		kind                  string
	}{
		{"cbor", "dag-cbor", "", 200, "application/vnd.ipld.dag-cbor"},
		{"cbor", "", "application/vnd.ipld.dag-cbor", 200, "application/vnd.ipld.dag-cbor"},
		{"cbor", "cbor", "", 200, "application/cbor"},
		{"cbor", "dag-json", "", 406, ""},
		{"cbor", "json", "", 406, ""},
		{"json", "dag-json", "", 200, "application/vnd.ipld.dag-json"},
		{"json", "json", "", 200, "application/json"},
		{"json", "dag-cbor", "", 406, ""},
		{"plain json", "json", "", 200, "application/json"},
		{"plain cbor", "cbor", "", 200, "application/cbor"},
		{"pb", "dag-json", "", 406, ""},
		{"pb", "dag-cbor", "", 406, ""},
		{"raw", "raw", "application/vnd.ipld.car", 200, "application/vnd.ipld.raw"},
		{"cbor", "raw", "application/vnd.ipld.dag-json", 200, "application/vnd.ipld.raw"},
		{"cbor", "dag-cbor", "application/vnd.ipld.dag-json", 200, "application/vnd.ipld.dag-cbor"},
		{"pb", "tar", "text/html", 200, "application/x-tar"},
		{"pb", "", "application/x-tar", 200, "application/x-tar"},
		{"raw", "nothing", "", 400, ""},
		{"raw", "", "application/vnd.ipld.nothing", 406, ""},
		{"raw", "", "application/vnd.ipld.nothing, */*", 200, "text/plain; charset=utf-8"},
		{"raw", "", "image/png", 200, "text/plain; charset=utf-8"},
	} {
		at := "/ipfs/" + paths[row.block]
		if row.format != "" {
			at += "?format=" + row.format
		}
		a := visit(t, h, "localhost", at, "Accept", row.accept)
		if a.status != row.status || row.status == 200 && a.header.Get("Content-Type") != row.kind {
			t.Errorf("%s as %q, Accept %q: %d %q, want %d %q: %s", row.block, row.format, row.accept, a.status, a.header.Get("Content-Type"), row.status, row.kind, a.body)
		}
		location := a.header.Get("Content-Location")
		byHeader := row.status == 200 && strings.Contains(row.accept, "application/") && !strings.Contains(row.accept, "nothing")
		if byHeader != (location != "") {
			t.Errorf("%s as %q, Accept %q: Content-Location %q", row.block, row.format, row.accept, location)
		}
		if vary := a.header.Get("Vary"); (row.format == "") != (vary == "Accept") && row.status != 400 {
			t.Errorf("%s as %q, Accept %q: Vary %q", row.block, row.format, row.accept, vary)
		}
		if row.status >= 400 && strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s as %q: %d for ever", row.block, row.format, row.status)
		}
	}
}

// TestSubdomains is the gateway with an origin for each CID and name.
func TestSubdomains(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{
		"index.html": m.File("<p>home</p>"), "a b": m.File("ab"), "404.html": m.File("<p>gone</p>"),
		"_redirects": m.File("/old /a%20b 302\n/* /404.html 404\n"),
	}).Cid()
	v0 := cid.NewCidV0(site.Hash()).String()
	domain := "my.long-name.example"
	h := handlerOver(t, m, Config{
		Hosts: []string{"gw.example", "localhost"}, DeserializedHosts: []string{"gw.example", "*.localhost", "localhost"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Names: Names{DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			if name != domain {
				return "", 0, ErrNoName
			}
			return "/ipfs/" + site.String(), 90 * time.Second, nil
		}},
	})
	sub := site.String() + ".ipfs.gw.example"
	for _, row := range []struct {
		host, path string
		header     []string
		status     int
		want       string // a place to go to, or a body
	}{
		// From a path to a subdomain, with port and query kept.
		{"gw.example", "/ipfs/" + site.String(), nil, 301, "http://" + sub + "/"},
		{"gw.example:8080", "/ipfs/" + v0 + "/a%20b?x=1", nil, 301, "http://" + sub + ":8080/a%20b?x=1"},
		{"gw.example", "/ipfs/" + v0 + "/d/", nil, 301, "http://" + sub + "/d/"},
		{"localhost", "/ipfs/" + site.String(), nil, 301, "http://" + site.String() + ".ipfs.localhost/"},
		{"gw.example", "/ipns/" + domain + "/x", nil, 301, "http://my-long--name-example.ipns.gw.example/x"},
		// What can be checked is never redirected.
		{"gw.example", "/ipfs/" + v0 + "?format=raw", nil, 200, ""},
		{"gw.example", "/ipfs/" + site.String() + "?format=car", nil, 200, ""},
		{"gw.example", "/ipfs/" + site.String(), []string{"Accept", "application/vnd.ipld.raw"}, 200, ""},
		// At the subdomain.
		{sub, "/", nil, 200, "<p>home</p>"},
		{sub, "/a%20b", nil, 200, "ab"},
		{sub, "/?format=raw", nil, 200, ""},
		{strings.ToUpper(sub), "/a%20b", nil, 200, "ab"},
		{"bafkqaaa.ipfs.gw.example", "/?format=raw", nil, 200, ""},
		{"my-long--name-example.ipns.gw.example", "/a%20b", nil, 200, "ab"},
		{domain + ".ipns.gw.example", "/a%20b", nil, 301, "http://my-long--name-example.ipns.gw.example/a%20b"},
		{"none-example.ipns.gw.example", "/", nil, 404, ""},
		{"nonsense.ipfs.gw.example", "/", nil, 400, ""},
		{"x.gw.example", "/a", nil, 404, ""},
		// _redirects.
		{sub, "/old", nil, 302, "/a%20b"},
		{sub, "/nothing/here", nil, 404, "<p>gone</p>"},
		{"gw.example", "/", nil, 200, ""},
		// A domain that leads to content by itself.
		{domain, "/", []string{"Accept", "text/html"}, 200, ""}, // the gateway's own page: it is not one of the hosts for files
		// Who may say what the client said.
		{"proxy.internal", "/ipfs/" + site.String(), []string{"X-Forwarded-Host", "gw.example"}, 301, "https://" + sub + "/"},
	} {
		header := row.header
		if row.host == "proxy.internal" {
			header = append(header, "X-Forwarded-Proto", "https")
		}
		a := visit(t, h, row.host, row.path, header...)
		got := string(a.body)
		if a.status == 301 || a.status == 302 {
			got = a.header.Get("Location")
		}
		if a.status != row.status || row.want != "" && got != row.want {
			t.Errorf("%s%s: %d %q, want %d %q", row.host, row.path, a.status, got, row.status, row.want)
		}
	}
	// httptest's requests come from 192.0.2.1. From elsewhere nobody is believed.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ipfs/"+site.String(), nil)
	r.Host, r.RemoteAddr = "proxy.internal", "198.51.100.7:1234"
	r.Header.Set("X-Forwarded-Host", "gw.example")
	r.Header.Set("X-Forwarded-Proto", "https")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
		t.Errorf("a stranger's X-Forwarded-Host: %d to %q", w.Code, w.Header().Get("Location"))
	}
	a := visit(t, h, "my-long--name-example.ipns.gw.example", "/a%20b")
	if cc := a.header.Get("Cache-Control"); cc != "public, max-age=90" {
		t.Errorf("of a name: Cache-Control %q", cc)
	}
}

// TestDNSLinkHost serves a domain that leads to content, if it is one for files.
func TestDNSLinkHost(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{"index.html": m.File("<p>home</p>")}).Cid()
	h := handlerOver(t, m, Config{DeserializedHosts: []string{"*.example"}, Names: Names{
		DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			switch name {
			case "site.example":
				return "/ipfs/" + site.String(), time.Minute, nil
			case "away.example":
				return "", 0, errors.New("no answer")
			}
			return "", 0, ErrNoName
		},
	}})
	if a := visit(t, h, "site.example", "/"); a.status != 200 || string(a.body) != "<p>home</p>" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := visit(t, h, "other.example", "/nothing"); a.status != 404 {
		t.Errorf("a domain that leads nowhere: %d", a.status)
	}
	if a := visit(t, h, "away.example", "/"); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a resolver that fails: %d", a.status)
	}
	if a := visit(t, h, "other.example", "/"); a.status != 200 || strings.Contains(string(a.body), site.String()) {
		t.Errorf("home: %d", a.status)
	}
}

// TestWithinHost wants a path of a domain, or of a subdomain, to lead to nothing
// that lies elsewhere: it would be shown as if it were theirs.
func TestWithinHost(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{"index.html": m.File("<p>home</p>"), "a": m.File("a")}).Cid()
	evil := m.Folder(false, map[string]ipld.Node{"x": m.File("evil")}).Cid()
	h := handlerOver(t, m, Config{Hosts: []string{"gw.example"}, DeserializedHosts: []string{"*.example"}, Names: Names{
		DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			switch name {
			case "site.test.example":
				return "/ipfs/" + site.String(), time.Minute, nil
			case "evil.test.example":
				return "/ipfs/" + evil.String(), time.Minute, nil
			}
			return "", 0, ErrNoName
		},
	}})
	sub := site.String() + ".ipfs.gw.example"
	for _, row := range []struct {
		host, path string
		status     int
	}{
		{"site.test.example", "/..%2fevil.test.example/x", 404},
		{"site.test.example", "/..%2f..%2fipfs/" + evil.String() + "/x", 404},
		{"site.test.example", "/a/..%2f..%2f..%2fipfs/" + evil.String() + "/x", 404},
		{sub, "/..%2f" + evil.String() + "/x", 404},
		{sub, "/..%2f" + evil.String() + "?format=raw", 404},
		{"site.test.example", "/b/..%2fa", 200},
		{sub, "/b/..%2fa", 200},
	} {
		a := visit(t, h, row.host, row.path)
		if a.status != row.status || strings.Contains(string(a.body), "evil") && a.status == 200 {
			t.Errorf("%s%s: %d %.80q", row.host, row.path, a.status, a.body)
		}
	}
}

// TestLabels wants a CID that is too long for a label in base 36, and one that is too
// long for that refused.
func TestLabels(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{Hosts: []string{"gw.example"}, DeserializedHosts: []string{"gw.example"}})
	long := m.Block(cid.Raw, 0x13, []byte("sha2-512")) // 64 bytes
	if a := visit(t, h, "gw.example", "/ipfs/"+long.String()); a.status != http.StatusBadRequest {
		t.Errorf("a CID of 64 bytes: %d to %q", a.status, a.header.Get("Location"))
	}
	key, _ := newKey(t)
	for _, form := range []string{key.String(), key.Peer().String(), key.Cid().Encode(multibase.MustNewEncoder('b'))} {
		a := visit(t, h, "gw.example", "/ipns/"+form+"/x")
		if want := "http://" + key.String() + ".ipns.gw.example/x"; a.status != 301 || a.header.Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", form, a.status, a.header.Get("Location"), want)
		}
	}
}

func newKey(t *testing.T) (ipns.Name, crypto.PrivKey) {
	t.Helper()
	private, public, err := crypto.GenerateKeyPair(crypto.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	name, err := nameOf(public)
	if err != nil {
		t.Fatal(err)
	}
	return name, private
}

func record(t *testing.T, key crypto.PrivKey, value string, end time.Time, ttl time.Duration) []byte {
	t.Helper()
	p, err := path.NewPath(value)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipns.NewRecord(key, p, 1, end, ttl)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ipns.MarshalRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestIPNS follows and passes on records that are good, and no others.
func TestIPNS(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"d": m.Folder(false, map[string]ipld.Node{"a": m.File("a")})}).Cid()
	good, goodKey := newKey(t)
	ending, endingKey := newKey(t)
	ended, endedKey := newKey(t)
	forged, _ := newKey(t)
	chain, chainKey := newKey(t)
	loop, loopKey := newKey(t)
	nobody, _ := newKey(t)
	records := map[string][]byte{
		good.String():   record(t, goodKey, "/ipfs/"+root.String()+"/d", time.Now().Add(time.Hour), 2*time.Minute),
		ending.String(): record(t, endingKey, "/ipfs/"+root.String(), time.Now().Add(30*time.Second), time.Hour),
		ended.String():  record(t, endedKey, "/ipfs/"+root.String(), time.Now().Add(-time.Second), time.Hour),
		forged.String(): record(t, goodKey, "/ipfs/"+root.String(), time.Now().Add(time.Hour), time.Hour),
		chain.String():  record(t, chainKey, "/ipns/"+good.String(), time.Now().Add(time.Hour), time.Hour),
		loop.String():   record(t, loopKey, "/ipns/"+loop.String(), time.Now().Add(time.Hour), time.Hour),
	}
	h := handlerOver(t, m, Config{Names: Names{Record: func(_ context.Context, key string) ([]byte, time.Duration, error) {
		if r, ok := records[key]; ok {
			return r, 0, nil
		}
		if key == nobody.String() {
			return nil, 0, ErrNoName
		}
		return nil, 0, context.DeadlineExceeded
	}}})
	slow, _ := newKey(t)
	for _, row := range []struct {
		path    string
		status  int
		body    string
		control string
	}{
		{"/ipns/" + good.String() + "/a", 200, "a", "public, max-age=120"},
		{"/ipns/" + chain.String() + "/a", 200, "a", "public, max-age=120"},
		{"/ipns/" + good.String() + "/a?format=raw", 200, "a", "public, max-age=120"},
		{"/ipns/" + good.String() + "?format=car", 200, "", "public, max-age=120"},
		{"/ipns/" + good.String() + "/b", 404, "", "public, max-age=15"},
		{"/ipns/" + ended.String() + "/d/a", 404, "", "public, max-age=15"},
		{"/ipns/" + forged.String() + "/d/a", 404, "", "public, max-age=15"},
		{"/ipns/" + loop.String(), 400, "", "no-store"},
		{"/ipns/" + nobody.String(), 404, "", "public, max-age=15"},
		{"/ipns/" + slow.String(), 504, "", "no-store"},
		{"/ipns/example.org", 501, "", "no-store"},
		{"/ipns/" + good.String() + "?format=ipns-record", 200, string(records[good.String()]), "public, max-age=120"},
		{"/ipns/" + chain.String() + "?format=ipns-record", 200, string(records[chain.String()]), "public, max-age=3600"},
		{"/ipns/" + forged.String() + "?format=ipns-record", 404, "", "public, max-age=15"},
		{"/ipns/" + ended.String() + "?format=ipns-record", 404, "", "public, max-age=15"},
		{"/ipns/" + good.String() + "/a?format=ipns-record", 400, "", "no-store"},
		{"/ipfs/" + root.String() + "?format=ipns-record", 400, "", "no-store"},
	} {
		a := visit(t, h, "localhost", row.path)
		control := a.header.Get("Cache-Control")
		if near := strings.TrimSuffix(row.control, "600"); row.control == "public, max-age=3600" && strings.HasPrefix(control, "public, max-age=35") {
			control = near + "600" // a second or so of the hour has passed
		}
		if a.status != row.status || row.body != "" && string(a.body) != row.body || control != row.control {
			t.Errorf("%s: %d %.40q %q, want %d %.40q %q", row.path, a.status, a.body, control, row.status, row.body, row.control)
		}
	}
	a := visit(t, h, "localhost", "/ipns/"+ending.String()+"/d/a")
	var left int
	if _, err := fmt.Sscanf(a.header.Get("Cache-Control"), "public, max-age=%d", &left); err != nil || left > 30 {
		t.Errorf("of a record that is about to end: %q", a.header.Get("Cache-Control"))
	}
	a = visit(t, h, "localhost", "/ipns/"+good.String()+"?format=ipns-record")
	etag := a.header.Get("Etag")
	if got := a.header.Get("Content-Type"); got != "application/vnd.ipfs.ipns-record" || !strings.HasPrefix(etag, `"`) || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a record: %v", a.header)
	}
	if a := visit(t, h, "localhost", "/ipns/"+good.String()+"?format=ipns-record", "If-None-Match", etag); a.status != http.StatusNotModified {
		t.Errorf("a record that the client has: %d", a.status)
	}
}

// TestEarly is what is answered before anything is looked for.
func TestEarly(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x")).String()
	h := handlerOver(t, m, Config{})
	deep := strings.Repeat("/a", 257)
	for _, row := range []struct {
		path   string
		header []string
		status int
		to     string
	}{
		{"/ipfs/?uri=ipfs%3A%2F%2F" + c + "%2Fa%3Fb%3Dc", nil, 301, "/ipfs/" + c + "/a?b=c"},
		{"/ipns/?uri=ipns%3A%2F%2Fexample.org", nil, 301, "/ipns/example.org"},
		{"/ipfs/?uri=https%3A%2F%2Fexample.org", nil, 400, ""},
		{"/ipfs/?uri=ipfs%3A%2F%2F", nil, 400, ""},
		{"/ipfs/?uri=%00", nil, 400, ""},
		{"/ipfs/" + c + "?uri=https%3A%2F%2Fexample.org", nil, 200, ""}, // it is the page's own
		{"/ipfs/ipfs/" + c, nil, 301, "/ipfs/" + c},
		{"/ipfs/ipns/example.org/a?b=c", nil, 301, "/ipns/example.org/a?b=c"},
		// What can be checked is never redirected.
		{"/ipfs/ipfs/" + c + "?format=raw", nil, 400, ""},
		{"/ipfs/ipfs/" + c, []string{"Accept", "application/vnd.ipld.car"}, 400, ""},
		{"/ipfs/?uri=ipfs%3A%2F%2F" + c, []string{"Accept", "application/vnd.ipld.raw"}, 400, ""},
		{"/ipfs/" + c, []string{"Service-Worker", "script"}, 400, ""},
		{"/ipfs/" + c + "/", []string{"Service-Worker", "script"}, 200, ""},
		{"/ipns/example.org", []string{"Service-Worker", "script"}, 400, ""},
		{"/ipfs/" + c + deep, nil, 400, ""},
		{"/ipfs/" + c + deep + "?format=car", nil, 400, ""},
		{"/ipfs/" + c + "//./", nil, 200, ""},
		{"/ipfs/", nil, 400, ""},
		{"/ipfs/%00", nil, 400, ""},
		{"/ipfs/" + strings.Repeat("b", 100_000), nil, 400, ""},
		{"/ipfs/..", nil, 400, ""},
	} {
		a := visit(t, h, "localhost", row.path, row.header...)
		if a.status != row.status || a.header.Get("Location") != row.to {
			t.Errorf("%.80s %v: %d to %q, want %d to %q", row.path, row.header, a.status, a.header.Get("Location"), row.status, row.to)
		}
		if len(a.body) > 1000 {
			t.Errorf("%.80s: an answer of %d bytes", row.path, len(a.body))
		}
	}
}

// TestConfig wants all that is wrong told at once.
func TestConfig(t *testing.T) {
	_, err := newHandler(dagtest.New(t), nil, noShards, Config{
		DeserializedHosts: []string{"https://a", "b:80", "::1", "*.c", ""}, Hosts: []string{"gw.example", "127.0.0.1", "*.d"},
	})
	for _, wrong := range []string{`"https://a"`, `"b:80"`, `""`, `"127.0.0.1"`, `"*.d"`} {
		if err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s is not told: %v", wrong, err)
		}
	}
	for _, good := range []string{"::1", `"*.c"`, "gw.example"} {
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("%s is told: %v", good, err)
		}
	}
}
