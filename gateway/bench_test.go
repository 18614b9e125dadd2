package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A sink is an answer that nobody reads.
type sink struct {
	header http.Header
	status int
	n      int
}

// Header implements [http.ResponseWriter].
func (s *sink) Header() http.Header { return s.header }

// WriteHeader implements [http.ResponseWriter].
func (s *sink) WriteHeader(status int) { s.status = status }

// Write implements [http.ResponseWriter].
func (s *sink) Write(p []byte) (int, error) {
	s.n += len(p)
	return len(p), nil
}

// BenchmarkRaw is what this package does for a raw block of 1 KiB, out of a CAR on
// this machine: all but HTTP itself.
func BenchmarkRaw(b *testing.B) {
	ctx := context.Background()
	store, err := dagstore.Open(ctx, filepath.Join(b.TempDir(), "store"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var blocks []cartest.Block
	for i := range 1000 {
		data := fmt.Appendf(make([]byte, 1000), "block %d", i)
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(data)
		if err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, cartest.Block{CID: c, Data: data})
	}
	path := filepath.Join(b.TempDir(), "a.car")
	if err := os.WriteFile(path, cartest.V1([]cid.Cid{blocks[0].CID}, blocks), 0o600); err != nil {
		b.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := store.Register(ctx, "a", m, nil); err != nil {
		b.Fatal(err)
	}
	h, err := New(store, nil)
	if err != nil {
		b.Fatal(err)
	}
	requests := make([]*http.Request, len(blocks))
	for i := range blocks {
		requests[i] = &http.Request{
			Method: http.MethodGet, Host: "127.0.0.1:8447", RemoteAddr: "127.0.0.1:1", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			URL: &url.URL{Path: "/ipfs/" + blocks[i].CID.String(), RawQuery: "format=raw"}, Header: http.Header{"User-Agent": {"bench"}},
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := &sink{header: make(http.Header)}
		h.ServeHTTP(w, requests[i%len(requests)])
		if w.status != http.StatusOK || w.n < 1000 {
			b.Fatal(w.status, w.n)
		}
	}
}
