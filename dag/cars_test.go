package dag_test

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipldformat "github.com/ipfs/go-ipld-format"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// carsFolder holds real CARs by others, and facts.tsv that says what is in them.
const carsFolder = "../../shared/cars"

// TestRealCARs reads every DAG of the good ones out of a store: as nodes, as
// many as the facts say at most, and what is UnixFS beside boxo's reader.
func TestRealCARs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(carsFolder, "facts.tsv"))
	if err != nil {
		t.Skip("no folder of real CARs beside the project; made DAGs are read in the other tests")
	}
	store, err := dagstore.Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	compared := 0
	for line := range strings.Lines(string(text)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if col[len(col)-1] != "end" {
			continue
		}
		m, err := filemount.New(filepath.Join(carsFolder, col[0]))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Register(t.Context(), shard.Key(col[0]), m, nil); err != nil {
			t.Fatal(err)
		}
		a, err := store.Acquire(t.Context(), shard.Key(col[0]), nil)
		if err != nil {
			t.Fatal(err)
		}
		unique, err := strconv.Atoi(col[5])
		if err != nil {
			t.Fatal(err)
		}
		for _, root := range a.Roots() {
			seen := map[string]bool{}
			reachable(t, dag.LinkSystem(a.Blockstore()), root, seen)
			if len(seen) > unique+6 { // identity CIDs are not counted there
				t.Errorf("%s: %d blocks below its root, it has %d", col[0], len(seen), unique)
			}
			compared += compareCAR(t, col[0], a.Blockstore(), root)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if compared < 20 {
		t.Errorf("%d files and folders were compared", compared)
	}
}

// reachable notes every block below c that is there.
func reachable(t *testing.T, links ipld.LinkSystem, c cid.Cid, seen map[string]bool) {
	t.Helper()
	if seen[string(c.Hash())] {
		return
	}
	var proto datamodel.NodePrototype = basicnode.Prototype.Any
	if c.Type() == cid.DagProtobuf {
		proto = dagpb.Type.PBNode
	}
	n, err := links.Load(ipld.LinkContext{Ctx: t.Context()}, cidlink.Link{Cid: c}, proto)
	if err != nil {
		return // CARs of a part of a DAG are usual
	}
	seen[string(c.Hash())] = true
	all, err := traversal.SelectLinks(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if to, ok := l.(cidlink.Link); ok {
			reachable(t, links, to.Cid, seen)
		}
	}
}

// compareCAR compares what is UnixFS below root, and says how much that was.
func compareCAR(t *testing.T, car string, bs *dagstore.Blockstore, root cid.Cid) int {
	t.Helper()
	f := dag.NewFS(t.Context(), bs, root)
	if _, err := f.Stat("."); err != nil {
		return 0
	}
	dags := merkledag.NewDAGService(blockservice.New(bs, nil))
	n, err := dags.Get(t.Context(), root)
	if err != nil {
		t.Fatal(car, err)
	}
	return compare(t, f, dags, n, ".")
}

// compare compares one file or folder, and what is in it, with boxo.
func compare(t *testing.T, f *dag.FS, dags ipldformat.DAGService, n ipldformat.Node, name string) int {
	t.Helper()
	in, err := f.Lstat(name)
	if err != nil {
		t.Fatal(name, err)
	}
	if in.Mode().Type() == fs.ModeSymlink {
		return 1
	}
	if !in.IsDir() {
		r, err := uio.NewDagReader(t.Context(), n, dags)
		if err != nil {
			t.Fatal(name, err)
		}
		want, wantErr := io.ReadAll(r)
		got, err := f.ReadFile(name)
		if (err == nil) != (wantErr == nil) || err == nil && (string(got) != string(want) || in.Size() != int64(len(want))) {
			t.Errorf("%s: %d bytes, %v; boxo reads %d, %v", name, len(got), err, len(want), wantErr)
		}
		return 1
	}
	dir, err := uio.NewDirectoryFromNode(dags, n)
	if err != nil {
		t.Fatal(name, err)
	}
	links, wantErr := dir.Links(t.Context())
	entries, err := f.ReadDir(name)
	if (err == nil) != (wantErr == nil) || err == nil && len(links) != len(entries) {
		t.Fatalf("%s: %d entries, %v; boxo lists %d, %v", name, len(entries), err, len(links), wantErr)
	}
	slices.SortFunc(links, func(a, b *ipldformat.Link) int { return strings.Compare(a.Name, b.Name) })
	compared := 1
	for i, e := range entries {
		if e.Name() != links[i].Name {
			t.Fatalf("%s: %q, boxo lists %q", name, e.Name(), links[i].Name)
		}
		below, err := dags.Get(t.Context(), links[i].Cid)
		if err != nil {
			// Without a store of their own boxo does not find identity CIDs.
			if _, err := e.Info(); err == nil && links[i].Cid.Prefix().MhType != multihash.IDENTITY {
				t.Errorf("%s/%s: nobody misses it", name, e.Name())
			}
			continue
		}
		compared += compare(t, f, dags, below, path.Join(name, e.Name()))
	}
	return compared
}

// TestAsBoxoReads compares a made DAG of everything.
func TestAsBoxoReads(t *testing.T) {
	m := dagtest.New(t)
	root, files := tree(m)
	dags := merkledag.NewDAGService(blockservice.New(m, nil))
	n, err := dags.Get(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if got := compare(t, dag.NewFS(t.Context(), m, root), dags, n, "."); got < len(files) {
		t.Errorf("%d of %d were compared", got, len(files))
	}
}
