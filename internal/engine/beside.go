package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Work beside a shard looks at another source while the shard goes on as it
// is: it compares another place of its CAR with the index, or indexes another
// revision. It runs in the pools of indexings, as one of them. Nothing of it is
// an intent: a crash leaves what was there before.

// A Comparison is how much of the CAR at another place is held against the index.
type Comparison uint8

// The comparisons. All of them compare the size, if the mount knows it.
const (
	CompareSample Comparison = iota // header, and blocks drawn at random
	CompareFull                     // and every block
	CompareNone                     // nothing else
)

// beside is what work is to do that is not the indexing of the shard itself.
type beside struct {
	op    shard.Op        // OpRemount or OpReplace
	url   string          // where the other source lies
	check Comparison      // OpRemount
	given *catalog.Record // OpReplace: its options are taken over; nil: the shard keeps its own

	confirm bool     // OpReplace by the same CAR, of an index that came with it
	doubted index.ID // that index, if a read has found it wrong
}

// NewRemount asks to look for the CAR of key at url from now on.
func NewRemount(ctx context.Context, key shard.Key, url string, check Comparison, sink Sink) *Call {
	return &Call{
		op: shard.OpRemount, event: lifecycle.Remount, key: key, ctx: ctx, sink: sink,
		beside: &beside{op: shard.OpRemount, url: url, check: check},
	}
}

// NewReplace asks to index the CAR at url and to put it in the place of what
// key has. given has the options of the new revision; nil: those that the shard has.
func NewReplace(ctx context.Context, key shard.Key, url string, given *catalog.Record, sink Sink) *Call {
	return &Call{
		op: shard.OpReplace, event: lifecycle.Replace, key: key, ctx: ctx, sink: sink,
		beside: &beside{op: shard.OpReplace, url: url, given: given},
	}
}

// op is what the work is called.
func (w *indexing) op() shard.Op {
	if w.beside != nil && !w.beside.confirm {
		return w.beside.op
	}
	return shard.OpIndex
}

// startBeside begins the work for c.
func (e *Engine) startBeside(en *entry, c *Call) {
	r := *en.record
	c.beside.give(&r)
	if c.beside.op == shard.OpReplace && !c.confirms() {
		r.Kept = catalog.Kept{} // that is of the revision before
	}
	w := e.newIndexing(en)
	w.record, w.beside = &r, c.beside
	w.line.descend(c)
	if c.confirms() && c.background {
		w.class = background
	}
	w.ticket.host = mount.Host(r.URL)
	if !e.near(r.URL) {
		w.kind = remote
	}
	en.indexing = w
	w.wait(e)
	e.startIndexing()
}

// give takes over into r what the caller has said.
func (b *beside) give(r *catalog.Record) {
	if b.confirm {
		return // nothing is another
	}
	r.URL = b.url
	if b.op == shard.OpReplace {
		r.Claim = catalog.NoClaim // that of the revision before
	}
	if g := b.given; g != nil {
		r.Verify, r.Discard, r.Pin, r.Serve = g.Verify, g.Discard, g.Pin, g.Serve
		r.Copy, r.Policy, r.Indexer, r.IndexURL = g.Copy, g.Policy, g.Indexer, g.IndexURL
		r.Piece, r.PieceAt, r.Labels = g.Piece, time.Time{}, g.Labels
	} else if b.op == shard.OpReplace {
		r.Copy, r.IndexURL, r.Piece, r.PieceAt = "", "", cid.Undef, time.Time{} // these were of the revision before
	}
}

// rebind takes over into r where the CAR lies now, and how it was found there.
func (b *beside) rebind(r *catalog.Record, f *found, now time.Time) {
	claim := r.Claim // after a replacement that of the new index
	b.give(r)
	r.Claim = claim
	if b.op != shard.OpRemount || r.Index.ID == 0 {
		return // the indexing has told the rest, or will
	}
	r.SourceVersion, r.SourceTime = f.source.Version, f.source.ModTime
	switch b.check {
	case CompareSample:
		r.Verified, r.VerifiedAt = shard.Sampled, now
	case CompareFull:
		r.Verified, r.VerifiedAt = shard.Full, now
		if r.Claim.Open() && r.Indexer == "" {
			r.Claim = catalog.NoClaim // every entry was compared
		}
	case CompareNone: // the caller says that it is what it was
	}
}

// rebound sees to it that nobody new gets at the source as it was before: a
// handle that is open is left to those who hold it, an opening under way begins
// again. old is the index before.
func (e *Engine) rebound(en *entry, old index.ID) {
	if old != 0 {
		e.withdraw(old, false)
		if id := en.id(); old != id && en.machine.Holders > en.machine.Opening {
			en.former = append(en.former, old)
		}
	}
	if en.opening != nil {
		e.cutOpening(en)
		if en.waiting[inOpeners].first != nil {
			e.open(en)
		}
	}
}

// besideEnded is the end of work beside.
func (e *Engine) besideEnded(en *entry, b *beside, why cause) {
	why.beside = b
	ev := lifecycle.Remounted
	switch {
	case b.op == shard.OpRemount && why.err != nil:
		ev = lifecycle.RemountFailed
	case b.op == shard.OpReplace && why.err != nil:
		ev = lifecycle.ReplaceFailed
	case b.op == shard.OpReplace:
		ev = lifecycle.Replaced
	}
	e.event(en, ev, why)
	switch {
	case b.confirm && errors.Is(why.err, shard.ErrCAR):
		e.unconfirmed(en, why)
	case !b.confirm && en.record != nil && en.record.Claim == catalog.ClaimAdopted:
		e.confirmSoon(en.key)
	}
}

// severFormer ends the reads of those who hold an earlier revision.
func (e *Engine) severFormer(en *entry) {
	for _, id := range en.former {
		e.cache.Sever(id)
	}
	en.former = nil
}

// unbelieve is for a shard whose holders were given a place or an index that the
// disk has refused. Who waits for an opening of that gets err. It reports whether that
// was all that there was: then the shard is forgotten. Otherwise somebody may
// hold what is on disk, and goes on.
func (e *Engine) unbelieve(en *entry, err error) bool {
	d, id := en.durable, en.id()
	sameIndex := d != nil && d.Index.ID == id
	if sameIndex && d.URL == en.record.URL {
		return false
	}
	e.withdraw(id, !sameIndex)
	if sameIndex || len(en.former) > 0 {
		if en.machine.Opening > 0 {
			e.event(en, lifecycle.OpenFailed, cause{err: err})
		}
		return false
	}
	e.cutOpening(en)
	e.answerAll(en, inOpeners, err)
	en.epoch++
	en.machine = lifecycle.New()
	e.reload(en)
	return true
}

// differs is the error of a place that holds another CAR. What is wrong with
// that one, in the eyes of a reader, is told besides.
func differs(err error) error {
	var fault *shard.Fault
	if errors.As(err, &fault) {
		return fmt.Errorf("%w: %w", shard.ErrChanged, err)
	}
	return err
}
