package engine

import (
	"errors"
	"runtime"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// loop is the state of the loop: nobody else touches it.
type loop struct {
	entries map[shard.Key]*entry
	idle    idleList
	retry   []*Call // follow-ups: calls that are asked again

	loads    []*entry // records to read next
	reading  bool     // a reader is at work
	opens    pool[*opening]
	fetches  [kinds]pool[*opening] // of those that make a copy first
	parked   int                   // pieces of work that wait for space for a copy
	sources  sources
	flushing bool
	tending  bool
	removals []index.ID // files to be removed
	wakes    uint64
	crowd    int      // calls handled since the last wake
	copies   []uint32 // to be removed
	clearing bool     // a worker removes some
	sweeping bool
	burials  []*burial // that wait for the end of removing

	gather   *batch
	flight   *batch
	toCommit chan *batch
	commits  uint64 // number of the last batch that was committed
	broken   error  // why nothing may be written any more

	intents  uint64 // place in the queue of intents up to which they are in memory
	seen     uint64 // up to which they were, or wait for space
	passed   uint64 // the first of these; 0: there is none
	backlog  bool   // there may be intents beyond
	probing  bool   // somebody looks for space
	scanning bool
	paging   int // entries of the last page that are being loaded

	confirms confirmations
	missed   map[string]shard.Key // by host that could not be reached: a shard of it
}

// followUps is how many calls are asked again before completions are looked at.
const followUps = 256

func (l *loop) init(e *Engine) {
	l.entries = map[shard.Key]*entry{}
	l.opens.max = e.cfg.Opens
	l.sources[onDisk].max = e.cfg.Indexings
	l.sources[remote].max = e.cfg.Fetches
	l.sources[slow].max = e.cfg.Waits
	for k := range l.sources { // one bound for all that is read of sources from end to end
		l.fetches[k].max = l.sources[k].max
		l.fetches[k].beside, l.sources[k].beside = &l.sources[k].running, &l.fetches[k].running
	}
	l.gather = &batch{n: 1}
	l.toCommit = make(chan *batch, 1)
	l.backlog = true
}

// run is the loop.
func (e *Engine) run() {
	defer close(e.stopped)
	tick := time.NewTicker(flushTick)
	defer tick.Stop()
	e.refill()
	for !e.shut.Load() {
		e.step()
		if !e.box.doze() {
			continue
		}
		if e.shut.Load() { // told in the step just done
			e.awake()
			break
		}
		select {
		case <-e.box.wake:
			e.gatherCalls()
		case <-tick.C:
			e.awake()
			e.tend()
			e.askAgain()
			e.startIndexing() // who waited for space and has left may have made way
			e.dropOldRemnants()
			e.needCopies()
		}
	}
	e.finish()
}

// lookAround is after how many wakes the loop looks whether it has more than
// one caller.
const lookAround = 32

// gatherCalls lets callers who are ready to run come first, if there may be
// many. Else the loop and the caller whom it has just answered would wake each
// other in turn, and everybody else would wait until the scheduler's patience,
// 10 ms, is at its end. A lone caller does not notice.
func (e *Engine) gatherCalls() {
	l := &e.loop
	l.wakes++
	if l.crowd > 1 || l.wakes%lookAround == 0 {
		runtime.Gosched()
	}
	l.crowd = 0
}

// awake ends the doze that was not ended by a message.
func (e *Engine) awake() {
	if !e.box.sleeping.CompareAndSwap(true, false) {
		<-e.box.wake
	}
}

// step handles all that waits. What was gathered goes to the disk after each
// round, not at the end: callers who are quicker than the loop would put that
// off for ever.
func (e *Engine) step() {
	for more := true; more; {
		e.completions()
		e.followUp() // before who is new: else they might find the shard gone, time and again
		n := e.box.calls.drain()
		more = n != nil || len(e.loop.retry) > 0
		for n != nil {
			next := n.next
			n.next = nil
			e.handle(n)
			n = next
		}
		e.startLoads()
		e.startCommit()
		e.show()
	}
}

func (e *Engine) completions() {
	for n := e.box.done.drain(); n != nil; {
		next := n.next
		n.next = nil
		n.of.(completion).finish(e)
		n = next
	}
}

// A completion is work that has ended. Exactly one of its methods is called:
// finish by the loop, or abandon, with what the work made, once the loop has
// ended.
type completion interface {
	finish(e *Engine)
	abandon(e *Engine)
}

func (e *Engine) followUp() {
	for i := 0; i < followUps && len(e.loop.retry) > 0; i++ {
		c := e.loop.retry[0]
		e.loop.retry[0] = nil
		e.loop.retry = e.loop.retry[1:]
		e.ask(c)
	}
}

func (e *Engine) handle(n *node) {
	switch n.what {
	case whatCall:
		<-e.room
		e.loop.crowd++
		e.ask(n.of.(*Call))
	case whatLeave:
		e.gone(n.of.(*Call))
	case whatRelease:
		e.release(n.of.(*Hold))
	case whatPeek:
		n.of.(*peek).look(e)
	default: // whatStop asks for nothing, and whatDone comes by the other way
	}
}

// ask brings a call to the shard it is about.
func (e *Engine) ask(c *Call) {
	if c.state.Load() == left {
		e.freeToken(c)
		return
	}
	en := e.find(c.key)
	if en.loading {
		en.add(c, inLoad)
		e.watch(c)
		return
	}
	e.call(en, c)
	e.settleDown(en)
}

// find returns the entry of key. One that was not in memory is loading, or,
// if there is no such shard, new and Gone.
func (e *Engine) find(key shard.Key) *entry {
	en := e.loop.entries[key]
	if en != nil {
		return en
	}
	en = &entry{key: key, machine: lifecycle.New(), told: shard.Gone, seen: shard.Gone}
	e.loop.entries[key] = en
	if e.exists.may(key) {
		en.loading = true
		e.loop.loads = append(e.loop.loads, en)
	}
	return en
}

// call is the event of one call, with its guards.
func (e *Engine) call(en *entry, c *Call) {
	if err := e.refuse(en, c); err != nil {
		e.freeToken(c)
		e.settle(c, Outcome{Err: err})
		return
	}
	ev := c.event
	if c.beside != nil && !c.confirms() {
		e.makeWay(en)
	}
	if c.confirms() {
		if !e.confirmable(en, c) {
			e.settle(c, Outcome{}) // it was confirmed, or is gone
			return
		}
		c.beside.url = en.record.URL
	}
	if c.otherCopy(en) {
		e.freeToken(c)
		e.settle(c, Outcome{Err: errOtherCopy})
		return
	}
	if c.revives && (en.machine.State != shard.Errored || !e.due(en.record.Failure)) {
		e.freeToken(c)
		e.settle(c, Outcome{}) // somebody else was there first
		return
	}
	if ev == lifecycle.Acquire && !c.ready && en.machine.State == shard.Errored && e.cfg.Retry.OnAcquire && e.due(en.record.Failure) {
		ev = lifecycle.AcquireRetry
	}
	token := c.token // asked now: an acquire that is answered may be another's call already
	e.event(en, ev, cause{call: c, revise: c.revise})
	if token {
		if en.dirty {
			e.loop.gather.tokens++
			c.token = false // freed with the batch
		} else {
			e.freeToken(c)
		}
	}
}

// refuse holds against a call what the lifecycle does not know.
func (e *Engine) refuse(en *entry, c *Call) error {
	state := en.machine.State
	indexed := state == shard.Available || state == shard.Serving
	switch {
	case e.loop.broken != nil && (c.persists() || !indexed):
		return e.readOnly()
	case c.ready && (state == shard.Registered || state == shard.Initializing || state == shard.Recovering):
		return shard.ErrBusy
	case c.near && state != shard.Gone && !e.local(en):
		return shard.ErrRemote
	case e.cramped(en, c):
		return e.cfg.NoSpace
	}
	return nil
}

// gone removes a call whose caller has left.
func (e *Engine) gone(c *Call) {
	en := c.entry
	if en == nil {
		return // it is being asked again, or its answer waits for a batch
	}
	p := c.place
	en.drop(c)
	e.freeToken(c)
	switch p {
	case inParked:
		e.event(en, lifecycle.CancelParked, cause{})
	case inOpeners:
		e.event(en, lifecycle.CancelOpening, cause{})
		if en.waiting[inOpeners].first == nil {
			e.cutOpening(en)
		}
	default: // the machine does not count who waits there
	}
	e.settleDown(en)
}

// release gives a hold back. A hold that a forced destroy has ended counts no
// more.
func (e *Engine) release(h *Hold) {
	e.cache.Release(h.handle)
	if en := h.entry; h.epoch == en.epoch {
		e.event(en, lifecycle.Release, cause{})
		e.settleDown(en)
	}
}

// settle decides the outcome of a call and sends it, or takes it back if the
// caller has left.
func (e *Engine) settle(c *Call, o Outcome) {
	o.Key, o.Op = c.key, c.op
	if o.Err != nil {
		o.Err = fail(c.key, c.op, o.Err)
	}
	if c.stop != nil {
		c.stop()
	}
	if !c.patient && c.ctx.Err() != nil && c.state.CompareAndSwap(waiting, left) {
		e.answered(c, c.ctx.Err())
	}
	if !c.state.CompareAndSwap(waiting, settled) {
		o.takeBack()
		return
	}
	e.answered(c, o.Err)
	if out, ok := c.sink.(once); ok {
		out <- o // has room: this is all that it is for
		return
	}
	e.results.deliver(c.ctx, c.sink, o)
}

// settleDown forgets an entry about which nothing is to be remembered, and
// lets one that may be forgotten wait for that.
func (e *Engine) settleDown(en *entry) {
	if en.machine.Holders == 0 {
		en.former = nil
	}
	if en.busy() || en.changed > e.loop.commits { // not before it is on disk: it would be read as it was
		e.loop.idle.remove(en)
		return
	}
	if en.machine.State == shard.Gone || en.deferred {
		e.forget(en)
		return
	}
	e.loop.idle.touch(en)
	for e.loop.idle.n > e.cfg.Handles {
		e.forget(e.loop.idle.oldest)
	}
}

func (e *Engine) forget(en *entry) {
	e.loop.idle.remove(en)
	if e.loop.entries[en.key] == en {
		delete(e.loop.entries, en.key)
		e.forgotten(en)
	}
}

// readOnly is what a call gets once a commit has failed.
func (e *Engine) readOnly() error { return errors.Join(e.cfg.ReadOnly, e.loop.broken) }

// finish ends the loop: what was gathered is committed, everybody who waits is
// answered, late messages are handled for what they hold.
func (e *Engine) finish() {
	for e.loop.flight != nil || (e.loop.broken == nil && !e.loop.gather.empty()) {
		e.completions()
		e.startCommit()
		if e.loop.flight != nil && e.box.doze() {
			<-e.box.wake
		}
	}
	close(e.loop.toCommit)
	for n := e.box.calls.drain(); n != nil; {
		next := n.next
		switch n.what {
		case whatCall:
			<-e.room
			c := n.of.(*Call)
			e.freeToken(c)
			e.settle(c, Outcome{Err: e.cfg.Closed})
		case whatPeek:
			n.of.(*peek).look(e)
		default: // nobody waits for an answer to the others
		}
		n = next
	}
	for _, c := range e.loop.retry {
		e.settle(c, Outcome{Err: e.cfg.Closed})
	}
	for _, en := range e.loop.entries {
		for p := range places {
			for c := en.next(p); c != nil; c = en.next(p) {
				e.freeToken(c)
				e.settle(c, Outcome{Err: e.cfg.Closed})
			}
		}
	}
}
