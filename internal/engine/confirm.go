package engine

import (
	"context"
	"errors"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// To confirm a claim is to read the CAR, and to put the index that is made so
// in the place of the claim: a Replace of the shard by itself, which nobody
// notices. What was adopted is confirmed in the background, some shards at a
// time; a shard whose claim a read has found wrong, at once. It is no intent:
// the record says that the claim is open, and each start takes that up.

// confirmWindow is how many keys of shards to be confirmed are in memory. What
// is beyond is found in the catalogue when these are done.
const confirmWindow = 4096

// confirmations is what is to be confirmed. It belongs to the loop.
type confirmations struct {
	queue   []shard.Key
	running int
	beyond  bool      // the catalogue has more than the queue had room for
	after   shard.Key // up to where the catalogue was looked through
	walking bool
}

// confirmSoon has the claim of a shard confirmed when its turn comes.
func (e *Engine) confirmSoon(keys ...shard.Key) {
	c := &e.loop.confirms
	for _, key := range keys {
		if len(c.queue) >= confirmWindow {
			c.beyond, c.after = true, ""
			break
		}
		c.queue = append(c.queue, key)
	}
	e.confirmNext()
}

// confirmNext begins as many confirmations as may run, each a call that is
// asked after what waits now.
func (e *Engine) confirmNext() {
	c := &e.loop.confirms
	for len(c.queue) > 0 && c.running < max(1, (e.cfg.Indexings+e.cfg.Fetches)/2) && !e.shut.Load() {
		x := &confirmation{e: e}
		x.node.what, x.node.of = whatDone, x
		key := c.queue[0]
		c.queue = c.queue[1:]
		c.running++
		e.loop.retry = append(e.loop.retry, newConfirm(key, 0, x))
	}
	if len(c.queue) == 0 {
		c.queue = nil
	}
	if c.beyond && !c.walking && c.queue == nil && !e.shut.Load() {
		e.findOpenClaims()
	}
}

// newConfirm is the call that has a claim confirmed: that of index id, or, if
// id is 0, of whatever index was adopted.
func newConfirm(key shard.Key, id index.ID, sink Sink) *Call {
	return &Call{
		op: shard.OpReplace, event: lifecycle.Replace, key: key, ctx: context.Background(), sink: sink, background: id == 0,
		beside: &beside{op: shard.OpReplace, confirm: true, doubted: id},
	}
}

// confirms reports whether c is such a call, which no caller has made.
func (c *Call) confirms() bool { return c.beside != nil && c.beside.confirm }

// confirmable reports whether there is still something for c to confirm, and
// nothing else under way that will show it.
func (e *Engine) confirmable(en *entry, c *Call) bool {
	r, m := en.record, &en.machine
	return e.loop.broken == nil && r != nil && m.Work == lifecycle.NoWork &&
		(m.State == shard.Available || m.State == shard.Serving) &&
		(c.beside.doubted == 0 && r.Claim == catalog.ClaimAdopted || c.beside.doubted == en.id() && r.Claim.Open())
}

// makeWay ends a confirmation that is under way, for a caller who wants other
// work beside the shard. It is begun again after that, if there is still need.
func (e *Engine) makeWay(en *entry) {
	if w := en.indexing; w != nil && w.beside != nil && w.beside.confirm {
		e.cutWork(en)
		e.event(en, lifecycle.ReplaceFailed, cause{err: shard.ErrBusy})
	}
}

// A confirmation is the end of one of the confirmations that run in the
// background.
type confirmation struct {
	node node
	e    *Engine
}

// Try implements [Sink]. However it has ended, the next one may begin.
func (x *confirmation) Try(Outcome) bool {
	x.e.box.complete(&x.node)
	return true
}

// Send implements [Sink].
func (x *confirmation) Send(o Outcome, _, _ <-chan struct{}) bool { return x.Try(o) }

func (x *confirmation) finish(e *Engine) {
	e.loop.confirms.running--
	e.confirmNext()
}

func (x *confirmation) abandon(*Engine) {}

// A search brings the keys of shards whose claim is to be confirmed.
type search struct {
	node  node
	keys  []shard.Key
	after shard.Key
	more  bool
	err   error
}

// findOpenClaims looks for adopted claims in the catalogue, as many as there
// is room for.
func (e *Engine) findOpenClaims() {
	c := &e.loop.confirms
	c.walking = true
	w := &search{after: c.after}
	w.node.what, w.node.of = whatDone, w
	e.workers.Go(func() {
		for r, err := range e.cfg.Catalog.Records(e.work, catalog.Filter{After: w.after}) {
			var damaged *catalog.DamagedError
			switch {
			case errors.As(err, &damaged):
				continue
			case err != nil:
				w.err = err
			case r.Claim == catalog.ClaimAdopted:
				w.keys, w.after = append(w.keys, r.Key), r.Key
				w.more = len(w.keys) == confirmWindow
			}
			if w.err != nil || w.more {
				break
			}
		}
		e.box.complete(&w.node)
	})
}

func (w *search) finish(e *Engine) {
	c := &e.loop.confirms
	c.walking, c.beyond, c.after = false, w.more, w.after
	if w.err != nil {
		if e.work.Err() == nil {
			e.trouble("the indices that have to be confirmed could not all be looked for", w.err)
		}
		return
	}
	e.confirmSoon(w.keys...)
}

func (w *search) abandon(*Engine) {}

// Doubt tells the engine that a read has met an entry of the index of h that is
// wrong. If that index came with the CAR it is made anew from the CAR, while
// the shard goes on with the rest of it; otherwise nothing happens. It does not
// wait.
func (e *Engine) Doubt(h *local.Handle) {
	w := &suspicion{key: h.Key(), id: h.ID()}
	w.node.what, w.node.of = whatDone, w
	if e.enter() {
		e.box.complete(&w.node)
		e.exit()
	}
}

// A suspicion is that an index is wrong.
type suspicion struct {
	node node
	key  shard.Key
	id   index.ID
}

func (w *suspicion) finish(e *Engine) {
	e.loop.retry = append(e.loop.retry, newConfirm(w.key, w.id, nil))
}

func (w *suspicion) abandon(*Engine) {}

// inherit has a confirmation that has made no copy keep that which the shard has
// now: one that it has got meanwhile is of the same CAR, and one that was read may
// have gone.
func (w *indexing) inherit(now *catalog.Record) {
	if !w.beside.confirm || w.err != nil || w.found.fresh || now == nil || now.Kept.ID == w.found.kept.ID {
		return
	}
	w.found.kept = catalog.Kept{}
	if now.Kept.ID != w.record.Kept.ID && sameSource(now, w.found.source) {
		w.found.kept = now.Kept
	}
}

// unconfirmed is for a confirmation that has failed because the CAR is bad. The
// claim did not show that, and nothing of such a CAR is served: the shard is
// read again as one that was lost, and without the claim.
func (e *Engine) unconfirmed(en *entry, why cause) {
	if s := en.machine.State; s != shard.Available && s != shard.Serving {
		return
	}
	why.lost, why.refuted = true, true
	e.event(en, lifecycle.Lost, why)
}
