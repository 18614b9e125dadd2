package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/gateway"
)

// fileSizes are those of the UnixFS files of amplification: of one block, and
// of chunks of 256 KiB below a root.
var fileSizes = []int{40_000, 300_000, 1_000_000, 5_000_000}

const filesOfSize = 3

// A filesCAR is a CAR of UnixFS files.
type filesCAR struct {
	carFile
	roots []cid.Cid
	sizes []int64 // of the files
}

// filesCAR writes UnixFS files of random bytes, depth first.
func (e *env) filesCAR() (*filesCAR, error) {
	path := filepath.Join(e.dir, "files.car")
	c := new(filesCAR)
	random := rand.NewChaCha8([32]byte{1})
	var nodes []format.Node
	for i := range filesOfSize * len(fileSizes) {
		data := make([]byte, fileSizes[i%len(fileSizes)])
		_, _ = random.Read(data) // it never fails
		file, err := unixFS(data)
		if err != nil {
			return nil, err
		}
		c.roots, c.sizes = append(c.roots, file[0].Cid()), append(c.sizes, int64(len(data)))
		nodes = append(nodes, file...)
	}
	file, err := writeNodes(path, nodes)
	if err != nil {
		return nil, err
	}
	c.carFile = *file
	return c, nil
}

// writeNodes writes a CAR of nodes, the first of which is the root.
func writeNodes(path string, nodes []format.Node) (*carFile, error) {
	c := &carFile{path: path, key: keyOf(path)}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	// A bufio.Writer keeps its first error; Flush tells it.
	_, _ = out.WriteString(carHead)
	_, _ = out.Write(cidOf(nodes[0]))
	_, _ = out.WriteString(carTail)
	c.bytes = int64(len(carHead) + cidLength + len(carTail))
	for _, n := range nodes {
		length := binary.AppendUvarint(nil, uint64(cidLength+len(n.RawData())))
		_, _ = out.Write(length)
		_, _ = out.Write(cidOf(n))
		_, _ = out.Write(n.RawData())
		at := c.bytes + int64(len(length)+cidLength)
		c.bytes = at + int64(len(n.RawData()))
		c.asked = append(c.asked, block{n.Cid(), at, len(n.RawData())})
	}
	c.blocks = len(nodes)
	return c, errors.Join(out.Flush(), f.Close())
}

func cidOf(n format.Node) []byte { return n.Cid().Bytes() }

// unixFS is a file: its root, and its leaves if it has more than one.
func unixFS(data []byte) ([]format.Node, error) {
	if len(data) <= dagSize {
		return []format.Node{merkledag.NewRawNode(data)}, nil
	}
	node := unixfs.NewFSNode(unixfspb.Data_File)
	root := merkledag.NodeWithData(nil)
	if err := root.SetCidBuilder(merkledag.V1CidPrefix()); err != nil {
		return nil, err
	}
	all := []format.Node{root}
	for len(data) > 0 {
		leaf := merkledag.NewRawNode(data[:min(dagSize, len(data))])
		data = data[len(leaf.RawData()):]
		node.AddBlockSize(uint64(len(leaf.RawData())))
		if err := root.AddNodeLink("", leaf); err != nil {
			return nil, err
		}
		all = append(all, leaf)
	}
	text, err := node.GetBytes()
	if err != nil {
		return nil, err
	}
	root.SetData(text)
	return all, nil
}

// amplification is how many bytes a server has sent for each that was served
// of what lies there: files, whole, in random order.
func amplification(ctx context.Context, e *env) (result, error) {
	files, err := e.filesCAR()
	if err != nil {
		return result{}, err
	}
	blocks, err := e.car("dag-1k", min(maxAsked, e.scale.mid), midSize)
	if err != nil {
		return result{}, err
	}
	return behindEach(e, func(f *far) (r result, err error) {
		dirs := make([]string, 2)
		for i, c := range []*carFile{&files.carFile, blocks} {
			if dirs[i], err = e.offered(ctx, f, c, nil); err != nil {
				return r, err
			}
		}
		var cost [4]fetched
		for i, serve := range []func(s *dagstore.Store) (int64, error){
			func(s *dagstore.Store) (int64, error) { return serveFiles(ctx, s, files) },
			func(s *dagstore.Store) (int64, error) { return readFiles(ctx, s, files) },
			func(s *dagstore.Store) (int64, error) { return serveCAR(ctx, s, blocks) },
			func(s *dagstore.Store) (int64, error) {
				return serveBlocks(ctx, s, blocks, min(2_000, e.scale.gets))
			},
		} {
			dir := dirs[i/2]
			cost[i].asked, err = counting(ctx, f, dir, func(s *dagstore.Store) error {
				var err error
				cost[i].served, err = serve(s)
				return err
			})
			if err != nil {
				return r, err
			}
		}
		r = compared(float64(cost[0].bytes), float64(cost[0].served), "B")
		r.goal, r.held = "≤ 1.2 for files", cost[0].ratio() <= 1.2 && cost[1].ratio() <= 1.2
		r.note = fmt.Sprintf("%d files of 40 kB to 5 MB by the gateway %v, as a file system %v; a CAR %v; random blocks of 1 KiB %v",
			len(files.roots), cost[0], cost[1], cost[2], cost[3])
		return r, errors.Join(os.RemoveAll(dirs[0]), os.RemoveAll(dirs[1]))
	}, lowRatio)
}

// fetched is what a server was asked for what was served.
type fetched struct {
	asked
	served int64
}

func (s fetched) ratio() float64 { return float64(s.bytes) / float64(s.served) }

// String implements [fmt.Stringer].
func (s fetched) String() string {
	return fmt.Sprintf("%.3f, a request for %.0f KiB", s.ratio(), float64(s.served)/(1<<10)/float64(s.requests))
}

// inOrder calls serve with each file, in random order.
func (c *filesCAR) inOrder(serve func(root cid.Cid) (int64, error)) (served int64, err error) {
	for _, i := range rand.New(rand.NewPCG(11, 12)).Perm(len(c.roots)) {
		n, err := serve(c.roots[i])
		if err == nil && n != c.sizes[i] {
			err = errWrongBlock
		}
		if err != nil {
			return served, err
		}
		served += n
	}
	return served, nil
}

func serveFiles(ctx context.Context, s *dagstore.Store, c *filesCAR) (int64, error) {
	handler, err := gateway.New(s, nil)
	if err != nil {
		return 0, err
	}
	return c.inOrder(func(root cid.Cid) (int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/ipfs/"+root.String(), nil)
		if err != nil {
			return 0, err
		}
		w := &counter{header: http.Header{}}
		handler.ServeHTTP(w, req)
		if w.status != http.StatusOK {
			return 0, fmt.Errorf("%w: %d", errStatus, w.status)
		}
		return w.n, nil
	})
}

func readFiles(ctx context.Context, s *dagstore.Store, c *filesCAR) (int64, error) {
	return c.inOrder(func(root cid.Cid) (n int64, err error) {
		var f fs.File
		if f, err = dag.NewFS(ctx, s.Blockstore(nil), root).Open("."); err != nil {
			return 0, err
		}
		n, err = io.Copy(io.Discard, f)
		return n, errors.Join(err, f.Close())
	})
}

func serveCAR(ctx context.Context, s *dagstore.Store, c *carFile) (int64, error) {
	held, err := s.Acquire(ctx, c.key, nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, held.CAR(ctx))
	return n, errors.Join(err, held.Close())
}

func serveBlocks(ctx context.Context, s *dagstore.Store, c *carFile, n int) (served int64, err error) {
	bs, random := s.Blockstore(nil), rand.New(rand.NewPCG(13, 14))
	for range n {
		b := c.asked[random.IntN(len(c.asked))]
		if err := getRight(ctx, bs, b); err != nil {
			return served, err
		}
		served += int64(b.size)
	}
	return served, nil
}

// A counter is the answer to a request, of which only the length is kept.
type counter struct {
	header http.Header
	status int
	n      int64
}

// Header implements [http.ResponseWriter].
func (c *counter) Header() http.Header { return c.header }

// WriteHeader implements [http.ResponseWriter].
func (c *counter) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

// Write implements [http.ResponseWriter].
func (c *counter) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	c.n += int64(len(p))
	return len(p), nil
}
