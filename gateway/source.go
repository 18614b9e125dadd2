package gateway

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

var errPanic = errors.New("gateway: internal error")

// A source is the blockstore as boxo sees it. It tells the request of blocks
// that cannot be had, since boxo takes some of these errors for a miss and
// drops others, and it keeps the names of shards out of every error.
type source struct {
	blockstore.Blockstore
	logger *slog.Logger
}

// Get returns the block of c. boxo calls it on goroutines of its own, where a
// panic would end the process, so that is an error like any other.
func (s *source) Get(ctx context.Context, c cid.Cid) (block blocks.Block, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.logger.ErrorContext(ctx, "gateway: panic", "cid", c, "value", v, "stack", string(debug.Stack()))
			block, err = nil, errPanic
		}
		err = s.report(ctx, c, err)
	}()
	return s.Blockstore.Get(ctx, c)
}

// GetSize returns the size of the block of c.
func (s *source) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	size, err := s.Blockstore.GetSize(ctx, c)
	return size, s.report(ctx, c, err)
}

// Has reports whether some shard has c. A block that is looked for is not
// missed, so the request does not hear of it.
func (s *source) Has(ctx context.Context, c cid.Cid) (bool, error) {
	has, err := s.Blockstore.Has(ctx, c)
	if err != nil {
		err = s.report(ctx, c, err)
	}
	return has, err
}

// report passes err on in the form that boxo may see.
func (s *source) report(ctx context.Context, c cid.Cid, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// The client left, or a reader that had looked ahead was closed. That
		// says nothing about the block.
		return context.Cause(ctx)
	case ipld.IsNotFound(err):
		err = ipld.ErrNotFound{Cid: c}
	case errors.Is(err, context.Canceled):
		return err
	default:
		public := publicError(c, err)
		s.logger.WarnContext(ctx, "gateway: block cannot be served", "cid", c, "status", public.status, "error", err)
		err = public
	}
	requestFrom(ctx).note(c, err)
	return err
}
