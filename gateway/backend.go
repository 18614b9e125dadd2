package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ipfs/boxo/files"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/boxo/path/resolver"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/schema"
)

// A backend is boxo's, with errors that carry the right status. What boxo is never
// asked for, raw blocks, CARs and records, it has as boxo has it.
type backend struct {
	*boxo.BlocksBackend
}

var (
	_ boxo.IPFSBackend     = (*backend)(nil)
	_ boxo.WithContextHint = (*backend)(nil)
)

// Get returns the file, the folder or the block at p.
func (b *backend) Get(ctx context.Context, p path.ImmutablePath, ranges ...boxo.ByteRange) (boxo.ContentPathMetadata, *boxo.GetResponse, error) {
	md, resp, err := b.BlocksBackend.Get(ctx, p, ranges...)
	return md, resp, withStatus(ctx, p, err)
}

// GetAll returns the file or the folder at p with all that is in it.
func (b *backend) GetAll(ctx context.Context, p path.ImmutablePath) (boxo.ContentPathMetadata, files.Node, error) {
	md, node, err := b.BlocksBackend.GetAll(ctx, p)
	return md, shallow(node, maxFolders), withStatus(ctx, p, err)
}

// GetBlock returns the block at p.
func (b *backend) GetBlock(ctx context.Context, p path.ImmutablePath) (boxo.ContentPathMetadata, files.File, error) {
	md, file, err := b.BlocksBackend.GetBlock(ctx, p)
	return md, file, withStatus(ctx, p, err)
}

// Head returns what is needed to describe what lies at p.
func (b *backend) Head(ctx context.Context, p path.ImmutablePath) (boxo.ContentPathMetadata, *boxo.HeadResponse, error) {
	md, resp, err := b.BlocksBackend.Head(ctx, p)
	return md, resp, withStatus(ctx, p, err)
}

// ResolvePath follows p to its last block.
func (b *backend) ResolvePath(ctx context.Context, p path.ImmutablePath) (boxo.ContentPathMetadata, error) {
	md, err := b.BlocksBackend.ResolvePath(ctx, p)
	return md, withStatus(ctx, p, err)
}

// ResolveMutable, GetIPNSRecord and GetDNSLinkRecord would reach the network.
// Names are resolved before boxo is asked.

// ResolveMutable gives what the request was found to lead to.
func (b *backend) ResolveMutable(ctx context.Context, p path.Path) (path.ImmutablePath, time.Duration, time.Time, error) {
	c := requestFrom(ctx).content
	if c == nil || !p.Mutable() {
		return path.ImmutablePath{}, 0, time.Time{}, errNames()
	}
	whole, err := path.Join(path.FromCid(c.root), c.way...)
	if err != nil {
		return path.ImmutablePath{}, 0, time.Time{}, err
	}
	ip, err := path.NewImmutablePath(whole)
	return ip, c.fresh.ttl, time.Time{}, err
}

// GetIPNSRecord finds nothing.
func (b *backend) GetIPNSRecord(context.Context, cid.Cid) ([]byte, error) { return nil, errNames() }

// GetDNSLinkRecord finds nothing.
func (b *backend) GetDNSLinkRecord(context.Context, string) (path.Path, error) {
	return nil, errNames()
}

func errNames() error { return boxo.NewErrorStatusCode(errNoNames, errNoNames.status) }

// withStatus gives err the status that the store's own error calls for. What
// boxo made of that on its way does not matter then.
func withStatus(ctx context.Context, p path.ImmutablePath, err error) error {
	if err == nil {
		return nil
	}
	fault, _ := requestFrom(ctx).failure()
	if fault == nil {
		if status, why := statusOf(err); status == http.StatusNotFound {
			fault = &blockError{p.RootCid(), status, why}
		}
	}
	if fault == nil && requestFrom(ctx).found && ctx.Err() == nil && !isAbsent(err) {
		// The path leads to a block that can be read, and that is not what is wanted.
		fault = &blockError{p.RootCid(), http.StatusNotAcceptable, "what lies there is no file and no folder: " + err.Error()}
	}
	if fault == nil {
		return err
	}
	return boxo.NewErrorStatusCode(fault, fault.status)
}

// isAbsent says whether boxo takes err for a name that leads nowhere.
func isAbsent(err error) bool {
	var (
		kind   datamodel.ErrWrongKind
		exists datamodel.ErrNotExists
	)
	return ipld.IsNotFound(err) || errors.Is(err, &resolver.ErrNoLink{}) || errors.Is(err, schema.ErrNoSuchField{}) ||
		errors.As(err, &kind) || errors.As(err, &exists)
}
