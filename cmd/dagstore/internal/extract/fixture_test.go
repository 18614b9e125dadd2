package extract

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// memory is a blockstore of blocks in memory. A block whose error is set
// cannot be read.
type memory struct {
	t      *testing.T
	mu     sync.Mutex
	blocks map[string]blocks.Block
	errs   map[string]error
}

func newMemory(t *testing.T) *memory {
	return &memory{t: t, blocks: map[string]blocks.Block{}, errs: map[string]error{}}
}

func (m *memory) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.errs[string(c.Hash())]; err != nil {
		return nil, err
	}
	if b, ok := m.blocks[string(c.Hash())]; ok {
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

func (m *memory) drop(c cid.Cid) { _ = m.DeleteBlock(context.Background(), c) }

func (m *memory) fail(c cid.Cid, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs[string(c.Hash())] = err
}

func (m *memory) dags() ipld.DAGService { return merkledag.NewDAGService(blockservice.New(m, nil)) }

func (m *memory) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// put adds a block as it is.
func (m *memory) put(codec, hash uint64, data []byte) cid.Cid {
	m.t.Helper()
	c, err := cid.V1Builder{Codec: codec, MhType: hash}.Sum(data)
	m.must(err)
	b, err := blocks.NewBlockWithCid(data, c)
	m.must(err)
	m.must(m.Put(m.t.Context(), b))
	return c
}

// file adds a UnixFS file in chunks of 1 KiB.
func (m *memory) file(data string) ipld.Node {
	m.t.Helper()
	params := helpers.DagBuilderParams{
		Dagserv:    m.dags(),
		Maxlinks:   4,
		RawLeaves:  true,
		CidBuilder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12},
	}
	builder, err := params.New(chunk.NewSizeSplitter(bytes.NewReader([]byte(data)), 1024))
	m.must(err)
	node, err := balanced.Layout(builder)
	m.must(err)
	return node
}

// folder adds a UnixFS folder; hamt makes it a sharded one.
func (m *memory) folder(hamt bool, entries map[string]ipld.Node) ipld.Node {
	m.t.Helper()
	var dir uio.Directory
	var err error
	if hamt {
		dir, err = uio.NewHAMTDirectory(m.dags(), 0)
	} else {
		dir, err = uio.NewBasicDirectory(m.dags())
	}
	m.must(err)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		m.must(dir.AddChild(m.t.Context(), name, entries[name]))
	}
	node, err := dir.GetNode()
	m.must(err)
	m.must(m.dags().Add(m.t.Context(), node))
	return node
}

// odd adds a folder whose entries are as given, however strange.
func (m *memory) odd(node ipld.Node, names ...string) ipld.Node {
	m.t.Helper()
	dir := unixfs.EmptyDirNode()
	for _, name := range names {
		m.must(dir.AddRawLink(name, &ipld.Link{Cid: node.Cid(), Size: 1}))
	}
	m.must(m.dags().Add(m.t.Context(), dir))
	return dir
}

// symlink adds a UnixFS symlink.
func (m *memory) symlink(target string) ipld.Node {
	m.t.Helper()
	data, err := unixfs.SymlinkData(target)
	m.must(err)
	node := merkledag.NodeWithData(data)
	m.must(m.dags().Add(m.t.Context(), node))
	return node
}

// treeOf returns what lies below dir: content by path; "/" for folders, "-> "
// and the target for symlinks.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case entry.IsDir():
			found[filepath.ToSlash(name)] = "/"
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[filepath.ToSlash(name)] = "-> " + target
			return err
		}
		data, err := os.ReadFile(path)
		found[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantEmpty wants nothing in dir: no result, and nothing left from making one.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if found := treeOf(t, dir); len(found) > 0 {
		t.Errorf("left behind: %v", slices.Sorted(maps.Keys(found)))
	}
}

// text is n bytes no two KiB of which are the same.
func text(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(strings.Repeat(string(rune('a'+b.Len()/64%26)), 63) + "\n")
		b.WriteString(strings.Repeat(string(rune('A'+b.Len()/1024%23)), 63) + "\n")
	}
	return b.String()[:n]
}
