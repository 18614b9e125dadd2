package dagtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

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
	"github.com/multiformats/go-multihash"
)

// T is what a Memory needs of a *testing.T, which ends when a DAG cannot be made.
type T interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}

// A Memory is a boxo blockstore of blocks in memory, by multihash. It may be
// used by many goroutines at once.
type Memory struct {
	// OnGet, if not nil, is called by each Get, with its lock held. It is set
	// while nothing is read.
	OnGet func(cid.Cid)

	t      T
	mu     sync.Mutex
	blocks map[string]blocks.Block
	errs   map[string]error
	reads  int
}

// New returns an empty Memory for the test t.
func New(t T) *Memory {
	return &Memory{t: t, blocks: make(map[string]blocks.Block), errs: make(map[string]error)}
}

// Get returns the block of c, or the error that [Memory.Fail] has set for it.
func (m *Memory) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.OnGet != nil {
		m.OnGet(c)
	}
	m.reads++
	if err := m.errs[string(c.Hash())]; err != nil {
		return nil, err
	}
	if b, ok := m.blocks[string(c.Hash())]; ok {
		return blocks.NewBlockWithCid(b.RawData(), c)
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

// Has reports whether c is there, also if it cannot be read.
func (m *Memory) Has(_ context.Context, c cid.Cid) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blocks[string(c.Hash())]
	return ok, nil
}

// GetSize is the length of what Get returns.
func (m *Memory) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	b, err := m.Get(ctx, c)
	if err != nil {
		return 0, err
	}
	return len(b.RawData()), nil
}

// Put adds a block.
func (m *Memory) Put(_ context.Context, b blocks.Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[string(b.Cid().Hash())] = b
	return nil
}

// PutMany adds blocks.
func (m *Memory) PutMany(ctx context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		if err := m.Put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// DeleteBlock takes a block away.
func (m *Memory) DeleteBlock(_ context.Context, c cid.Cid) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blocks, string(c.Hash()))
	return nil
}

// AllKeysChan fails: reading a DAG is no reason to list all keys.
func (m *Memory) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.New("dagtest: nobody should list all keys")
}

// Drop takes a block away.
func (m *Memory) Drop(c cid.Cid) { _ = m.DeleteBlock(context.Background(), c) } // which returns nil

// Fail makes every read of c fail with err.
func (m *Memory) Fail(c cid.Cid, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs[string(c.Hash())] = err
}

// Reads is how many blocks were asked for since it was last called.
func (m *Memory) Reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.reads
	m.reads = 0
	return n
}

// All returns the blocks, in an order that is always the same.
func (m *Memory) All() []blocks.Block {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]blocks.Block, 0, len(m.blocks))
	for _, key := range slices.Sorted(maps.Keys(m.blocks)) {
		all = append(all, m.blocks[key])
	}
	return all
}

// dags is what DAGs are made with.
func (m *Memory) dags() ipld.DAGService { return merkledag.NewDAGService(blockservice.New(m, nil)) }

func (m *Memory) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal("dagtest:", err)
	}
}

// Block adds data as a block, whatever it is.
func (m *Memory) Block(codec, hash uint64, data []byte) cid.Cid {
	m.t.Helper()
	c, err := cid.V1Builder{Codec: codec, MhType: hash}.Sum(data)
	m.must(err)
	b, err := blocks.NewBlockWithCid(data, c)
	m.must(err)
	m.must(m.Put(m.t.Context(), b))
	return c
}

// Chunk is how much of a [Memory.File] is in one leaf, in bytes.
const Chunk = 1024

// dagPB is how the nodes of UnixFS are named.
func dagPB() cid.Builder { return cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256} }

// File adds a UnixFS file of raw leaves.
func (m *Memory) File(data string) ipld.Node {
	m.t.Helper()
	params := helpers.DagBuilderParams{Dagserv: m.dags(), Maxlinks: 4, RawLeaves: true, CidBuilder: dagPB()}
	builder, err := params.New(chunk.NewSizeSplitter(bytes.NewReader([]byte(data)), Chunk))
	m.must(err)
	node, err := balanced.Layout(builder)
	m.must(err)
	return node
}

// Folder adds a UnixFS folder; hamt makes it a sharded one.
func (m *Memory) Folder(hamt bool, entries map[string]ipld.Node) ipld.Node {
	m.t.Helper()
	var dir uio.Directory
	var err error
	if hamt {
		dir, err = uio.NewHAMTDirectory(m.dags(), 0)
	} else {
		dir, err = uio.NewBasicDirectory(m.dags())
	}
	m.must(err)
	dir.SetCidBuilder(dagPB())
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		m.must(dir.AddChild(m.t.Context(), name, entries[name]))
	}
	node, err := dir.GetNode()
	m.must(err)
	m.must(m.dags().Add(m.t.Context(), node))
	return node
}

// Odd adds a folder in which c has each of names, however strange they are
// and whatever c is.
func (m *Memory) Odd(c cid.Cid, names ...string) ipld.Node {
	m.t.Helper()
	dir := unixfs.EmptyDirNode()
	for _, name := range names {
		m.must(dir.AddRawLink(name, &ipld.Link{Cid: c, Size: 1}))
	}
	m.must(m.dags().Add(m.t.Context(), dir))
	return dir
}

// Symlink adds a UnixFS symlink.
func (m *Memory) Symlink(target string) ipld.Node {
	m.t.Helper()
	data, err := unixfs.SymlinkData(target)
	m.must(err)
	node := merkledag.NodeWithData(data)
	m.must(m.dags().Add(m.t.Context(), node))
	return node
}

// Text is n bytes of text, no two chunks of which are the same.
func Text(n int) string {
	var b strings.Builder
	for line := 0; b.Len() < n; line++ {
		fmt.Fprintf(&b, "line %09d of a text\n", line)
	}
	return b.String()[:n]
}
