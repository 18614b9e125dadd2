package dag_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipldformat "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/filemount"
)

// writeFolder writes a CAR of a folder with two files, and returns its root.
func writeFolder(path string) (cid.Cid, error) {
	hello, more := merkledag.NodeWithData(unixfs.FilePBData([]byte("hello\n"), 6)), merkledag.NodeWithData(unixfs.FilePBData([]byte("more"), 4))
	dir := unixfs.EmptyDirNode()
	if err := dir.AddNodeLink("hello.txt", hello); err != nil {
		return cid.Undef, err
	}
	if err := dir.AddNodeLink("more.txt", more); err != nil {
		return cid.Undef, err
	}
	var blocks []cartest.Block
	for _, n := range []ipldformat.Node{dir, hello, more} {
		blocks = append(blocks, cartest.Block{CID: n.Cid(), Data: n.RawData()})
	}
	return dir.Cid(), os.WriteFile(path, cartest.V1([]cid.Cid{dir.Cid()}, blocks), 0o600)
}

// A folder in a CAR as a file system, and its root as a node.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "dagstore-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "folder.car")
	root, err := writeFolder(path)
	if err != nil {
		log.Fatal(err)
	}
	store, err := dagstore.Open(ctx, filepath.Join(dir, "store"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "folder", car, nil); err != nil {
		log.Fatal(err)
	}

	files := dag.NewFS(ctx, store.Blockstore(nil), root)
	names, err := fs.Glob(files, "*.txt")
	if err != nil {
		log.Fatal(err)
	}
	text, err := files.ReadFile("hello.txt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v %s", names, text)

	links := dag.LinkSystem(store.Blockstore(nil))
	node, err := links.Load(ipld.LinkContext{Ctx: ctx}, cidlink.Link{Cid: root}, basicnode.Prototype.Any)
	if err != nil {
		log.Fatal(err)
	}
	below, err := node.LookupByString("Links")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(below.Length(), "links")
	// Output:
	// [hello.txt more.txt] hello
	// 2 links
}
