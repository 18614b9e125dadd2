package engine

import (
	"context"
	"errors"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// A cause is what an event came with.
type cause struct {
	call    *Call   // a call
	found   *found  // an indexing that succeeded
	beside  *beside // work beside that has ended
	err     error   // what failed
	lost    bool    // that was no attempt: an index that there was is not to be used
	refuted bool    // nor is the one that came with the CAR
	drop    func()  // gets rid of what late work made

	// revise changes a copy of the record, and reports whether it did: what is
	// so already is not written again.
	revise func(*catalog.Record) bool
}

// event moves the shard on ev and does what that asks for.
func (e *Engine) event(en *entry, ev lifecycle.Event, why cause) {
	from, id := en.machine.State, en.id()
	do := en.machine.Step(ev)
	to := en.machine.State
	defer e.holdCopy(en)
	if from != to {
		if id != 0 && to != shard.Available && to != shard.Serving {
			e.withdraw(id, do.Has(lifecycle.Sever))
		}
	}
	e.perform(en, do, why)
}

// withdraw takes an open shard out of the cache: nobody new gets at it. Who
// holds it keeps it, unless all holds have ended.
func (e *Engine) withdraw(id index.ID, sever bool) {
	if sever {
		e.cache.Sever(id)
	} else {
		e.cache.Remove(id, nil)
	}
}

// perform does what an event asks for, in the order of the bits.
func (e *Engine) perform(en *entry, do lifecycle.Effects, why cause) {
	if do == 0 {
		e.moved(en, do, why)
		return
	}
	if do.Has(lifecycle.Never) {
		e.cfg.Log.Error("impossible event: please report this", "key", string(en.key), "state", en.machine.State.String())
		return
	}
	e.endings(en, do, why)
	e.writings(en, do, why)
	e.moved(en, do, why)
	e.callers(en, do, why)
	e.answers(en, do, why)
	if do.Has(lifecycle.Reload) {
		e.reload(en)
	}
}

// endings are the effects that end what is under way or thrown away.
func (e *Engine) endings(en *entry, do lifecycle.Effects, why cause) {
	if do.Has(lifecycle.Cut) {
		e.cutWork(en)
	}
	if do.Has(lifecycle.Sever) {
		en.epoch++
		e.severFormer(en)
	}
	if do&(lifecycle.Forget|lifecycle.FailOpeners|lifecycle.ParkOpeners|lifecycle.Reload) != 0 {
		e.cutOpening(en)
	}
	if do.Has(lifecycle.Discard) && why.drop != nil {
		why.drop()
	}
}

// writings are the effects that change the record.
func (e *Engine) writings(en *entry, do lifecycle.Effects, why cause) {
	if do&(lifecycle.Persist|lifecycle.Forget) == 0 {
		return
	}
	if e.loop.broken != nil { // nothing is written any more: the catalogue tells
		if do.Has(lifecycle.Forget) {
			e.reload(en)
		}
		return
	}
	b := e.loop.gather
	old := en.id()
	switch {
	case do.Has(lifecycle.Revise):
		e.revise(en, why)
		return
	case do.Has(lifecycle.DropCopy) && !do.Has(lifecycle.Forget):
		e.dropCopy(en) // an Evict
		return
	}
	if do.Has(lifecycle.Forget) {
		e.forsake(en.record.Kept.ID, en)
		e.dropRemnant(en.key)
		if old != 0 {
			e.bury(old, en.record.Index.InFile())
		}
		en.record = nil
		b.change(en)
		return
	}
	r := e.nextRecord(en, why)
	if do.Has(lifecycle.Note) {
		r.Failure = e.failure(en, why)
	}
	if why.refuted {
		r.Claim = catalog.ClaimRefuted
	}
	if do.Has(lifecycle.Install) {
		if en.record != nil && en.record.Kept.ID != why.found.kept.ID {
			e.forsake(en.record.Kept.ID, en)
		}
		why.found.install(r, e.cfg.Now())
		b.addPending(r.Index.ID, why.found.settled)
		if old != 0 {
			e.bury(old, en.record.Index.InFile())
		}
	}
	if do.Has(lifecycle.Rebind) {
		e.dropRemnant(en.key)
		why.beside.rebind(r, why.found, e.cfg.Now())
		if why.beside.op == shard.OpReplace && !why.beside.confirm { // which is of the same CAR
			b.replaced = append(b.replaced, en.key)
		}
	}
	en.record = r
	b.change(en)
	if do.Has(lifecycle.Rebind) {
		e.rebound(en, old)
	}
}

// nextRecord is a copy of the record, as the state now wants it stored.
func (e *Engine) nextRecord(en *entry, why cause) *catalog.Record {
	now := e.cfg.Now()
	var r catalog.Record
	if en.record != nil {
		r = *en.record
	} else {
		r = *why.call.record
		r.Registered = now
		e.exists.add(en.key)
	}
	r.Revision = en.disk + 1
	r.Changed = now
	switch en.machine.State {
	case shard.Registered:
		r.State, r.Intent = shard.Registered, catalog.NoIntent
	case shard.Initializing:
		r.State, r.Intent = shard.Registered, catalog.Initialize
	case shard.Available, shard.Serving:
		r.State, r.Intent, r.Failure = shard.Available, catalog.NoIntent, nil
	case shard.Recovering:
		r.Intent = catalog.Recover
	case shard.Draining, shard.Errored:
		r.State, r.Intent = shard.Errored, catalog.NoIntent
	case shard.Destroying:
		r.Intent = catalog.Destroy
	case shard.Gone: // has no record
	}
	return &r
}

// callers are the effects that start work and make somebody wait for it.
func (e *Engine) callers(en *entry, do lifecycle.Effects, why cause) {
	c := why.call
	switch {
	case do.Has(lifecycle.Watch):
		e.wait(en, c, inWatchers)
	case do.Has(lifecycle.Park):
		e.wait(en, c, inParked)
	case do.Has(lifecycle.Join):
		e.wait(en, c, inJoined)
	case do.Has(lifecycle.Await):
		e.wait(en, c, inBeside)
	case do.Has(lifecycle.Open):
		en.add(c, inOpeners)
		e.open(en)
	}
	if do.Has(lifecycle.ParkOpeners) {
		for c := en.next(inOpeners); c != nil; c = en.next(inOpeners) {
			en.add(c, inParked)
		}
	}
	switch {
	case do.Has(lifecycle.Start):
		e.start(en, c)
	case do.Has(lifecycle.StartBeside):
		e.startBeside(en, c)
	case do&(lifecycle.Watch|lifecycle.Park) != 0 && en.deferred:
		e.start(en, c)
	case do&(lifecycle.Watch|lifecycle.Park) != 0:
		e.hasten(en, c)
	}
}

// wait puts a call into a list. One that nobody waits for is settled as far
// as its caller is concerned: its intent is all that it leaves behind.
func (e *Engine) wait(en *entry, c *Call, p place) {
	if c.sink == nil && p != inParked {
		if c.stop != nil {
			c.stop() // it has waited for the record
		}
		if c.state.CompareAndSwap(waiting, settled) {
			e.answered(c, nil)
		}
		return
	}
	en.add(c, p)
	e.watch(c)
}

// answers are the effects that tell somebody.
func (e *Engine) answers(en *entry, do lifecycle.Effects, why cause) {
	if do.Has(lifecycle.Reply) {
		e.answer(en, why.call, Outcome{})
	}
	if do.Has(lifecycle.Reject) && why.call != nil {
		e.answer(en, why.call, Outcome{Err: e.refusal(en, why.call)})
	}
	if do.Has(lifecycle.Deliver) {
		e.deliver(en)
	}
	if do.Has(lifecycle.FailOpeners) {
		e.answerAll(en, inOpeners, e.reason(en, why))
	}
	if do.Has(lifecycle.Unpark) {
		for c := en.next(inParked); c != nil; c = en.next(inParked) {
			e.loop.retry = append(e.loop.retry, c)
		}
	}
	if do.Has(lifecycle.FailParked) {
		e.answerAll(en, inParked, e.reason(en, why))
	}
	if do.Has(lifecycle.ReplyWatchers) {
		e.answerAll(en, inWatchers, nil)
	}
	if do.Has(lifecycle.FailWatchers) {
		e.answerAll(en, inWatchers, e.reason(en, why))
	}
	if do.Has(lifecycle.ReplyBeside) {
		e.answerAll(en, inBeside, nil)
	}
	if do.Has(lifecycle.FailBeside) {
		e.answerAll(en, inBeside, e.reason(en, why))
	}
	if do.Has(lifecycle.ReplyGone) {
		e.answerAll(en, inJoined, nil)
	}
	if do.Has(lifecycle.FailGone) {
		e.answerAll(en, inJoined, e.reason(en, why))
	}
}

func (e *Engine) answerAll(en *entry, p place, err error) {
	for c := en.next(p); c != nil; c = en.next(p) {
		e.answer(en, c, Outcome{Err: err})
	}
}

// answer settles a call as soon as all that was written about its shard so far
// is on disk.
func (e *Engine) answer(en *entry, c *Call, o Outcome) {
	if en.changed > e.loop.commits {
		b := e.batchOf(en)
		b.after = append(b.after, reply{c, o})
		return
	}
	e.settle(c, o)
}

// deliver gives an accessor to each who waited for the opening.
func (e *Engine) deliver(en *entry) {
	id := en.id()
	for c := en.next(inOpeners); c != nil; c = en.next(inOpeners) {
		h, ok := e.cache.Hold(id)
		if !ok { // it was put there just now, and is held by those before
			e.event(en, lifecycle.Release, cause{})
			e.answer(en, c, Outcome{Err: shard.ErrSource})
			continue
		}
		if e.tooFar(en, c, h) {
			continue
		}
		e.answer(en, c, Outcome{Hold: &Hold{e: e, entry: en, epoch: en.epoch, handle: h, record: en.record}})
	}
}

// reason is why those who wait for work hear of no success.
func (e *Engine) reason(en *entry, why cause) error {
	switch {
	case why.err != nil && errors.Is(why.err, context.Canceled) && en.machine.State == shard.Gone:
		return shard.ErrDestroying
	case why.err != nil:
		return why.err
	case en.machine.Work == lifecycle.Index && en.machine.State != shard.Destroying:
		return shard.ErrBusy // work beside has made way for the shard's own
	default:
		return shard.ErrDestroying
	}
}

// refusal is why an event was rejected.
func (e *Engine) refusal(en *entry, c *Call) error {
	state := en.machine.State
	switch {
	case c.op == shard.OpRegister && state == shard.Destroying:
		return shard.ErrDestroying
	case c.op == shard.OpRegister && en.record.URL == c.record.URL:
		return shard.ErrExists
	case c.op == shard.OpRegister:
		return shard.ErrKeyUsed
	case state == shard.Gone:
		return shard.ErrUnknown
	case state == shard.Destroying:
		return shard.ErrDestroying
	case c.op == shard.OpAcquire && (state == shard.Errored || state == shard.Draining):
		return e.failed(en.record.Failure)
	case c.beside != nil:
		return shard.ErrBusy
	case state == shard.Serving, state == shard.Draining:
		return shard.ErrHeld
	default:
		return shard.ErrBusy
	}
}

// reload forgets what memory believes about a shard.
func (e *Engine) reload(en *entry) {
	if id := en.id(); id != 0 {
		e.withdraw(id, false)
	}
	en.record, en.dirty = nil, false
	e.forget(en)
}
