package gateway

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/shard"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Background loops that packages below boxo start when the process
		// does, or for each handler, and that cannot be stopped.
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}

func noShards(context.Context) iter.Seq2[shard.Info, error] {
	return func(func(shard.Info, error) bool) {}
}

// serve starts a server, with HTTP/2 if asked to, over m.
func serve(t *testing.T, m *dagtest.Memory, http2 bool, cfg Config) *httptest.Server {
	t.Helper()
	handler, err := newHandler(m, m, noShards, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = http2
	if http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// serveHandler starts a server of HTTP/1.1.
func serveHandler(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // from reading the body
	proto  string
}

// ask sends a request without following redirects. header is name, value, and so on.
func ask(t *testing.T, server *httptest.Server, method, path string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := *server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		// The server may break an answer off before its header has left.
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err, resp.Proto}
}

// get asks by GET and wants status.
func get(t *testing.T, server *httptest.Server, status int, path string, header ...string) answer {
	t.Helper()
	a := ask(t, server, http.MethodGet, path, header...)
	if a.err != nil {
		t.Fatalf("GET %s: %v", path, a.err)
	}
	if a.status != status {
		t.Fatalf("GET %s: status %d, want %d; body: %.200q", path, a.status, status, a.body)
	}
	return a
}

// pattern is n bytes no two KiB of which are the same.
func pattern(n int) []byte { return []byte(dagtest.Text(n)) }

// decodePB is the node of c.
func decodePB(t *testing.T, m *dagtest.Memory, c cid.Cid) *merkledag.ProtoNode {
	t.Helper()
	b, err := m.Get(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n, err := merkledag.DecodeProtobuf(b.RawData())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func encodeCBOR(t *testing.T, node datamodel.Node) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := dagcbor.Encode(node, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func nameOf(key crypto.PubKey) (ipns.Name, error) {
	id, err := peer.IDFromPublicKey(key)
	return ipns.NameFromPeer(id), err
}
