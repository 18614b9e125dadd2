package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multibase"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestOriginOfDomain wants all that a domain with a DNSLink serves to a browser to be
// of the content that it leads to: what somebody else has published must not get
// at its cookies. What can be checked is served at any host.
func TestOriginOfDomain(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{
		"index.html": m.File("<p>home</p>"), "ipfs": m.Folder(false, map[string]ipld.Node{"readme": m.File("ours")}),
	}).Cid()
	evil := m.Folder(false, map[string]ipld.Node{"x.html": m.File("<p>evil</p>")}).Cid().String()
	asked := 0
	h := handlerOver(t, m, Config{Hosts: []string{"gw.test"}, DeserializedHosts: []string{"*.example", "gw.test"}, Names: Names{
		DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			asked++
			switch name {
			case "site.example", "site.invalid":
				return "/ipfs/" + site.String(), time.Minute, nil
			case "away.example":
				return "", 0, context.DeadlineExceeded
			}
			return "", 0, ErrNoName
		},
	}})
	for _, row := range []struct {
		host, path, accept string
		status             int
		asks               bool
	}{
		{"site.example", "/ipfs/" + evil + "/x.html", "text/html", 404, true},
		{"site.example", "/ipfs/" + evil + "/", "", 404, true},
		{"site.example", "/ipfs/" + evil + "?format=tar", "", 404, true},
		{"site.example", "/ipns/other.example/x.html", "", 404, true},
		{"site.example", "/ipfs/?uri=ipfs://" + evil, "", 200, true}, // the folder of that name
		{"site.example", "/ipfs/readme", "", 200, true},
		{"site.example:8080", "/ipfs/" + evil + "/x.html", "application/vnd.ipld.nothing", 406, true},
		{"site.example", "/ipfs/" + evil + "?format=raw", "", 200, false},
		{"site.example", "/ipfs/" + evil, "application/vnd.ipld.car", 200, false},
		{"away.example", "/ipfs/" + evil + "/x.html", "", 504, true}, // it may be one
		{"away.example", "/ipfs/" + evil + "?format=car", "", 200, false},
		{"plain.example", "/ipfs/" + evil + "/x.html", "", 200, true},
		{"gw.test", "/ipfs/" + evil + "/x.html", "", 301, false},
		{"site.invalid", "/ipfs/" + evil + "/x.html", "", 400, false}, // of no host for files
		{"site.invalid", "/ipfs", "", 404, false},
		{"192.0.2.7", "/ipfs/" + evil + "/x.html", "", 400, false},
	} {
		asked = 0
		a := visit(t, h, row.host, row.path, "Accept", row.accept)
		if a.status != row.status || (asked > 0) != row.asks || row.status != 200 && strings.Contains(string(a.body), "evil") {
			t.Errorf("%s%s: %d, %d look-ups, want %d: %.100q", row.host, row.path, a.status, asked, row.status, a.body)
		}
	}
}

// TestSiteOnlyIfCached wants nobody asked for who wants only what is here.
func TestSiteOnlyIfCached(t *testing.T) {
	m := dagtest.New(t)
	file := m.File("x").Cid().String()
	h := handlerOver(t, m, Config{DeserializedHosts: []string{"*.example"}, Names: Names{
		DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			t.Errorf("%s was looked up", name)
			return "", 0, ErrNoName
		},
	}})
	for path, status := range map[string]int{
		"/": 412, "/a": 412, "/ipns/other.example/a": 412, "/ipfs/" + file: 412, "/ipfs/" + file + "?format=raw": 200, "/ipfs/" + file + "?format=car": 200,
	} {
		if a := visit(t, h, "site.example", path, "Cache-Control", "only-if-cached"); a.status != status {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
	}
}

// TestLocationIsHere wants no redirect to lead to another host because of what
// somebody has called a folder, or said that the host is.
func TestLocationIsHere(t *testing.T) {
	m := dagtest.New(t)
	below := m.Folder(false, map[string]ipld.Node{"a": m.File("a")})
	site := m.Folder(false, map[string]ipld.Node{
		"evil.example": below, `\evil.example`: below, "_redirects": m.File("/go/* /:splat 302\n/away https://away.example/ 302\n"),
	}).Cid().String()
	h := handlerOver(t, m, Config{
		Hosts: []string{"gw.example"}, DeserializedHosts: []string{"*.example"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	sub := site + ".ipfs.gw.example"
	for _, row := range []struct{ host, path, want string }{
		{sub, "//evil.example", "/evil.example/"},
		{sub, "///evil.example?a=b", "/evil.example/?a=b"},
		{sub, `/%5Cevil.example`, "/%5Cevil.example/"},
		{sub, `/go//evil.example/`, "/evil.example"},
		{sub, `/go/%5Cevil.example`, ""},
		{sub, `/go/%09/evil.example`, ""},
		{sub, "/away", "https://away.example/"},
		{"gw.example:80@evil.example", "/ipfs/" + site, "http://" + sub + "/"},
		{"gw.example:x", "/ipfs/" + site, "http://" + sub + "/"},
		{"gw.example:8080", "/ipfs/" + site, "http://" + sub + ":8080/"},
		{"gw.example", "/ipfs/?uri=ipfs://../%5Cevil.example/", ""},
		{"gw.example", "/ipfs/?uri=ipfs://..//evil.example/", ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		path, query, _ := strings.Cut(row.path, "?")
		r.RequestURI, r.URL.RawQuery, r.Host = row.path, query, row.host
		r.URL.Path = strings.NewReplacer("%5C", `\`, "%09", "\t").Replace(path)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		to := w.Header().Get("Location")
		if row.want != "" && to != row.want || len(to) > 1 && to[0] == '/' && strings.ContainsRune("/\\\t\r\n", rune(to[1])) {
			t.Errorf("%s%s: %d to %q, want %q", row.host, row.path, w.Code, to, row.want)
		}
	}
}

// TestForwarded: of several proxies, the first has heard it from the client.
func TestForwarded(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid().String()
	h := handlerOver(t, m, Config{
		Hosts: []string{"gw.example"}, DeserializedHosts: []string{"gw.example"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	want := "https://" + site + ".ipfs.gw.example/a"
	for _, header := range [][]string{
		{"X-Forwarded-Host", "gw.example, proxy.internal", "X-Forwarded-Proto", "https, http"},
		{"X-Forwarded-Host", " gw.example ,,", "X-Forwarded-Proto", "HTTPS"},
	} {
		if a := visit(t, h, "inner.internal", "/ipfs/"+site+"/a", header...); a.header.Get("Location") != want {
			t.Errorf("%q: %d to %q, want %q", header, a.status, a.header.Get("Location"), want)
		}
	}
	if a := visit(t, h, "gw.example", "/ipfs/"+site+"/a", "X-Forwarded-Host", " ,gw.example"); a.header.Get("Location") != "http"+strings.TrimPrefix(want, "https") {
		t.Errorf("a first that is empty: %d to %q", a.status, a.header.Get("Location"))
	}
}

// TestSiteBesideSubdomains: a domain below one that has subdomains may be a site, and
// be told from them.
func TestSiteBesideSubdomains(t *testing.T) {
	m := dagtest.New(t)
	site := m.Folder(false, map[string]ipld.Node{"a": m.File("ours")}).Cid().String()
	h := handlerOver(t, m, Config{Hosts: []string{"example.org"}, DeserializedHosts: []string{"*.example.org", "example.org"}, Names: Names{
		DNSLink: func(_ context.Context, name string) (string, time.Duration, error) {
			if name == "docs.example.org" {
				return "/ipfs/" + site, time.Minute, nil
			}
			return "", 0, ErrNoName
		},
	}})
	for _, row := range []struct {
		host, path string
		status     int
	}{
		{"docs.example.org", "/a", 200}, {"docs.example.org", "/ipfs/" + site + "/a", 404}, {"docs-example-org.ipns.example.org", "/a", 200},
		{"www.example.org", "/a", 404}, {"ipfs.example.org", "/a", 404}, {site + ".ipfs.example.org", "/a", 200}, {"example.org", "/ipfs/" + site + "/a", 301},
	} {
		if a := visit(t, h, row.host, row.path); a.status != row.status || row.status == 200 && string(a.body) != "ours" {
			t.Errorf("%s%s: %d %.80q, want %d", row.host, row.path, a.status, a.body, row.status)
		}
	}
}

// TestKeysOfOldForm: a CID of another codec stands for the key too, and is sent to the
// form that all agree on.
func TestKeysOfOldForm(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid().String()
	key, private := newKey(t)
	raw := record(t, private, "/ipfs/"+root, time.Now().Add(time.Hour), time.Minute)
	h := handlerOver(t, m, Config{Hosts: []string{"gw.example"}, DeserializedHosts: []string{"localhost", "gw.example"}, Names: Names{
		Record: func(_ context.Context, asked string) ([]byte, time.Duration, error) {
			if asked != key.String() {
				return nil, 0, ErrNoName
			}
			return raw, 0, nil
		},
	}})
	old, err := cid.NewCidV1(cid.DagProtobuf, key.Cid().Hash()).StringOfBase(multibase.Base36)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{old, key.String(), key.Peer().String(), strings.ToUpper(key.String())} {
		a := visit(t, h, "localhost", "/ipns/"+name+"/a")
		if a.status != 200 || string(a.body) != "a" || a.header.Get("Ipfs-Uri") != "ipns://"+key.String()+"/a" {
			t.Errorf("/ipns/%s: %d %q %q", name, a.status, a.body, a.header.Get("Ipfs-Uri"))
		}
		if a := visit(t, h, "localhost", "/ipns/"+name+"?format=ipns-record"); a.status != 200 || string(a.body) != string(raw) {
			t.Errorf("/ipns/%s, its record: %d", name, a.status)
		}
	}
	want := "http://" + key.String() + ".ipns.gw.example/a"
	if a := visit(t, h, old+".ipns.gw.example", "/a"); a.status != 301 || a.header.Get("Location") != want {
		t.Errorf("its subdomain: %d to %q, want %q", a.status, a.header.Get("Location"), want)
	}
	if a := visit(t, h, "localhost", "/ipns/"+root); a.status != 404 {
		t.Errorf("a CID that is no key: %d", a.status)
	}
}

// TestAskedByProxy: a request may name its host in the path, and nothing behind it.
func TestAskedByProxy(t *testing.T) {
	m := dagtest.New(t)
	page := m.Folder(false, map[string]ipld.Node{"index.html": m.File("page")}).Cid().String()
	list := m.Folder(false, map[string]ipld.Node{"a": m.File("a")}).Cid().String()
	h := handlerOver(t, m, Config{Hosts: []string{"gw.example"}, DeserializedHosts: []string{"gw.example"}})
	for target, want := range map[string]string{
		"http://" + page + ".ipfs.gw.example": "page", "http://" + page + ".ipfs.gw.example/": "page", "http://" + page + ".ipfs.gw.example?x=y": "page",
		"http://" + list + ".ipfs.gw.example": "Index of", "http://" + list + ".ipfs.gw.example/a": "a", "http://gw.example": "gateway",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d to %q: %.100q", target, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
}
