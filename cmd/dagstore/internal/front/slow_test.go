package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/gateway"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/filemount"
)

// Of the slow clients. A pause is far below what a client may pause, which is far
// below what all pauses take together.
const (
	stillFor = 20 * time.Second
	pause    = 500 * time.Millisecond
	pauses   = 50
	pieceLen = 48 << 20 // more than sockets hold of it
)

// slowStore has a piece of pieceLen bytes, of which it returns the path.
func slowStore(t *testing.T) (store *dagstore.Store, path string, data []byte) {
	t.Helper()
	block := cartest.Raw(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	data = cartest.V1(nil, nil)
	for len(data) < pieceLen {
		data = cartest.AppendBlock(data, block)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "piece.car")
	check(t, os.WriteFile(file, data, 0o666))
	store, err := dagstore.Open(t.Context(), filepath.Join(dir, "store"), nil)
	check(t, err)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := filemount.New(file)
	check(t, err)
	check(t, store.Register(t.Context(), "piece", m, nil))
	found, err := store.CheckPiece(t.Context(), "piece")
	check(t, err)
	return store, "/piece/" + found.Found.String(), data
}

// small is a connection whose socket takes little ahead of its reader.
func small(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = errors.Join(err, tcp.SetReadBuffer(64<<10))
	}
	return conn, err
}

// A dialect is a protocol and whether it is spoken through TLS.
type dialect struct {
	name string
	tls  bool
	set  func(*http.Protocols)
}

var dialects = []dialect{
	{"1.1", false, func(p *http.Protocols) { p.SetHTTP1(true) }},
	{"h2c", false, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
	{"h2", true, func(p *http.Protocols) { p.SetHTTP2(true) }},
}

// serveSlow serves store and cuts who takes nothing for stillFor.
func serveSlow(t *testing.T, store *dagstore.Store, d dialect) (handler *gateway.Handler, url string, protocols *http.Protocols) {
	t.Helper()
	handler, err := gateway.New(store, &gateway.Config{Limits: gateway.Limits{Progress: stillFor}})
	check(t, err)
	cfg, scheme := Config{Handler: handler, Progress: stillFor}, "http://"
	if d.tls {
		cfg.Certificate, err = LoadCertificate(certifyIn(t))
		check(t, err)
		scheme = "https://"
	}
	protocols = new(http.Protocols)
	d.set(protocols)
	return handler, scheme + run(t, cfg).addr, protocols
}

// TestSlowReaders: who stands still is cut, who is slow but moves is not, over
// every protocol and on real connections, all at once.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	store, path, data := slowStore(t)
	var all sync.WaitGroup
	for _, d := range dialects {
		_, url, protocols := serveSlow(t, store, d)
		moving := open(t, protocols, url+path)
		all.Go(func() {
			if err := readSlowly(moving.Body, data); err != nil {
				t.Errorf("%s: slow but moving: %v", d.name, err)
			}
		})
		handler, url, protocols := serveSlow(t, store, d)
		still := open(t, protocols, url+path)
		all.Go(func() {
			if err := standStill(still.Body, handler); err != nil {
				t.Errorf("%s: standing still: %v", d.name, err)
			}
		})
	}
	all.Wait()
}

func readSlowly(body io.Reader, data []byte) error {
	got, began := new(bytes.Buffer), time.Now()
	for range pauses {
		if _, err := io.CopyN(got, body, int64(len(data)/pauses/2)); err != nil {
			return fmt.Errorf("cut after %d bytes and %v: %w", got.Len(), time.Since(began), err)
		}
		time.Sleep(pause) // what is tested is that this does no harm
	}
	if _, err := io.Copy(got, body); err != nil || !bytes.Equal(got.Bytes(), data) {
		return fmt.Errorf("%d bytes of %d: %w", got.Len(), len(data), err)
	}
	if took := time.Since(began); took < stillFor {
		return fmt.Errorf("it took %v, which proves nothing", took)
	}
	return nil
}

// standStill waits until the server has ended it, without a byte being read.
func standStill(body io.Reader, handler *gateway.Handler) error {
	for end := time.Now().Add(stillFor + 4*patience); handler.Stats().Active > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("still served: %+v", handler.Stats())
		}
	}
	if n, err := io.Copy(io.Discard, body); err == nil {
		return fmt.Errorf("%d bytes, which end as if they were all", n)
	}
	return nil
}

func open(t *testing.T, protocols *http.Protocols, url string) *http.Response {
	t.Helper()
	transport := &http.Transport{Protocols: protocols, DialContext: small, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is made here
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check(t, err)
	resp, err := (&http.Client{Transport: transport}).Do(r)
	check(t, err)
	t.Cleanup(func() {
		resp.Body.Close()
		transport.CloseIdleConnections()
	})
	if resp.StatusCode != http.StatusOK {
		t.Fatal(fmt.Errorf("status %d", resp.StatusCode))
	}
	return resp
}
