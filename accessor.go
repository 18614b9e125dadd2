package dagstore

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// An Accessor is a hold on a shard: until it is closed nothing of the shard
// is dropped, unmapped or truncated. All its methods may be called by any
// number of goroutines at once. After Close they return [ErrClosed]; after a
// forced Destroy they return [shard.ErrDestroyed].
type Accessor struct {
	_      noCopy
	store  *Store
	hold   *engine.Hold
	closed atomic.Bool
}

func newAccessor(s *Store, h *engine.Hold) *Accessor { return &Accessor{store: s, hold: h} }

// Key returns the key of the shard.
func (a *Accessor) Key() shard.Key { return a.hold.Handle().Key() }

// Roots returns the roots in the CAR's header. The caller must not change them.
func (a *Accessor) Roots() []cid.Cid { return a.hold.Handle().Roots() }

// Index returns the shard's index, which may be used until Close.
func (a *Accessor) Index() index.Index { return heldIndex{a} }

// Blockstore reads the blocks of this shard alone, until Close. It does not
// need closing.
func (a *Accessor) Blockstore() *Blockstore {
	return &Blockstore{reader: a.store.reader.Of(a.hold.Handle()), store: a.store, one: a}
}

// CAR reads the source as it is: CARv1 or CARv2. Its bytes are not checked
// against anything; blocks are, see [Accessor.Blockstore].
func (a *Accessor) CAR(ctx context.Context) *Reader {
	return &Reader{ctx: ctx, a: a, length: a.hold.Handle().Size()}
}

// Payload reads the CARv1 in the source, to which all offsets refer.
func (a *Accessor) Payload(ctx context.Context) *Reader {
	p := a.hold.Handle().Payload()
	return &Reader{ctx: ctx, a: a, first: p.Offset, length: p.Size}
}

// Close lets go. It waits for nothing: reads in progress keep what they need
// until they end. A second Close does nothing, gives nobody else's hold away,
// and returns nil.
func (a *Accessor) Close() error {
	if !a.closed.Swap(true) {
		a.hold.Close()
	}
	return nil
}

// usable returns why the accessor cannot be used, if so.
func (a *Accessor) usable() error {
	if a.closed.Load() || a.store.closed.Load() {
		return ErrClosed
	}
	return a.wrap(a.hold.Handle().Err())
}

// pin keeps what a read needs until unpin. The error is typed.
func (a *Accessor) pin() (h *local.Handle, err error) {
	if err := a.usable(); err != nil {
		return nil, err
	}
	h = a.hold.Handle()
	if !h.Pin() {
		return nil, a.wrap(h.Err())
	}
	return h, nil
}

// wrap says which shard err is about.
func (a *Accessor) wrap(err error) error {
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // the end of a read is io.EOF itself
		return err
	case errors.Is(err, local.ErrClosed):
		return ErrClosed
	}
	var about *shard.Error
	if errors.As(err, &about) {
		return err
	}
	return &shard.Error{Key: a.Key(), Op: shard.OpRead, Err: err}
}
