package engine

import (
	"context"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// NewPin asks to keep the local copy of key from eviction, or, if pin is
// false, no longer to. It moves no shard and disturbs no work.
func NewPin(ctx context.Context, key shard.Key, pin bool, sink Sink) *Call {
	op := shard.OpUnpin
	if pin {
		op = shard.OpPin
	}
	return &Call{op: op, event: lifecycle.Amend, key: key, ctx: ctx, sink: sink, revise: func(r *catalog.Record) bool {
		had := r.Pin
		r.Pin = pin
		return had != pin
	}}
}

// NewPieceChecked asks to write the record of key as revise changes it, unless
// that returns false. It moves no shard and disturbs no work.
func NewPieceChecked(ctx context.Context, key shard.Key, revise func(*catalog.Record) bool, sink Sink) *Call {
	return &Call{op: shard.OpPiece, event: lifecycle.Amend, key: key, ctx: ctx, sink: sink, revise: revise}
}

// confirmed is the revision of a shard whose source calls itself something
// else than when it was indexed, and whose bytes, as far as they were looked
// at, are the same. More than that look is not known of the source as it is now.
func (e *Engine) confirmed(now mount.Stat) func(*catalog.Record) bool {
	return func(r *catalog.Record) bool {
		r.SourceVersion, r.SourceTime = now.Version, now.ModTime
		r.Verified, r.VerifiedAt = shard.Sampled, e.cfg.Now()
		return true
	}
}

// revise writes the record as the event wants it changed. State and intent
// stay as they are stored, whatever the shard is doing: work that began
// without an intent does not get one by a pin.
func (e *Engine) revise(en *entry, why cause) {
	r := *en.record
	if !why.revise(&r) {
		return
	}
	r.Revision = en.disk + 1
	r.Changed = e.cfg.Now()
	if r.Kept.ID != en.record.Kept.ID {
		e.forsake(en.record.Kept.ID, en)
	}
	en.record = &r
	e.loop.gather.change(en)
}
