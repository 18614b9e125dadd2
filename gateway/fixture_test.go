package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"go.uber.org/goleak"

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

// memory is a blockstore of blocks in memory. A block whose error is set
// cannot be read.
type memory struct {
	mu     sync.Mutex
	blocks map[string]blocks.Block
	errs   map[string]error
	reads  map[string]int
	onGet  func(cid.Cid)
}

func newMemory() *memory {
	return &memory{blocks: map[string]blocks.Block{}, errs: map[string]error{}, reads: map[string]int{}}
}

func (m *memory) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.onGet != nil {
		m.onGet(c)
	}
	key := string(c.Hash())
	m.reads[key]++
	if err := m.errs[key]; err != nil {
		return nil, err
	}
	if b, ok := m.blocks[key]; ok {
		return blocks.NewBlockWithCid(b.RawData(), c)
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

func (m *memory) Has(_ context.Context, c cid.Cid) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blocks[string(c.Hash())]
	return ok, nil
}

func (m *memory) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	b, err := m.Get(ctx, c)
	if err != nil {
		return 0, err
	}
	return len(b.RawData()), nil
}

func (m *memory) Put(_ context.Context, b blocks.Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[string(b.Cid().Hash())] = b
	return nil
}

func (m *memory) PutMany(ctx context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		if err := m.Put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) DeleteBlock(_ context.Context, c cid.Cid) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blocks, string(c.Hash()))
	return nil
}

func (m *memory) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.New("nobody should list all keys")
}

// fail makes every read of c fail with err.
func (m *memory) fail(c cid.Cid, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs[string(c.Hash())] = err
}

// totalReads is how many blocks were read.
func (m *memory) totalReads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := 0
	for _, n := range m.reads {
		total += n
	}
	return total
}

// dags is what put makes DAGs with.
func (m *memory) dags() ipld.DAGService { return merkledag.NewDAGService(blockservice.New(m, nil)) }

// put adds a block as it is.
func (m *memory) put(t *testing.T, codec uint64, hash uint64, data []byte) cid.Cid {
	t.Helper()
	c, err := cid.V1Builder{Codec: codec, MhType: hash}.Sum(data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return c
}

// file adds a UnixFS file in chunks of 1 KiB.
func (m *memory) file(t *testing.T, data []byte) ipld.Node {
	t.Helper()
	params := helpers.DagBuilderParams{
		Dagserv:    m.dags(),
		Maxlinks:   4,
		RawLeaves:  true,
		CidBuilder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12},
	}
	builder, err := params.New(chunk.NewSizeSplitter(bytes.NewReader(data), 1024))
	if err != nil {
		t.Fatal(err)
	}
	node, err := balanced.Layout(builder)
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// folder adds a UnixFS folder; hamt makes it a sharded one.
func (m *memory) folder(t *testing.T, hamt bool, entries map[string]ipld.Node) ipld.Node {
	t.Helper()
	dserv := m.dags()
	var dir uio.Directory
	var err error
	if hamt {
		dir, err = uio.NewHAMTDirectory(dserv, 0)
	} else {
		dir, err = uio.NewBasicDirectory(dserv)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir.SetCidBuilder(cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12})
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := dir.AddChild(t.Context(), name, entries[name]); err != nil {
			t.Fatal(err)
		}
	}
	node, err := dir.GetNode()
	if err != nil {
		t.Fatal(err)
	}
	if err := dserv.Add(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	return node
}

// symlink adds a UnixFS symlink.
func (m *memory) symlink(t *testing.T, target string) ipld.Node {
	t.Helper()
	data, err := unixfs.SymlinkData(target)
	if err != nil {
		t.Fatal(err)
	}
	node := merkledag.NodeWithData(data)
	if err := m.dags().Add(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	return node
}

func noShards(context.Context) iter.Seq2[shard.Info, error] {
	return func(func(shard.Info, error) bool) {}
}

// serve starts a server, with HTTP/2 if asked to, over m.
func serve(t *testing.T, m *memory, http2 bool, cfg Config) *httptest.Server {
	t.Helper()
	handler, err := newHandler(m, noShards, cfg)
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
func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i>>10) + byte(i)*7
	}
	return data
}
