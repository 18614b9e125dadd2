package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	blockformat "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/scratch"
	"github.com/dagstore/dagstore/shard"
)

// Blocks reads the blocks of all shards. It has the method set of boxo's
// blockstore.Blockstore, as [dagstore.Blockstore] has it. What comes is hashed
// here once more: whoever answers on a socket is not believed.
type Blocks struct{ c *Client }

// Blocks reads from all shards.
func (c *Client) Blocks() *Blocks { return &Blocks{c} }

// Get returns the block of id.
func (b *Blocks) Get(ctx context.Context, id cid.Cid) (blockformat.Block, error) {
	response, err := b.c.send(ctx, request{method: http.MethodGet, path: "/blocks/" + id.String() + "/raw"})
	if err != nil {
		return nil, notFound(id, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, b.c.broke(ctx, err)
	}
	if err := car.Check(id, 0, data); err != nil && id.Prefix().MhType != multihash.IDENTITY {
		return nil, err
	}
	return blockformat.NewBlockWithCid(data, id)
}

// notFound makes of a block that was not found what go-ipld-format makes of it.
func notFound(id cid.Cid, err error) error {
	if errors.Is(err, ipld.ErrNotFound{}) {
		return ipld.ErrNotFound{Cid: id}
	}
	return err
}

// Has reports whether some shard has id.
func (b *Blocks) Has(ctx context.Context, id cid.Cid) (bool, error) {
	_, err := b.GetSize(ctx, id)
	if errors.Is(err, ipld.ErrNotFound{}) {
		return false, nil
	}
	return err == nil, err
}

// GetSize returns the size of the block of id.
func (b *Blocks) GetSize(ctx context.Context, id cid.Cid) (int, error) {
	var out wire.Size
	err := b.c.get(ctx, "/blocks/"+id.String()+"/size", nil, &out)
	return out.Size, notFound(id, err)
}

// Put returns [dagstore.ErrReadOnly], as do PutMany and DeleteBlock.
func (b *Blocks) Put(context.Context, blockformat.Block) error { return dagstore.ErrReadOnly }

// PutMany returns [dagstore.ErrReadOnly].
func (b *Blocks) PutMany(context.Context, []blockformat.Block) error { return dagstore.ErrReadOnly }

// DeleteBlock returns [dagstore.ErrReadOnly].
func (b *Blocks) DeleteBlock(context.Context, cid.Cid) error { return dagstore.ErrReadOnly }

// AllKeysChan returns an error: all keys of a store are not asked for over a
// socket.
func (b *Blocks) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.ErrUnsupported
}

// An Index is that of a shard, which was copied here.
type Index struct {
	*index.File
	file *os.File
}

// OpenIndex copies the index of a shard here and opens it.
func (c *Client) OpenIndex(ctx context.Context, key shard.Key) (*Index, error) {
	path, query := at(key, "/file/index")
	response, err := c.send(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	f, err := scratch.File("", "dagstore-index-*")
	if err != nil {
		return nil, err
	}
	ix := &Index{file: f}
	n, err := io.Copy(f, response.Body)
	if err != nil {
		if failed := bodyOf(response).failed; failed != nil {
			err = c.broke(ctx, failed)
		}
		return nil, errors.Join(err, ix.Close())
	}
	if ix.File, err = index.NewFile(f, n); err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	return ix, nil
}

// Close removes the copy.
func (x *Index) Close() error {
	return x.file.Close()
}

// A CAR reads the CAR of a shard as it lies at its source. It is for one
// goroutine.
type CAR struct {
	ctx  context.Context //nolint:containedctx // made for one use, as a dagstore.Reader is
	c    *Client
	key  shard.Key
	size int64
	at   int64
	body io.ReadCloser // of a request that has come to at; nil: none
	came bool          // something has come of that request
}

// CAR reads the CAR of a shard, under ctx.
func (c *Client) CAR(ctx context.Context, key shard.Key) (*CAR, error) {
	path, query := at(key, "/file/car")
	response, err := c.send(ctx, request{method: http.MethodHead, path: path, query: query})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return &CAR{ctx: ctx, c: c, key: key, size: response.ContentLength}, nil
}

// Read implements [io.Reader]. Who takes long over what it brings is no reason for
// it to end, and what kept the other side from going on is told by that as an
// answer to a request for the rest.
func (r *CAR) Read(p []byte) (int, error) {
	for {
		if r.at >= r.size {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.body == nil {
			if err := r.ask(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.came = true
			return n, nil // an error comes again
		}
		if err == nil {
			continue
		}
		if err = r.c.broke(r.ctx, err); !errors.Is(err, ErrBroken) || !r.came {
			return 0, err
		}
		r.drop()
	}
}

// ask asks for what lies behind the position.
func (r *CAR) ask() error {
	path, query := at(r.key, "/file/car")
	header := http.Header{"Range": {"bytes=" + strconv.FormatInt(r.at, 10) + "-"}}
	response, err := r.c.send(r.ctx, request{method: http.MethodGet, path: path, query: query, header: header}) //nolint:bodyclose // Close and Seek do
	if err != nil {
		return err
	}
	r.body, r.came = response.Body, false
	return nil
}

// Seek implements [io.Seeker].
func (r *CAR) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return r.at, errors.New("a position before the beginning")
	}
	if offset != r.at {
		r.drop()
	}
	r.at = offset
	return r.at, nil
}

func (r *CAR) drop() {
	if r.body != nil {
		_ = r.body.Close() // it was only read
		r.body = nil
	}
}

// Close ends the request that is under way.
func (r *CAR) Close() error {
	r.drop()
	return nil
}
