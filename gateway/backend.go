package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ipfs/boxo/files"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// A backend is boxo's, with errors that carry the right status, and CARs that
// begin only when their root can be read.
type backend struct {
	*boxo.BlocksBackend
	blocks *source
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
	return md, node, withStatus(ctx, p, err)
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

// GetCAR returns a CAR of what lies at p. It fails, instead of returning a
// CAR, if the root or a block on the way to it cannot be had; a name that a
// folder does not have is answered by a CAR with the blocks that prove it.
func (b *backend) GetCAR(ctx context.Context, p path.ImmutablePath, params boxo.CarParams) (boxo.ContentPathMetadata, io.ReadCloser, error) {
	var none boxo.ContentPathMetadata
	if has, err := b.blocks.Has(ctx, p.RootCid()); err != nil {
		return none, nil, withStatus(ctx, p, err)
	} else if !has {
		return none, nil, ipld.ErrNotFound{Cid: p.RootCid()}
	}
	md, body, err := b.BlocksBackend.GetCAR(ctx, p, params)
	if err != nil {
		return none, nil, withStatus(ctx, p, err)
	}
	rq := requestFrom(ctx)
	car := &carReader{buf: bufio.NewReaderSize(body, carBuffer), body: body, rq: rq}
	err = car.begin()
	if end := md.LastSegment.RootCid(); err == nil && !end.Equals(p.RootCid()) {
		// The blocks of the path come first, and its end is the root.
		_, err = b.blocks.Get(ctx, end)
	}
	if _, missing := rq.failure(); err == nil && missing.Defined() {
		// boxo takes a missing block on the way for a missing name, and would
		// prove what is not so.
		err = ipld.ErrNotFound{Cid: missing}
	}
	if err != nil {
		_ = body.Close() // ends the traversal; the error that counts is known
		return none, nil, withStatus(ctx, p, err)
	}
	if rq.head {
		_ = body.Close()
		return md, io.NopCloser(http.NoBody), nil
	}
	return md, car, nil
}

// IsCached reports whether what lies at p is here.
func (b *backend) IsCached(ctx context.Context, p path.Path) bool {
	return !p.Mutable() && b.BlocksBackend.IsCached(ctx, p)
}

// ResolveMutable, GetIPNSRecord and GetDNSLinkRecord would reach the network.

// ResolveMutable resolves nothing.
func (b *backend) ResolveMutable(context.Context, path.Path) (path.ImmutablePath, time.Duration, time.Time, error) {
	return path.ImmutablePath{}, 0, time.Time{}, errNames()
}

// GetIPNSRecord finds nothing.
func (b *backend) GetIPNSRecord(context.Context, cid.Cid) ([]byte, error) { return nil, errNames() }

// GetDNSLinkRecord finds nothing.
func (b *backend) GetDNSLinkRecord(context.Context, string) (path.Path, error) {
	return nil, errNames()
}

func errNames() error {
	return boxo.NewErrorStatusCode(errors.New("this gateway resolves no names, only CIDs"), http.StatusNotImplemented)
}

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
	if fault == nil {
		return err
	}
	return boxo.NewErrorStatusCode(fault, fault.status)
}

// carBuffer holds a header with one root and the head of the first section.
const carBuffer = 32 << 10

// A carReader is the body of a CAR. A failure in it breaks the answer off.
type carReader struct {
	buf  *bufio.Reader
	body io.Closer
	rq   *request
}

// begin waits until the section behind the header begins, which is when its
// block has been read. A CAR may have no sections.
func (r *carReader) begin() error {
	head, err := r.buf.Peek(binary.MaxVarintLen64) // a header is longer than that
	if err != nil {
		return err
	}
	size, n := binary.Uvarint(head)
	if n <= 0 || size > carBuffer/2 {
		return errors.New("gateway: CAR without a header")
	}
	if _, err = r.buf.Peek(n + int(size) + 1); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Read notes every error but the end.
func (r *carReader) Read(p []byte) (int, error) {
	n, err := r.buf.Read(p)
	if err != nil && err != io.EOF {
		r.rq.breakOff()
	}
	return n, err
}

// Close ends the traversal.
func (r *carReader) Close() error { return r.body.Close() }
