package engine

import (
	"context"
	"errors"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// A load reads the records of some entries.
type load struct {
	node    node
	entries []*entry
	records []*catalog.Record // nil: there is no such shard
	errs    []error
}

// startLoads has the records that are wanted read, one worker at a time.
func (e *Engine) startLoads() {
	l := &e.loop
	if l.reading || len(l.loads) == 0 {
		return
	}
	w := &load{entries: l.loads}
	w.node.what, w.node.of = whatDone, w
	l.loads, l.reading = nil, true
	e.workers.Go(func() {
		w.records = make([]*catalog.Record, len(w.entries))
		w.errs = make([]error, len(w.entries))
		for i, en := range w.entries {
			r, err := e.cfg.Catalog.Get(e.work, en.key)
			if errors.Is(err, catalog.ErrNotFound) {
				r, err = nil, nil
			}
			w.records[i], w.errs[i] = r, err
		}
		e.box.complete(&w.node)
	})
}

// finish hands the records to the lifecycle, then what was asked meanwhile.
func (w *load) finish(e *Engine) {
	e.loop.reading = false
	for i, en := range w.entries {
		en.loading = false
		if en.due {
			e.loop.paging--
		}
		if err := w.errs[i]; err != nil {
			e.unreadable(en, err)
			continue
		}
		if r := w.records[i]; r != nil {
			en.record, en.durable, en.disk = r, r, r.Revision
			en.told, en.seen = restOf(r), restOf(r)
			e.event(en, e.loaded(r), cause{err: context.Canceled})
		}
		losses := en.losses
		en.losses = nil
		for _, x := range losses {
			x.finish(e)
		}
		for c := en.next(inLoad); c != nil; c = en.next(inLoad) {
			e.call(en, c)
		}
		e.settleDown(en)
	}
	e.startIndexing()
}

func (w *load) abandon(*Engine) {}

// unreadable answers who asked for a shard whose record cannot be read. It is
// kept until somebody destroys it by force.
func (e *Engine) unreadable(en *entry, err error) {
	for _, x := range en.losses {
		x.abandon(e)
	}
	en.losses = nil
	var damaged *catalog.DamagedError
	if e.shut.Load() && !errors.As(err, &damaged) {
		return // finish answers who waits
	}
	purged := false
	for c := en.next(inLoad); c != nil; c = en.next(inLoad) {
		if c.event == lifecycle.DestroyForce && errors.As(err, &damaged) && e.loop.broken == nil {
			b := e.loop.gather
			if !purged {
				purged = true
				b.purged = append(b.purged, en.key)
			}
			b.after = append(b.after, reply{c, Outcome{}})
			b.tokens++
			c.token = false
			continue
		}
		e.freeToken(c)
		e.settle(c, Outcome{Err: err})
	}
	e.forget(en)
}

// loaded is the event of a record that was read. Once a commit has failed,
// intents are not taken up.
func (e *Engine) loaded(r *catalog.Record) lifecycle.Event {
	if e.loop.broken == nil {
		switch r.Intent {
		case catalog.Initialize:
			return lifecycle.LoadedInitializing
		case catalog.Recover:
			return lifecycle.LoadedRecovering
		case catalog.Destroy:
			return lifecycle.LoadedDestroying
		case catalog.NoIntent: // its state says it
		}
	}
	switch r.State {
	case shard.Available:
		return lifecycle.LoadedAvailable
	case shard.Errored:
		return lifecycle.LoadedErrored
	default:
		return lifecycle.LoadedRegistered
	}
}

// A refilling brings the next intents from disk into memory.
type refilling struct {
	node  node
	found []catalog.Queued
	last  uint64 // place of the last of them in the queue
	more  bool
	err   error
}

// refill has the next page of the queue of intents read.
func (e *Engine) refill() {
	l := &e.loop
	if l.scanning || l.broken != nil || e.shut.Load() {
		return
	}
	l.scanning, l.backlog = true, false
	if l.parked >= e.cfg.Window && l.intents < l.seen {
		l.pass(l.intents + 1) // up to there, all that is left waits for space
		l.intents = l.seen
	}
	w := &refilling{last: l.intents}
	w.node.what, w.node.of = whatDone, w
	e.workers.Go(func() {
		for q, err := range e.cfg.Catalog.Intents(e.work, w.last) {
			if err != nil {
				w.err = err
				break
			}
			if len(w.found) == max(1, e.cfg.Window/2) {
				w.more = true
				break
			}
			w.found, w.last = append(w.found, q), q.Seq
		}
		e.box.complete(&w.node)
	})
}

func (w *refilling) finish(e *Engine) {
	l := &e.loop
	l.scanning = false
	if w.err != nil && e.shut.Load() {
		return
	}
	if w.err != nil {
		e.trouble("the queue of intents cannot be read", w.err)
		return
	}
	l.intents, l.seen = w.last, max(l.seen, w.last)
	l.backlog = l.backlog || w.more
	l.paging = 0
	for _, q := range w.found {
		en := e.find(q.Key)
		en.due, en.queued = true, q.Seq
		if en.loading {
			l.paging++
		} else {
			if en.deferred {
				e.start(en, nil)
			}
			e.settleDown(en)
		}
	}
	e.startIndexing()
}

func (w *refilling) abandon(*Engine) {}

// pass leaves the intent at a place on disk whose work would only wait for space,
// as enough does already.
func (l *loop) pass(at uint64) {
	if l.passed == 0 || at < l.passed {
		l.passed = at
	}
}

// turnBack has the queue looked through again from where work was passed over, once
// less waits for space.
func (e *Engine) turnBack() {
	l := &e.loop
	if l.passed > 0 && !l.scanning && l.parked < max(1, e.cfg.Window/2) {
		l.intents, l.passed, l.backlog = min(l.intents, l.passed-1), 0, true
	}
}

// restore takes up, in the background, what the last process left: indices
// that no layer holds are added to the inverted index again, files of dead
// ones are removed, and the existence filter is filled.
func (e *Engine) restore() {
	defer close(e.recovered)
	ctx := e.work
	e.workers.Go(func() { _ = e.inverted.Warm(ctx) }) // it fails only when the engine ends
	if err := e.restorePending(ctx); err != nil && ctx.Err() == nil {
		e.trouble("the inverted index is not complete", err)
	}
	e.workers.Go(func() {
		defer close(e.surveyed)
		if err := e.restoreCopies(ctx); err != nil && ctx.Err() == nil {
			e.trouble("the copies could not all be looked through: none are made until that succeeds", err)
		}
	})
	e.workers.Go(func() {
		if err := e.census(ctx); err != nil && ctx.Err() == nil {
			e.trouble("the shards could not be counted", err)
		}
		defer func() { <-e.collecting }() // since before the start
		if err := e.removeInherited(ctx); err != nil && ctx.Err() == nil {
			e.trouble("what the last process was to remove is still there", err)
		}
		if _, err := e.collect(ctx); err != nil && ctx.Err() == nil {
			e.trouble("what belongs to no shard could not be removed", err)
		}
	})
}

func (e *Engine) restorePending(ctx context.Context) error {
	var errs []error
	for id, err := range e.cfg.Catalog.Pending(ctx) {
		if err != nil {
			return err
		}
		// What cannot be added now is found to be lost when its shard is opened.
		if err := e.addInverted(ctx, id); err != nil {
			if isLoss(err) && !e.lostIndex(ctx, id, err) {
				continue // it is nobody's, and given up with what else is
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
