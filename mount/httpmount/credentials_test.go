package httpmount_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

// marker is in every secret of these tests, and must be nowhere else.
const marker = "marker-secret"

// shown is a server that keeps what it is shown.
type shown struct {
	headers chan http.Header
	next    string // where it redirects /away to
}

func (s *shown) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.headers <- r.Header.Clone()
	switch r.URL.Path {
	case "/here":
		http.Redirect(w, r, "/car", http.StatusFound)
	case "/away":
		http.Redirect(w, r, s.next, http.StatusFound)
	case "/denied":
		w.WriteHeader(http.StatusForbidden)
	default:
		fmt.Fprint(w, "CAR")
	}
}

func newShown(t *testing.T) (*shown, *httptest.Server) {
	s := &shown{headers: make(chan http.Header, 100)}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	return s, server
}

func host(server *httptest.Server) string { return server.Listener.Addr().String() }

func TestCredentials(t *testing.T) {
	front, server := newShown(t)
	for name, c := range map[string]struct {
		credential httpmount.Credential
		header     string
		want       string
	}{
		"bearer": {httpmount.Credential{Bearer: marker}, "Authorization", "Bearer " + marker},
		"basic":  {httpmount.Credential{User: "ann", Password: marker}, "Authorization", "Basic YW5uOm1hcmtlci1zZWNyZXQ="},
		"header": {httpmount.Credential{Header: "x-api-key", Value: marker}, "X-Api-Key", marker},
	} {
		c.credential.Hosts = []string{"elsewhere.example.org", host(server)}
		web := client(t, &httpmount.Config{TLS: trusting(server), Credentials: []httpmount.Credential{c.credential}})
		if got, err := read(open(t, web, server.URL+"/here").Open(t.Context())); got != "CAR" || err != nil {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
		for range 2 { // at first, and where its own host redirects
			if got := (<-front.headers).Get(c.header); got != c.want {
				t.Errorf("%s: the server sees %q", name, got)
			}
		}
		web.CloseIdle()
	}
}

// Credentials stay with the hosts that they are for.
func TestCredentialsDoNotFollow(t *testing.T) {
	front, server := newShown(t)
	back, other := newShown(t)
	front.next = other.URL + "/car"
	pool := trusting(server)
	pool.RootCAs.AddCert(other.Certificate())
	for _, c := range []struct {
		credentials []httpmount.Credential
		follows     bool
	}{
		{[]httpmount.Credential{{Hosts: []string{host(server)}, Bearer: marker}}, false},
		// Not even those of the other host: who redirects there must not make use of them.
		{[]httpmount.Credential{{Hosts: []string{host(server)}, Bearer: marker}, {Hosts: []string{host(other)}, Bearer: marker}}, false},
		{[]httpmount.Credential{{Hosts: []string{host(other)}, Bearer: marker}}, false},
		{[]httpmount.Credential{{Hosts: []string{host(server), host(other)}, Bearer: marker}}, true},
	} {
		web := client(t, &httpmount.Config{TLS: pool, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Credentials: c.credentials})
		if got, err := read(open(t, web, server.URL+"/away").Open(t.Context())); got != "CAR" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		<-front.headers
		if seen := fmt.Sprint(<-back.headers); strings.Contains(seen, marker) != c.follows {
			t.Errorf("with %+v another host sees %s", c.credentials, seen)
		}
		web.CloseIdle()
	}

	// Over a host that is not shown it, not even back to the source's own.
	back.next = server.URL + "/car"
	front.next = other.URL + "/away"
	web := client(t, &httpmount.Config{
		TLS: pool, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Credentials: []httpmount.Credential{{Hosts: []string{host(server)}, Bearer: marker}},
	})
	defer web.CloseIdle()
	if got, err := read(open(t, web, server.URL+"/away").Open(t.Context())); got != "CAR" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if first, last := (<-front.headers).Get("Authorization"), (<-front.headers).Get("Authorization"); first == "" || last != "" {
		t.Errorf("the source's own host sees %q at first, %q in the end", first, last)
	}
	<-back.headers
	front.next = other.URL + "/denied"
	if _, err := open(t, web, server.URL+"/away").Stat(t.Context()); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("where credentials do not go it gives %v", err)
	}
}

// A certificate of ours is a credential, too.
func TestCertificatesDoNotFollow(t *testing.T) {
	type seen struct {
		host  string
		certs int
	}
	asked := make(chan seen, 10)
	start := func(host string, handler http.Handler) *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- seen{host, len(r.TLS.PeerCertificates)}
			handler.ServeHTTP(w, r)
		}))
		server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	back := start("back", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "CAR") }))
	front := start("front", http.RedirectHandler(back.URL, http.StatusFound))
	cfg := trusting(front)
	cfg.RootCAs.AddCert(back.Certificate())
	cfg.Certificates = front.TLS.Certificates // any will do
	web := client(t, &httpmount.Config{TLS: cfg, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer web.CloseIdle()
	for _, url := range []string{back.URL, front.URL} { // a connection to the first is kept
		if got, err := read(open(t, web, url).Open(t.Context())); got != "CAR" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	for _, want := range []seen{{"back", 1}, {"front", 1}, {"back", 0}} {
		if got := <-asked; got != want {
			t.Errorf("%s is shown %d certificates, not %v", got.host, got.certs, want)
		}
	}
}

func TestCredentialHosts(t *testing.T) {
	for _, c := range []struct {
		hosts string
		url   string
		shown bool
	}{
		{"h.example.org", "https://h.example.org/", true}, {"H.Example.org.", "https://h.example.org/", true}, {"h.example.org", "https://x.h.example.org/", false},
		{"h.example.org", "https://h.example.org:8443/", false}, {"h.example.org:8443", "https://h.example.org:8443/", true}, {"h.example.org:8443", "https://h.example.org/", false},
		{"*.example.org", "https://a.example.org/", true}, {"*.example.org", "https://a.b.example.org/", true}, {"*.example.org", "https://example.org/", false},
		{"*.example.org", "https://evilexample.org/", false}, {"*.example.org", "https://a.example.org:8443/", false}, {"*.example.org:8443", "https://a.example.org:8443/", true},
		{"h.example.org", "http://h.example.org/", false}, {"192.168.0.1", "https://192.168.0.1/", true}, {"[::1]", "https://[::1]/", true}, {"[0::1]:9", "https://[::1]:9/", true},
		{"example.org", "https://example.org.evil.example/", false},
	} {
		web := client(t, &httpmount.Config{Credentials: []httpmount.Credential{{Hosts: []string{c.hosts}, Bearer: marker}}})
		if got := httpmount.Shows(open(t, web, c.url)); got != c.shown {
			t.Errorf("credentials for %s and %s: %v", c.hosts, c.url, got)
		}
	}
	web := client(t, &httpmount.Config{Credentials: []httpmount.Credential{{Hosts: []string{"h"}, Bearer: marker, PlainHTTP: true}}})
	if !httpmount.Shows(open(t, web, "http://h/")) {
		t.Error("credentials that may be shown without encryption are not")
	}
}

// Who is not let in hears why, and no secret.
func TestPermission(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer server.Close()
	for hint, credentials := range map[string][]httpmount.Credential{
		"no credentials for this host": nil,
		"shown to https: URLs only":    {{Hosts: []string{host(server)}, Bearer: marker}},
		"401 Unauthorized":             {{Hosts: []string{host(server)}, Bearer: marker, PlainHTTP: true}},
	} {
		web := client(t, &httpmount.Config{Credentials: credentials})
		_, err := open(t, web, server.URL).Stat(t.Context())
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), marker) {
			t.Errorf("%v, not %q", err, hint)
		}
		web.CloseIdle()
	}
}

// No secret is in what can be printed: a configuration, a URL, an error.
func TestSecretsAreNowhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/signed":
			w.Header().Set("Location", "http://169.254.169.254/a?X-Amz-Signature="+marker)
			w.WriteHeader(http.StatusFound)
		case "/scheme":
			w.Header().Set("Location", "ftp://ann:"+marker+"@h/")
			w.WriteHeader(http.StatusFound)
		case "/bad":
			w.Header().Set("Location", "http://"+marker+":%zz/")
			w.WriteHeader(http.StatusFound)
		case "/closed":
			w.Header().Set("Location", "http://127.0.0.1:1/?sig="+marker)
			w.WriteHeader(http.StatusFound)
		default:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	cfg := &httpmount.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Credentials: []httpmount.Credential{
			{Hosts: []string{host(server)}, Bearer: marker, PlainHTTP: true}, {Hosts: []string{"a"}, User: "ann", Password: marker}, {Hosts: []string{"b"}, Header: "X-Key", Value: marker},
		},
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	fmt.Fprintf(&out, "%v %+v %#v %s\n", *cfg, *cfg, cfg.Credentials, cfg.Credentials[0].Bearer)
	log.Info("configuration", "cfg", cfg, "credentials", cfg.Credentials, "bearer", cfg.Credentials[0].Bearer)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("configuration", "credentials", cfg.Credentials)
	if err := json.NewEncoder(&out).Encode(cfg.Credentials); err != nil {
		t.Fatal(err)
	}
	web := client(t, cfg)
	defer web.CloseIdle()
	for _, path := range []string{"/signed", "/scheme", "/bad", "/closed", "/busy"} {
		m := open(t, web, server.URL+path)
		_, stat := m.Stat(t.Context())
		_, whole := m.Open(t.Context())
		_, part := mount.OpenRange(t.Context(), m, mount.Range{Offset: 1, Length: 1, Version: "x"})
		for _, err := range []error{stat, whole, part} {
			if err == nil {
				t.Errorf("%s gives no error", path)
			}
			log.Error("failed", "url", m.URL(), "mount", m, "err", err)
			fmt.Fprintf(&out, "%v %+v %#v\n", m, err, err)
		}
	}
	for _, bad := range []httpmount.Credential{
		{Bearer: marker + "\n"}, {Hosts: []string{"h"}, Header: "bad header", Value: marker}, {Hosts: []string{"h"}, User: "a:b", Password: marker}, {Hosts: []string{"h"}, Bearer: marker, User: "ann"},
	} {
		_, err := httpmount.New(&httpmount.Config{Credentials: []httpmount.Credential{bad}})
		fmt.Fprintln(&out, err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, marker) || strings.Contains(line, fmt.Sprintf("%x", marker)) || strings.Contains(line, "bWFya2Vy") {
			t.Errorf("a secret is in %s", line)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := new(httpmount.Config).Validate(); err != nil {
		t.Error(err)
	}
	bad := &httpmount.Config{
		PerHost: -1, Largest: -1, UserAgent: "a\r\nb", Allow: make([]netip.Prefix, 1),
		Credentials: []httpmount.Credential{
			{Bearer: marker},
			{Hosts: []string{"http://h/"}, Bearer: marker},
			{Hosts: []string{"*.192.168.0.1"}, Bearer: marker},
			{Hosts: []string{"h"}},
			{Hosts: []string{"h"}, Bearer: marker, User: "ann"},
			{Hosts: []string{"h"}, Header: "Range", Value: marker},
			{Hosts: []string{"h"}, Header: "a b", Value: marker},
			{Hosts: []string{"h"}, Value: marker},
			{Hosts: []string{"h"}, Bearer: marker + "\r\nX: y"},
			{Hosts: []string{"h"}, User: "a:b"},
		},
	}
	_, err := httpmount.New(bad)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"PerHost", "Largest", "UserAgent", "Allow[0]", "Credentials[0]: it names no host", "Credentials[1]: \"http://h/\"", "Credentials[2]",
		"Credentials[3]: it has 0", "Credentials[4]: it has 2", "Credentials[5]: the header Range", "Credentials[6]", "Credentials[7]", "Credentials[8]: its secret", "Credentials[9]: a user"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %s in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), marker) {
		t.Errorf("it repeats a secret: %v", err)
	}
	if _, err := httpmount.Opener(bad); err == nil {
		t.Error("an opener is made of it")
	}
	open, err := httpmount.Opener(nil)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := open("HTTP://h"); err != nil || m.URL() != "http://h/" {
		t.Errorf("%v, %v", m, err)
	}
}
