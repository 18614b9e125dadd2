package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds what a test waits for.
const patience = time.Minute

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quiet drops what is logged.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A running server.
type running struct {
	addr string
	stop context.CancelFunc
	done chan result
}

type result struct {
	cut bool
	err error
}

// run serves until the test ends, or stop is called.
func run(t *testing.T, cfg Config) *running {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{addr: listener.Addr().String(), stop: stop, done: make(chan result, 1)}
	go func() {
		cut, err := Serve(ctx, listener, cfg)
		r.done <- result{cut, err}
	}()
	t.Cleanup(func() {
		stop()
		r.ended(t)
	})
	return r
}

func (r *running) ended(t *testing.T) result {
	t.Helper()
	select {
	case res := <-r.done:
		r.done <- res
		return res
	case <-time.After(patience):
		t.Fatal("the server does not end")
		return result{}
	}
}

// client speaks one protocol, with or without TLS.
func client(t *testing.T, set func(*http.Protocols)) *http.Client {
	protocols := new(http.Protocols)
	set(protocols)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is made here
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check(t, err)
	resp, err := c.Do(r)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp, string(body)
}

// certify writes a certificate of a name, and its key.
func certify(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

// TestProtocols: HTTP/1.1 and HTTP/2, with TLS and without.
func TestProtocols(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, r.TLS != nil) })
	cert, err := LoadCertificate(certifyIn(t))
	check(t, err)
	clear, secret := run(t, Config{Handler: handler}), run(t, Config{Handler: handler, Certificate: cert})
	for name, c := range map[string]struct {
		set  func(*http.Protocols)
		url  string
		want string
	}{
		"1.1":     {func(p *http.Protocols) { p.SetHTTP1(true) }, "http://" + clear.addr, "HTTP/1.1false"},
		"h2c":     {func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, "http://" + clear.addr, "HTTP/2.0false"},
		"1.1 TLS": {func(p *http.Protocols) { p.SetHTTP1(true) }, "https://" + secret.addr, "HTTP/1.1true"},
		"2 TLS":   {func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, "https://" + secret.addr, "HTTP/2.0true"},
	} {
		if _, body := get(t, client(t, c.set), c.url); body != c.want {
			t.Errorf("%s: %s, want %s", name, body, c.want)
		}
	}
}

func certifyIn(t *testing.T) (certFile, keyFile string, logger *slog.Logger) {
	certFile, keyFile = certify(t, t.TempDir(), "first.example")
	return certFile, keyFile, quiet()
}

// TestCertificate: a new one is taken, a bad one is not and is told of once.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certify(t, dir, "first.example")
	var log strings.Builder
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	check(t, err)
	is := func(name string) {
		t.Helper()
		c.mu.Lock()
		c.looked = time.Time{} // as if a second had passed
		c.mu.Unlock()
		pair, err := c.Get(nil)
		check(t, err)
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		check(t, err)
		if leaf.Subject.CommonName != name {
			t.Errorf("the certificate is of %s, want %s", leaf.Subject.CommonName, name)
		}
	}
	later := time.Now()
	touch := func() {
		later = later.Add(time.Second)
		check(t, os.Chtimes(certFile, later, later))
	}
	is("first.example")
	certify(t, dir, "second.example")
	touch()
	is("second.example")
	check(t, os.WriteFile(certFile, []byte("half of a"), 0o600))
	touch()
	is("second.example")
	is("second.example")
	check(t, os.Remove(keyFile))
	is("second.example")
	is("second.example")
	if n := strings.Count(log.String(), "cannot be read again"); n != 2 {
		t.Errorf("told %d times of two faults:\n%s", n, log.String())
	}
	certify(t, dir, "third.example")
	touch()
	is("third.example")
	if _, err := LoadCertificate(filepath.Join(dir, "none"), keyFile, quiet()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if _, err := LoadCertificate(keyFile, keyFile, quiet()); err == nil {
		t.Error("a key was taken for a certificate")
	}
}

// TestNewCertificate: who connects after the files have changed gets the new
// one, without a restart, and connections of before go on.
func TestNewCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certify(t, dir, "first.example")
	cert, err := LoadCertificate(certFile, keyFile, quiet())
	check(t, err)
	r := run(t, Config{Handler: http.NotFoundHandler(), Certificate: cert})
	old := client(t, func(p *http.Protocols) { p.SetHTTP1(true) })
	shown := func(c *http.Client) string {
		t.Helper()
		resp, _ := get(t, c, "https://"+r.addr)
		return resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	if name := shown(old); name != "first.example" {
		t.Fatalf("the certificate is of %s", name)
	}
	certify(t, dir, "second.example")
	later := time.Now().Add(time.Minute)
	check(t, os.Chtimes(certFile, later, later))
	for end := time.Now().Add(patience); shown(client(t, func(p *http.Protocols) { p.SetHTTP1(true) })) != "second.example"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the certificate of before is shown to new connections")
		}
	}
	if name := shown(old); name != "first.example" {
		t.Errorf("the connection of before has become one of %s", name)
	}
}

// TestEnd: who watches hears first, new requests are answered for a while, and
// those under way end.
func TestEnd(t *testing.T) {
	t.Parallel() // it takes as long as it drains
	begun, release := make(chan struct{}), make(chan struct{})
	monitor := &Monitor{Alive: func(context.Context) error { return nil }}
	monitor.SetReady(true)
	leaving := make(chan struct{})
	r := run(t, Config{
		Drain: 15 * time.Second, Grace: patience,
		Leaving: func() { monitor.SetReady(false); close(leaving) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(begun)
				<-release
			}
			fmt.Fprint(w, "whole")
		}),
	})
	slow := make(chan string, 1)
	c := client(t, func(p *http.Protocols) { p.SetHTTP1(true) })
	go func() {
		_, body := get(t, c, "http://"+r.addr+"/slow")
		slow <- body
	}()
	<-begun
	r.stop()
	<-leaving
	if rec := watch(t, monitor, "/readyz"); rec != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", rec)
	}
	if _, body := get(t, c, "http://"+r.addr+"/"); body != "whole" {
		t.Errorf("a request while it drains: %q", body)
	}
	select {
	case res := <-r.done:
		t.Fatalf("it ended before its last answer: %+v", res)
	default:
	}
	close(release)
	if body := <-slow; body != "whole" {
		t.Errorf("the answer under way: %q", body)
	}
	if res := r.ended(t); res.cut || res.err != nil {
		t.Errorf("%+v", res)
	}
}

// TestCut: an answer that takes longer than it may is cut off.
func TestCut(t *testing.T) {
	begun := make(chan struct{})
	var ended atomic.Bool
	r := run(t, Config{Grace: time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		ended.Store(true)
	})})
	c := client(t, func(p *http.Protocols) { p.SetHTTP1(true) })
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.addr, nil)
		if err == nil {
			var resp *http.Response
			if resp, err = c.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		failed <- err
	}()
	<-begun
	r.stop()
	if res := r.ended(t); !res.cut || res.err != nil {
		t.Errorf("%+v", res)
	}
	if err := <-failed; err == nil {
		t.Error("the client had an answer")
	}
}

// TestHeaders: one that is too long is refused.
func TestHeaders(t *testing.T) {
	r := run(t, Config{Handler: http.NotFoundHandler()})
	c := client(t, func(p *http.Protocols) { p.SetHTTP1(true) })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addr, nil)
	check(t, err)
	req.Header.Set("X-Long", strings.Repeat("x", 2*headerBytes))
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", resp.StatusCode)
	}
}

// TestListener: what the listener has to say is passed on.
func TestListener(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	check(t, listener.Close())
	if _, err := Serve(t.Context(), listener, Config{Handler: http.NotFoundHandler(), Logger: quiet()}); err == nil {
		t.Error("a closed listener is served")
	}
}
