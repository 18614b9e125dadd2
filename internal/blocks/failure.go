package blocks

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// failure is the error of a lookup that found nothing.
func (l *lookup) failure(gatherErr error) error {
	switch {
	case l.ctx.Err() != nil:
		return l.ctx.Err()
	case l.err != nil:
		return l.err
	case gatherErr != nil:
		return fmt.Errorf("blocks: inverted index: %w", gatherErr)
	default:
		return format.ErrNotFound{Cid: l.asked()}
	}
}

// asked is the CID that was asked for; if it was a multihash, as a raw one.
func (l *lookup) asked() cid.Cid {
	if l.cid.Defined() {
		return l.cid
	}
	return cid.NewCidV1(cid.Raw, slices.Clone(l.mh))
}

// failOpen records that a shard could not be opened. One that is gone is not
// missed: its entries in the inverted index outlive it by a moment. That an
// index is nobody's may also mean that it is about to take the place of another,
// or that another has taken its place.
func (l *lookup) failOpen(c *candidate, key shard.Key, err error) {
	if errors.Is(err, shard.ErrUnknown) {
		l.unknown = append(l.unknown, c.id)
		return
	}
	if errors.Is(err, shard.ErrDestroyed) || l.err != nil {
		return
	}
	var known *shard.Error
	if !errors.As(err, &known) {
		err = &shard.Error{Key: key, Op: shard.OpAcquire, Err: err}
	}
	l.err = err
}

// fail records that h could not be read, and tells of what it means for h. A
// shard that was destroyed under us is not missed among many.
func (l *lookup) fail(h *local.Handle, err error) {
	var fault *shard.Fault
	switch cfg := &l.r.cfg; {
	case errors.As(err, &fault):
		if cfg.Fault != nil {
			cfg.Fault(h, fault)
		}
	case errors.Is(err, shard.ErrChanged), errors.Is(err, shard.ErrIndex):
		if cfg.Lost != nil {
			cfg.Lost(h, err)
		}
	case errors.Is(err, shard.ErrDestroyed) && l.r.one == nil:
		return
	}
	if l.err == nil {
		l.err = &shard.Error{Key: h.Key(), Op: shard.OpRead, Err: err}
	}
}
