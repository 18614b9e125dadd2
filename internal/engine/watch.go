package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// A Watcher is told what happens. Any field may be nil, which costs nothing.
// The functions are called by the loop and by workers, several at once, and
// must neither block nor call the engine.
type Watcher struct {
	// Transition is told of a shard that went from one state to another, by
	// the loop, in order: what has to be written, once it is on disk. The
	// state of a shard that is not there is Gone. why is the failure if to is
	// Errored or Draining.
	Transition func(key shard.Key, from, to shard.State, why *shard.Error)

	// Work is told of the reading and indexing of shards.
	Work func(Work)

	// Opening is told of the end of an attempt at opening a shard.
	Opening func(key shard.Key, took time.Duration, err error)

	// Call is told of the end of a call: its outcome is decided, or its
	// caller has left, in which case err is that of a context.
	Call func(op shard.Op, took time.Duration, err error)

	// Fetched is told of the end of making a copy.
	Fetched func(bytes int64, err error)

	// Evicted is told of a copy that has made room for others.
	Evicted func(Copy)

	// Commit is told of the end of a batch of changes records.
	Commit func(changes int, took time.Duration, err error)

	// Read is told of bytes that were read from the source of an open shard.
	Read func(bytes int)

	// Fault is told of each piece of damage that indexing met, as far as it
	// is listed in the record.
	Fault func(key shard.Key, f shard.Fault)

	// Trouble is told what goes wrong in the background and is of no shard.
	Trouble func(error)
}

// A Phase is where a piece of work stands.
type Phase uint8

// The phases of a piece of work. One that began ends, and moves in between.
const (
	Began Phase = iota + 1
	Moved       // it has come further
	Ended
)

// Work is a piece of work, at one moment.
type Work struct {
	Key      shard.Key
	Phase    Phase
	Progress shard.Progress
	Err      error         // of Ended
	Took     time.Duration // of Ended
}

// moveEvery is how often a piece of work tells of its progress, at most.
const moveEvery = 250 * time.Millisecond

// A move is a transition that waits for its batch.
type move struct {
	entry    *entry
	from, to shard.State
	why      *shard.Error
}

// moved tells of the state in which an entry is now, as soon as that is on
// disk. If what happened is that memory is forgotten, the catalogue tells.
func (e *Engine) moved(en *entry, do lifecycle.Effects, why cause) {
	from, to := en.seen, en.machine.State
	if from == to || do.Has(lifecycle.Reload) || do.Has(lifecycle.Forget) && e.loop.broken != nil {
		return
	}
	m := move{entry: en, from: from, to: to}
	if to == shard.Errored || to == shard.Draining {
		m.why = whyFailed(en, why)
	}
	en.seen = to
	if en.changed > e.loop.commits {
		b := e.batchOf(en)
		b.moves = append(b.moves, m)
		return
	}
	e.tell(&m)
}

// batchOf is the batch of the last change of en, which is not on disk yet.
func (e *Engine) batchOf(en *entry) *batch {
	if f := e.loop.flight; f != nil && en.changed == f.n {
		return f
	}
	return e.loop.gather
}

// whyFailed is the failure that brought a shard into its state.
func whyFailed(en *entry, why cause) *shard.Error {
	var about *shard.Error
	switch {
	case en.record != nil && en.record.Failure != nil:
		return en.record.Failure.Err
	case errors.As(why.err, &about):
		return about
	default:
		return nil
	}
}

// unmoved takes back what a batch that was refused would have told.
func unmoved(batches ...*batch) {
	for _, b := range batches {
		for _, m := range b.moves {
			m.entry.seen = m.entry.told
		}
	}
}

// forgotten tells of the state in which an entry is that leaves memory: that
// of the catalogue.
func (e *Engine) forgotten(en *entry) {
	to := restOf(en.durable)
	if from := en.told; from != to {
		m := move{entry: en, from: from, to: to}
		if to == shard.Errored && en.durable.Failure != nil {
			m.why = en.durable.Failure.Err
		}
		e.tell(&m)
	}
	en.seen = en.machine.State // what late work still does to it is told to nobody
}

// tell counts a transition, and tells the watcher of it. An acquire of a
// shard that is open comes here twice.
func (e *Engine) tell(m *move) {
	m.entry.told = m.to
	e.counts.move(m.entry.key, m.from, m.to)
	if f := e.cfg.Watch.Transition; f != nil {
		f(m.entry.key, m.from, m.to, m.why)
	}
	if e.cfg.Log.Enabled(e.work, slog.LevelDebug) { // asked first: this is the hot path
		e.cfg.Log.Debug("shard moved", "key", string(m.entry.key), "from", m.from.String(), "state", m.to.String())
	}
}

// began tells of work that begins now, unless it goes on in another pool.
func (w *indexing) began(e *Engine) {
	if !w.started.IsZero() {
		return
	}
	w.started = e.cfg.Now()
	w.ctx = w.line.begin(w.ctx, e.cfg.Tracer, w.spanName(), w.record.Key, w.record.URL)
	if f := e.cfg.Watch.Work; f != nil {
		f(Work{Key: w.record.Key, Phase: Began, Progress: *w.progress(w.started)})
	}
}

// watched is what is told how far the reading of a CAR has come.
func (w *indexing) watched(e *Engine) func(done int64) {
	f := e.cfg.Watch.Work
	if f == nil {
		return w.done.Store
	}
	last := e.cfg.Now()
	return func(done int64) {
		w.done.Store(done)
		if now := e.cfg.Now(); now.Sub(last) >= moveEvery {
			last = now
			f(Work{Key: w.record.Key, Phase: Moved, Progress: *w.progress(now)})
		}
	}
}

// ended tells of work that has ended, if it ever began, and before that of the
// damage that it has met.
func (w *indexing) ended(e *Engine) {
	if w.started.IsZero() {
		return
	}
	w.line.end(w.err)
	key, now := w.record.Key, e.cfg.Now()
	took := now.Sub(w.started)
	if f := e.cfg.Watch.Fault; f != nil && w.found != nil {
		for _, fault := range w.found.result.Faulty {
			f(key, fault)
		}
		if lie := w.found.lie; lie != nil {
			f(key, *lie)
		}
	}
	if f := e.cfg.Watch.Work; f != nil { // whoever waits for this has heard all
		f(Work{Key: key, Phase: Ended, Progress: *w.progress(now), Err: w.err, Took: took})
	}
	if w.found != nil && w.found.lie != nil {
		e.cfg.Log.Warn("an index that came with a CAR is wrong, and not used", "key", string(key), "op", string(w.op()), "err", w.found.lie)
	}
	op := string(w.op())
	switch {
	case w.err == nil:
		if e.cfg.Log.Enabled(e.work, slog.LevelDebug) {
			e.cfg.Log.Debug("work ended", "key", string(key), "op", op, "seconds", took.Seconds())
		}
	case errors.Is(w.err, context.Canceled): // nobody wants it any more
	case w.beside != nil && w.beside.confirm:
		e.cfg.Log.Warn("an index that came with a CAR could not be confirmed", "key", string(key), "op", op, "seconds", took.Seconds(), "err", w.err)
	case w.beside != nil:
		e.cfg.Log.Warn("another source could not take the place of a shard's own", "key", string(key), "op", op, "seconds", took.Seconds(), "err", w.err)
	default:
		e.cfg.Log.Warn("a shard could not be indexed", "key", string(key), "op", op, "seconds", took.Seconds(), "err", w.err)
	}
}

// ended tells of an opening that has ended.
func (o *opening) ended(e *Engine) {
	o.line.end(o.err)
	if f := e.cfg.Watch.Opening; f != nil {
		f(o.record.Key, o.took, o.err)
	}
	key, op := string(o.record.Key), string(shard.OpAcquire)
	var lost *local.LostError
	switch {
	case o.err == nil:
		if e.cfg.Log.Enabled(e.work, slog.LevelDebug) {
			e.cfg.Log.Debug("work ended", "key", key, "op", op, "seconds", o.took.Seconds())
		}
	case errors.Is(o.err, context.Canceled), errors.As(o.err, &lost): // nobody waits; what is lost has a line of its own
	default:
		e.cfg.Log.Warn("a shard could not be opened", "key", key, "op", op, "seconds", o.took.Seconds(), "err", o.err)
	}
}

// trouble reports what went wrong in the background and is of no shard.
func (e *Engine) trouble(what string, err error) {
	e.cfg.Log.Error("trouble in the background", "what", what, "err", err)
	if f := e.cfg.Watch.Trouble; f != nil {
		f(fmt.Errorf("%s: %w", what, err))
	}
}

// answered tells of a call that has an outcome, or whose caller has left.
func (e *Engine) answered(c *Call, err error) {
	if f := e.cfg.Watch.Call; f != nil && !c.confirms() {
		f(c.op, e.cfg.Now().Sub(c.begun), err)
	}
	if c.span != nil {
		endSpan(c.span, err)
	}
}

// asked remembers when a call came, and starts its span, if somebody wants to
// know.
func (e *Engine) asked(c *Call) {
	if e.cfg.Watch.Call != nil {
		c.begun = e.cfg.Now()
	}
	e.trace(c)
}
