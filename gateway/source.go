package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/verifcid"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/nodes"
	"github.com/dagstore/dagstore/shard"
)

var errPanic = errors.New("gateway: internal error")

// largeBlock is the length from which on clients may refuse a block.
const largeBlock = 2 << 20

// A source is the blockstore as boxo and this package see it. It tells the
// request of blocks that cannot be had, since boxo takes some of these errors for
// a miss and drops others, keeps the names of shards out of every error, and
// gives nothing that must not be served.
type source struct {
	blockstore.Blockstore
	logger *slog.Logger
	refuse func(c cid.Cid, path string) int // or nil
	seen   *counters
	here   bool // asks nothing that is not on this machine
}

// counters are what a handler counts, as [Stats] says.
type counters struct {
	active                                                 atomic.Int64
	requests, bytes, broken, refused, busy, damaged, large atomic.Int64
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
	if err := s.allowed(c, ""); err != nil {
		return nil, err
	}
	if data, ok := nodes.Inline(c); ok {
		return blocks.NewBlockWithCid(data, c)
	}
	if block, err = s.Blockstore.Get(ctx, c); err == nil {
		s.size(len(block.RawData()))
	}
	return block, err
}

// View calls f with the bytes of c, which f must not keep, and returns what f does.
func (s *source) View(ctx context.Context, c cid.Cid, f func([]byte) error) error {
	if err := s.allowed(c, ""); err != nil {
		return s.report(ctx, c, err)
	}
	if data, ok := nodes.Inline(c); ok {
		return f(data)
	}
	viewer, ok := s.Blockstore.(blockstore.Viewer)
	if !ok {
		b, err := s.Get(ctx, c)
		if err != nil {
			return err
		}
		return f(b.RawData())
	}
	var own error
	called := false
	err := viewer.View(ctx, c, func(data []byte) error {
		called = true
		s.size(len(data))
		own = f(data)
		return own
	})
	if called {
		return own
	}
	return s.report(ctx, c, err)
}

// GetSize returns the size of the block of c.
func (s *source) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if err := s.allowed(c, ""); err != nil {
		return -1, s.report(ctx, c, err)
	}
	if data, ok := nodes.Inline(c); ok {
		return len(data), nil
	}
	size, err := s.Blockstore.GetSize(ctx, c)
	return size, s.report(ctx, c, err)
}

// Has reports whether some shard has c. A block that is looked for is not
// missed, so the request does not hear of it.
func (s *source) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := s.allowed(c, ""); err != nil {
		return false, s.report(ctx, c, err)
	}
	if _, ok := nodes.Inline(c); ok {
		return true, nil
	}
	has, err := s.Blockstore.Has(ctx, c)
	if err != nil {
		err = s.report(ctx, c, err)
	}
	return has, err
}

// need is nil if some shard has c.
func (s *source) need(ctx context.Context, c cid.Cid) error {
	has, err := s.Has(ctx, c)
	if err == nil && !has {
		return s.report(ctx, c, ipld.ErrNotFound{Cid: c})
	}
	return err
}

// allowed is nil if c, reached by path unless that is empty, may be served. A
// weak hash proves nothing to a client; what is inline needs none.
func (s *source) allowed(c cid.Cid, path string) error {
	if _, inline := nodes.Inline(c); c.Defined() && !inline {
		if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c); err != nil {
			return publicError(c, err)
		}
	}
	return s.unrefused(c, path)
}

// unrefused is nil unless it was decided that c is not served. It may be the
// CID of something else than a block.
func (s *source) unrefused(c cid.Cid, path string) error {
	if s.refuse == nil {
		return nil
	}
	status := s.refuse(c, path)
	switch status {
	case 0:
		return nil
	case http.StatusUnavailableForLegalReasons:
	default:
		status = http.StatusGone
	}
	s.seen.refused.Add(1)
	return &blockError{c, status, "it is not served here"}
}

func (s *source) size(n int) {
	if n > largeBlock {
		s.seen.large.Add(1)
	}
}

// report passes err on in the form that boxo and clients may see.
func (s *source) report(ctx context.Context, c cid.Cid, err error) error {
	var own *blockError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// The client left, or a reader that had looked ahead was closed. That
		// says nothing about the block.
		return context.Cause(ctx)
	case errors.As(err, &own):
		err = own
	case ipld.IsNotFound(err):
		err = ipld.ErrNotFound{Cid: c}
	case errors.Is(err, context.Canceled):
		return err
	case s.here && errors.Is(err, shard.ErrRemote):
		err = &blockError{c, http.StatusPreconditionFailed, "it is not on this machine"}
	default:
		public := publicError(c, err)
		if errors.Is(err, shard.ErrBlock) || errors.Is(err, shard.ErrCAR) {
			s.seen.damaged.Add(1)
		}
		s.logger.WarnContext(ctx, "gateway: block cannot be served", "cid", c, "status", public.status, "error", err)
		err = public
	}
	requestFrom(ctx).note(c, err)
	return err
}
