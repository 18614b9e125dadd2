package httpmount_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/netguard/netguardtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

// inside are URLs that lead to where this machine or its network alone should
// get, and what the refusal says about them. "spelling" are those that are
// refused for how they are written; no resolver is asked what it makes of them.
var inside = map[string]string{
	// This machine.
	"http://127.0.0.1/":                "loopback",
	"https://127.0.0.1:8443/":          "loopback",
	"http://127.8.8.8/":                "loopback",
	"http://127.0.0.1./":               "loopback",
	"http://[::1]/":                    "loopback",
	"http://[0000:0:0::1]:5001/api":    "loopback",
	"http://[::ffff:127.0.0.1]/":       "loopback",
	"http://[::ffff:7f00:1]/":          "loopback",
	"http://localhost/":                "loopback",
	"http://LocalHost:6379/":           "loopback",
	"http://localhost./":               "loopback",
	"http://a.b.localhost/":            "loopback",
	"http://localhost.localdomain/":    "loopback",
	"http://ip6-localhost/":            "loopback",
	"http://0.0.0.0/":                  "unspecified",
	"http://[::]/":                     "unspecified",
	"http://0.0.0.1/":                  "unspecified",
	"http://[::7f00:1]/":               "out of use",
	"http://[64:ff9b::127.0.0.1]/":     "loopback",
	"http://[64:ff9b::7f00:1]/":        "loopback",
	"http://[2002:7f00:1::]/":          "6to4",
	"http://[2001:0:7f00:1::1]/":       "Teredo",
	"http://2130706433/":               "spelling",
	"http://0x7f000001/":               "spelling",
	"http://0x7f.0.0.1/":               "spelling",
	"http://0177.0.0.1/":               "spelling",
	"http://0177.1/":                   "spelling",
	"http://017700000001/":             "spelling",
	"http://127.1/":                    "spelling",
	"http://127.0.1/":                  "spelling",
	"http://0/":                        "spelling",
	"http://0x0/":                      "spelling",
	"http://127.0.0.01/":               "spelling",
	"http://127.0.0.1../":              "spelling",
	"http://[::1%25lo]/":               "spelling",
	"http://[fe80::1%25eth0]/":         "spelling",
	"http://ann@127.0.0.1/":            "spelling",
	"http://example.org@127.0.0.1/":    "spelling",
	"http://example.org:80@127.0.0.1/": "spelling",
	"http://127.0.0.1%2f@example.org/": "spelling",
	"http://example.org\\@127.0.0.1/":  "spelling",
	"http://%31%32%37.0.0.1/":          "spelling",
	"http://①②⑦.0.0.1/":                "spelling",
	"http://127。0。0。1/":                "spelling",
	// Clouds.
	"http://169.254.169.254/latest/meta-data/iam/": "metadata",
	"http://169.254.169.254:80/":                   "metadata",
	"http://[fd00:ec2::254]/latest/":               "metadata",
	"http://[fd20:ce::254]/":                       "metadata",
	"http://[::ffff:169.254.169.254]/":             "metadata",
	"http://[::ffff:a9fe:a9fe]/":                   "metadata",
	"http://[64:ff9b::a9fe:a9fe]/":                 "metadata",
	"http://metadata.google.internal/":             "metadata",
	"http://METADATA.google.internal./":            "metadata",
	"http://100.100.100.200/":                      "metadata",
	"http://168.63.129.16/":                        "metadata",
	"http://192.0.0.192/":                          "metadata",
	"http://2852039166/":                           "spelling",
	"http://0xa9fea9fe/":                           "spelling",
	"http://0251.0376.0251.0376/":                  "spelling",
	"http://169.254.43518/":                        "spelling",
	// The network around.
	"http://10.0.0.1/":             "private",
	"http://172.16.0.1/":           "private",
	"http://172.31.255.255/":       "private",
	"http://192.168.0.1:8080/":     "private",
	"http://[::ffff:10.0.0.1]/":    "private",
	"http://100.64.0.1/":           "CGNAT",
	"http://100.127.255.254/":      "CGNAT",
	"http://169.254.0.1/":          "link-local",
	"http://[fe80::1]/":            "link-local",
	"http://[fc00::1]/":            "unique-local",
	"http://[fd12:3456:789a::1]/":  "unique-local",
	"http://[fec0::1]/":            "site-local",
	"http://224.0.0.1/":            "multicast",
	"http://239.255.255.250:1900/": "multicast",
	"http://[ff02::1]/":            "multicast",
	"http://255.255.255.255/":      "broadcast",
	"http://240.0.0.1/":            "reserved",
	"http://192.0.2.1/":            "documentation",
	"http://198.18.0.1/":           "benchmarks",
	"http://[2001:db8::1]/":        "documentation",
	"http://nas/":                  "private",
	"http://vault.internal/":       "private",
	"http://printer.local/":        "private",
	"http://router.home.arpa/":     "private",
	"http://167772161/":            "spelling",
	"http://10.1/":                 "spelling",
	"http://192.168.257/":          "spelling",
}

// Sources that come from others are refused when they are opened, before
// anything is asked.
func TestUntrusted(t *testing.T) {
	if len(inside) < 40 {
		t.Fatalf("only %d URLs", len(inside))
	}
	web := client(t, &httpmount.Config{Untrusted: true})
	web.DialBy(func(_ context.Context, _, address string) (net.Conn, error) {
		t.Errorf("%s is dialled", address)
		return nil, fs.ErrInvalid
	})
	for in, why := range inside {
		m, err := web.Open(in)
		switch {
		case why == "spelling" && !errors.Is(err, mount.ErrURL), why != "spelling" && !errors.Is(err, mount.ErrDenied):
			t.Errorf("%s gives %v, %v", in, m, err)
		case why != "spelling" && !strings.Contains(err.Error(), why):
			t.Errorf("%s gives %v, not that it is %s", in, err, why)
		}
	}
	for _, in := range []string{"https://example.org/a.car", "http://8.8.8.8/", "https://[2606:4700::1111]:8443/", "http://localhost.example.org/"} {
		if _, err := web.Open(in); err != nil {
			t.Errorf("%s gives %v", in, err)
		}
	}
}

// A source that the operator names may lie anywhere; what it redirects to may
// not.
func TestRedirectsInside(t *testing.T) {
	var location string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{location}
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	web := client(t, nil)
	defer web.CloseIdle()
	m := open(t, web, server.URL)
	others := map[string]string{
		"file:///etc/passwd": "scheme", "ftp://example.org/": "scheme", "gopher://127.0.0.1:6379/_": "scheme", "data:,x": "scheme", "javascript:1": "scheme",
		"unix:///run/docker.sock": "scheme", "HTTP+unix://x/": "scheme", "http:127.0.0.1": "without a host", "http:///x": "without a host", "//127.0.0.1:9/": "loopback",
		"//localhost/": "loopback", "http://ann:marker-secret@example.org/": "user", "//[::1]/": "loopback", "http://134744072/": "not written as one",
	}
	for in, why := range inside {
		others[in] = why
	}
	for in, why := range others {
		location = in
		_, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 5, Length: 5}))
		if why == "spelling" {
			// Some are no URL for anybody.
			if !errors.Is(err, mount.ErrDenied) && !errors.Is(err, mount.ErrAnswer) {
				t.Errorf("a redirect to %s gives %v", in, err)
			}
			continue
		}
		if !errors.Is(err, mount.ErrDenied) || !strings.Contains(err.Error(), why) {
			t.Errorf("a redirect to %s gives %v, not that it is %s", in, err, why)
		}
		if err != nil && strings.Contains(err.Error(), "marker-secret") {
			t.Errorf("a redirect to %s gives %v", in, err)
		}
	}
}

// What counts is where a name leads when it is dialled, and a connection that
// was dialled freely is not used for others.
func TestNamesThatLeadInside(t *testing.T) {
	names, err := netguardtest.NewNames(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "inside") }))
	defer target.Close()
	port := target.URL[strings.LastIndexByte(target.URL, ':'):]
	front := httptest.NewServer(http.RedirectHandler("http://rebound.example.org"+port+"/", http.StatusFound))
	defer front.Close()

	web := client(t, nil)
	defer web.CloseIdle()
	web.ResolveBy(names.Resolver())
	if got, err := read(open(t, web, "http://rebound.example.org"+port+"/").Open(t.Context())); got != "inside" || err != nil {
		t.Errorf("a source that is named gives %q, %v", got, err)
	}
	got, err := read(open(t, web, front.URL).Open(t.Context()))
	if !errors.Is(err, mount.ErrDenied) || !strings.Contains(err.Error(), "127.0.0.1 is loopback") {
		t.Errorf("a redirect to the same gives %q, %v", got, err)
	}

	strict := client(t, &httpmount.Config{Untrusted: true})
	strict.ResolveBy(names.Resolver())
	got, err = read(open(t, strict, "http://rebound.example.org"+port+"/").Open(t.Context()))
	if !errors.Is(err, mount.ErrDenied) || !strings.Contains(err.Error(), "127.0.0.1 is loopback") {
		t.Errorf("a source that comes from others gives %q, %v", got, err)
	}

	lax := client(t, &httpmount.Config{Untrusted: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	defer lax.CloseIdle()
	lax.ResolveBy(names.Resolver())
	if got, err := read(open(t, lax, "http://rebound.example.org"+port+"/").Open(t.Context())); got != "inside" || err != nil {
		t.Errorf("a source in a network that is allowed gives %q, %v", got, err)
	}
}

// Redirects on a source's own server lead on, and away from encryption they do
// not.
func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/car", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "CAR") })
	for _, code := range []string{"301", "302", "303", "307", "308"} {
		status := map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308}[code]
		mux.Handle("/"+code, http.RedirectHandler("/car", status))
	}
	mux.Handle("/far", http.RedirectHandler("301", http.StatusFound))
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.org/", http.StatusFound)
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	web := client(t, &httpmount.Config{TLS: trusting(server)})
	defer web.CloseIdle()
	for _, path := range []string{"/301", "/302", "/303", "/307", "/308", "/far"} {
		if got, err := read(open(t, web, server.URL+path).Open(t.Context())); got != "CAR" || err != nil {
			t.Errorf("%s gives %q, %v", path, got, err)
		}
	}
	front := httptest.NewServer(http.RedirectHandler(server.URL+"/car", http.StatusMovedPermanently))
	defer front.Close()
	upgraded := client(t, &httpmount.Config{TLS: trusting(server), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer upgraded.CloseIdle()
	if got, err := read(open(t, upgraded, front.URL).Open(t.Context())); got != "CAR" || err != nil {
		t.Errorf("a redirect to encryption gives %q, %v", got, err)
	}
	if got, err := read(open(t, web, server.URL+"/plain").Open(t.Context())); !errors.Is(err, mount.ErrDenied) {
		t.Errorf("a redirect without encryption gives %q, %v", got, err)
	}
}

// Proxies are used when the program says so, whatever the environment says, and
// are not sent inside by redirects.
func TestProxies(t *testing.T) {
	dialled := make(chan string, 100)
	t.Setenv("HTTP_PROXY", "http://proxy.example.org:3128")
	t.Setenv("ALL_PROXY", "http://proxy.example.org:3128")
	web := client(t, nil)
	web.DialBy(func(_ context.Context, _, address string) (net.Conn, error) {
		dialled <- address
		return nil, fs.ErrClosed
	})
	if _, err := open(t, web, "http://cars.example.org/").Stat(t.Context()); err == nil {
		t.Error("nothing was dialled")
	}
	if got := <-dialled; got != "cars.example.org:80" || web.OfItself() {
		t.Errorf("%s was dialled", got)
	}

	asked := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		if strings.HasSuffix(r.URL.Path, "/inside") {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
			return
		}
		io.WriteString(w, "CAR")
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.UserPassword("ann", "marker-secret")
	web = client(t, &httpmount.Config{Proxy: http.ProxyURL(at)})
	defer web.CloseIdle()
	if got, err := read(open(t, web, "http://cars.example.org/a").Open(t.Context())); got != "CAR" || err != nil {
		t.Errorf("through a proxy: %q, %v", got, err)
	}
	if got := <-asked; got != "http://cars.example.org/a" {
		t.Errorf("the proxy is asked for %s", got)
	}
	if _, err := read(open(t, web, "http://cars.example.org/inside").Open(t.Context())); !errors.Is(err, mount.ErrDenied) || len(asked) != 1 {
		t.Errorf("a redirect inside gives %v, and the proxy %d requests", err, len(asked))
	}
	for _, broken := range []func(*http.Request) (*url.URL, error){
		http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1", User: at.User}),
		func(*http.Request) (*url.URL, error) { return nil, errors.New("bad proxy ann:marker-secret@proxy") },
	} {
		web = client(t, &httpmount.Config{Proxy: broken})
		if _, err := open(t, web, "http://cars.example.org/a").Stat(t.Context()); err == nil || strings.Contains(err.Error(), "marker-secret") {
			t.Errorf("a proxy that does not work gives %v", err)
		}
	}
}
