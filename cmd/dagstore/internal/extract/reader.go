package extract

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	bsfetcher "github.com/ipfs/boxo/fetcher/impl/blockservice"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/boxo/path/resolver"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipfs/go-unixfsnode"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/schema"
	"github.com/multiformats/go-multicodec"
)

// A Reader takes things out of a blockstore. One serves one command: its
// errors name the first block that could not be had since it was made.
type Reader struct {
	blocks   *watched
	dags     ipld.DAGService
	resolver resolver.Resolver
}

// New makes a Reader over bs, which must hash what it reads.
func New(bs blockstore.Blockstore) *Reader {
	w := &watched{Blockstore: bs}
	// Without an exchange a block service asks nobody else.
	service := blockservice.New(w, nil, blockservice.WithAllowlist(anyMultihash{}))
	fetcher := bsfetcher.NewFetcherConfig(service)
	fetcher.PrototypeChooser = dagpb.AddSupportToChooser(bsfetcher.DefaultPrototypeChooser)
	return &Reader{
		blocks:   w,
		dags:     merkledag.NewDAGService(service),
		resolver: resolver.NewBasicResolver(fetcher.WithReifier(unixfsnode.Reify)),
	}
}

// anyMultihash lets every multihash pass. What the store could hold against
// its bytes is good enough for the person who typed the CID.
type anyMultihash struct{}

func (anyMultihash) IsAllowed(uint64) bool    { return true }
func (anyMultihash) MinDigestSize(uint64) int { return 0 }
func (anyMultihash) MaxDigestSize(uint64) int { return 1 << 20 }

// Resolve follows p to a block. It wraps [ErrNotFound] if the store does not
// have the root, or the DAG not the name, and [ErrMissing] if a block on the
// way is not there.
func (r *Reader) Resolve(ctx context.Context, p Path) (cid.Cid, error) {
	has, err := r.blocks.Has(ctx, p.Root)
	if err != nil {
		return cid.Undef, err
	}
	if !has {
		return cid.Undef, fmt.Errorf("%w: no shard of the store has block %s", ErrNotFound, p.Root)
	}
	if len(p.Names) == 0 {
		return p.Root, nil
	}
	ip, err := path.NewPath(p.String())
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: %w", ErrPath, err)
	}
	im, err := path.NewImmutablePath(ip)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: %w", ErrPath, err)
	}
	c, rest, err := r.resolver.ResolveToLastNode(ctx, im)
	switch {
	case err == nil && len(rest) > 0:
		return cid.Undef, fmt.Errorf("%w: %s is a value inside of block %s", ErrKind, p, c)
	case err == nil:
		return c, nil
	}
	if err := r.blocks.explain(ctx, err); !noSuchName(err) {
		return cid.Undef, err
	}
	return cid.Undef, fmt.Errorf("%w: %s: %w", ErrNotFound, p, err)
}

// noSuchName reports whether err says that a block was read and does not have
// the name that was looked for in it.
func noSuchName(err error) bool {
	if errors.Is(err, &resolver.ErrNoLink{}) {
		return true
	}
	_, noField := errors.AsType[schema.ErrNoSuchField](err)
	_, notThere := errors.AsType[datamodel.ErrNotExists](err)
	_, noMap := errors.AsType[datamodel.ErrWrongKind](err)
	return noField || notThere || noMap
}

// Block writes the block of c to w, as it is.
func (r *Reader) Block(ctx context.Context, c cid.Cid, w io.Writer) error {
	b, err := r.blocks.Get(ctx, c)
	if err != nil {
		return r.blocks.explain(ctx, err)
	}
	_, err = w.Write(b.RawData())
	return err
}

// Cat writes the UnixFS file of c to w. It wraps [ErrKind] if it is none, and
// [ErrMissing] if a block of it is not there; some of it may have been
// written by then.
func (r *Reader) Cat(ctx context.Context, c cid.Cid, w io.Writer) error {
	node, kind, err := r.unixfs(ctx, c)
	if err != nil {
		return err
	}
	if kind != file {
		return fmt.Errorf("%w: %s is a %s, not a file", ErrKind, c, kind)
	}
	return r.copyFile(ctx, node, w)
}

// copyFile writes the content of a file to w.
func (r *Reader) copyFile(ctx context.Context, node ipld.Node, w io.Writer) error {
	content, err := uio.NewDagReader(ctx, node, r.dags)
	if err != nil {
		return r.blocks.explain(ctx, err)
	}
	defer content.Close()
	out := &sink{w: w}
	_, err = io.Copy(out, content)
	if out.err != nil {
		return out.err
	}
	return r.blocks.explain(ctx, err)
}

// A sink tells errors of writing from errors of reading.
type sink struct {
	w   io.Writer
	err error
}

// Write remembers the first error.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// A kind is what a UnixFS node is.
type kind string

const (
	file    kind = "file"
	folder  kind = "folder"
	symlink kind = "symlink"
)

// unixfs reads the node of c and says what it is.
func (r *Reader) unixfs(ctx context.Context, c cid.Cid) (ipld.Node, kind, error) {
	switch codec := c.Prefix().Codec; codec {
	case cid.Raw, cid.DagProtobuf:
	default:
		return nil, "", fmt.Errorf("%w: %s is %s, not a UnixFS file or folder; its block and its DAG can be had as they are", ErrKind, c, codecName(codec))
	}
	node, err := r.dags.Get(ctx, c)
	if err != nil {
		return nil, "", r.blocks.explain(ctx, err)
	}
	pb, ok := node.(*merkledag.ProtoNode)
	if !ok {
		return node, file, nil
	}
	fs, err := unixfs.FSNodeFromBytes(pb.Data())
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s is dag-pb, but not UnixFS: %w", ErrKind, c, err)
	}
	switch fs.Type() {
	case unixfs.TDirectory, unixfs.THAMTShard:
		return node, folder, nil
	case unixfs.TSymlink:
		return node, symlink, nil
	case unixfs.TFile, unixfs.TRaw:
		return node, file, nil
	default:
		return nil, "", fmt.Errorf("%w: %s is UnixFS of an unknown type %v", ErrKind, c, fs.Type())
	}
}

func codecName(codec uint64) string { return multicodec.Code(codec).String() }
