package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
)

// A dag is a DAG in memory, while it is built.
type dag struct {
	ipld.DAGService // nil: what building a DAG does not need is not there
	nodes           map[cid.Cid]ipld.Node
}

func newDAG() *dag { return &dag{nodes: make(map[cid.Cid]ipld.Node)} }

func (d *dag) Add(_ context.Context, n ipld.Node) error {
	d.nodes[n.Cid()] = n
	return nil
}

func (d *dag) AddMany(ctx context.Context, nodes []ipld.Node) error {
	for _, n := range nodes {
		if err := d.Add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d *dag) Get(_ context.Context, c cid.Cid) (ipld.Node, error) {
	if n, ok := d.nodes[c]; ok {
		return n, nil
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

// file adds a UnixFS file, in chunks small enough that a source file has a
// few of them.
func (d *dag) file(content []byte) (ipld.Node, error) {
	params := helpers.DagBuilderParams{
		Maxlinks:   helpers.DefaultLinksPerBlock,
		RawLeaves:  true,
		CidBuilder: merkledag.V1CidPrefix(),
		Dagserv:    d,
	}
	builder, err := params.New(chunk.NewSizeSplitter(bytes.NewReader(content), 4<<10))
	if err != nil {
		return nil, err
	}
	return balanced.Layout(builder)
}

// folder adds the UnixFS folder dir of files, with all that is below it.
// files are sorted paths with slashes.
func (d *dag) folder(ctx context.Context, tree fs.FS, dir string, files []string) (ipld.Node, error) {
	folder, err := uio.NewDirectory(d)
	if err != nil {
		return nil, err
	}
	folder.SetCidBuilder(merkledag.V1CidPrefix())
	for i := 0; i < len(files); {
		name, isFolder := child(dir, files[i])
		below := i + 1
		var node ipld.Node
		if isFolder {
			for below < len(files) && strings.HasPrefix(files[below], path.Join(dir, name)+"/") {
				below++
			}
			node, err = d.folder(ctx, tree, path.Join(dir, name), files[i:below])
		} else {
			var content []byte
			if content, err = fs.ReadFile(tree, files[i]); err == nil {
				node, err = d.file(content)
			}
		}
		if err != nil {
			return nil, err
		}
		if err := folder.AddChild(ctx, name, node); err != nil {
			return nil, err
		}
		i = below
	}
	node, err := folder.GetNode()
	if err != nil {
		return nil, err
	}
	return node, d.Add(ctx, node)
}

// child is the part of file right below dir, and whether that is a folder.
func child(dir, file string) (name string, isFolder bool) {
	if dir != "." {
		file = strings.TrimPrefix(file, dir+"/")
	}
	name, _, isFolder = strings.Cut(file, "/")
	return name, isFolder
}

// write writes the DAG under root as a CARv1, depth first.
func (d *dag) write(ctx context.Context, name string, root ipld.Node) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out, err := storage.NewWritable(f, []cid.Cid{root.Cid()}, car.WriteAsCarV1(true))
	if err != nil {
		return err
	}
	var walk func(n ipld.Node) error
	walk = func(n ipld.Node) error {
		// A block that is there already is left out by out.
		if err := out.Put(ctx, n.Cid().KeyString(), n.RawData()); err != nil {
			return err
		}
		for _, link := range n.Links() {
			below, err := d.Get(ctx, link.Cid)
			if err != nil {
				return err
			}
			if err := walk(below); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		return err
	}
	return out.Finalize()
}

// A packed is a CAR that was made here.
type packed struct {
	file   string
	root   cid.Cid
	files  []string
	blocks int
}

// pack puts the files of tree that want takes into a CAR.
func pack(ctx context.Context, tree fs.FS, file string, want func(name string) bool) (packed, error) {
	var files []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || name == "bin" || name == "bench/out"):
			return fs.SkipDir
		case entry.Type().IsRegular() && want(name):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return packed{}, err
	}
	if len(files) == 0 {
		return packed{}, fmt.Errorf("no files for %s", file)
	}
	slices.Sort(files)
	d := newDAG()
	root, err := d.folder(ctx, tree, ".", files)
	if err != nil {
		return packed{}, err
	}
	if err := d.write(ctx, file, root); err != nil {
		return packed{}, err
	}
	return packed{file: file, root: root.Cid(), files: files, blocks: len(d.nodes)}, nil
}

// isDocument takes the documents of the project: the pages at its top, and docs.
func isDocument(name string) bool {
	return strings.HasPrefix(name, "docs/") || !strings.Contains(name, "/") && path.Ext(name) == ".md"
}

// isSource takes the rest of what the project is made of.
func isSource(name string) bool {
	return !isDocument(name) && (path.Ext(name) == ".go" || strings.HasPrefix(name, "go.") || name == "Makefile")
}
