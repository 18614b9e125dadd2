package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// An Outcome is what becomes of a call.
type Outcome struct {
	Key  shard.Key
	Op   shard.Op
	Hold *Hold // of an Acquire that succeeded
	Err  error
}

// A Sink is where the outcome of a call goes: in practice a channel. It is
// compared to know which outcomes share a channel, so it must be comparable.
type Sink interface {
	// Try sends at once, or reports that there is no room.
	Try(Outcome) bool
	// Send waits for room, and gives up when left or stop is closed.
	Send(o Outcome, left, stop <-chan struct{}) bool
}

// The states of a call. It leaves waiting once.
const (
	waiting int32 = iota
	settled       // an outcome was decided
	left          // the caller has gone
)

// A Call is one request of the store. It is made by one of the constructors,
// used once, and owned by the engine from [Engine.Submit] on.
type Call struct {
	node  node // to the loop
	leave node // to the loop, when the caller leaves

	op      shard.Op
	event   lifecycle.Event
	key     shard.Key
	ctx     context.Context            //nolint:containedctx // governs the waiting for the outcome, nothing else
	sink    Sink                       // nil: nobody wants to know
	patient bool                       // the caller watches ctx itself and calls Leave
	record  *catalog.Record            // Register: what to remember
	revise  func(*catalog.Record) bool // Amend: see cause
	beside  *beside                    // Remount, Replace: what is to be done
	ready   bool                       // Acquire: only if it need not wait for an index
	near    bool                       // Acquire: only if it reaches no source
	copy    uint32                     // Evict by the engine itself: the copy that is to go
	missing bool                       // and it is not there
	token   bool                       // holds a commit token
	begun   time.Time                  // when it was submitted; zero if nobody wants to know
	span    trace.Span                 // nil without a tracer

	background bool // work for it alone goes after all that is not
	revives    bool // Recover: only if the shard has failed and its wait is over

	state atomic.Int32
	stop  func() bool // ends the watch over ctx

	// The loop's: in which list of which entry the call waits.
	entry         *entry
	place         place
	before, after *Call
}

// A place is a list of an entry in which a call waits.
type place uint8

const (
	nowhere    place = iota
	inLoad           // for the record
	inParked         // for the index, to acquire
	inOpeners        // for the opening
	inWatchers       // for the end of the indexing
	inJoined         // for the end of the shard
	inBeside         // for the work beside
	places           // how many there are
)

// NewRegister asks to register what r says; lazily or not.
func NewRegister(ctx context.Context, r *catalog.Record, lazy bool, sink Sink) *Call {
	ev := lifecycle.Register
	if lazy {
		ev = lifecycle.RegisterLazy
	}
	return &Call{op: shard.OpRegister, event: ev, key: r.Key, ctx: ctx, sink: sink, record: r}
}

// AcquireOptions narrows an Acquire.
type AcquireOptions struct {
	Near  bool // shard.ErrRemote instead of reaching a source that is not on this machine
	Ready bool // shard.ErrBusy instead of waiting for an index

	Background bool // see [Call.InBackground]
}

// NewAcquire asks for a hold on key.
func NewAcquire(ctx context.Context, key shard.Key, o AcquireOptions, sink Sink) *Call {
	c := &Call{}
	c.acquire(ctx, key, o)
	c.sink = sink
	return c
}

// acquire makes c, whatever it was, ask for a hold on key.
func (c *Call) acquire(ctx context.Context, key shard.Key, o AcquireOptions) {
	*c = Call{
		op: shard.OpAcquire, event: lifecycle.Acquire, key: key, ctx: ctx,
		near: o.Near, ready: o.Ready, background: o.Background,
	}
}

// NewRecover asks for another try at key.
func NewRecover(ctx context.Context, key shard.Key, sink Sink) *Call {
	return &Call{op: shard.OpRecover, event: lifecycle.Recover, key: key, ctx: ctx, sink: sink}
}

// NewDestroy asks to give key up; manner is one of the three events of
// Destroy that name a manner.
func NewDestroy(ctx context.Context, key shard.Key, manner lifecycle.Event, sink Sink) *Call {
	return &Call{op: shard.OpDestroy, event: manner, key: key, ctx: ctx, sink: sink}
}

// Patient says that the caller watches its context itself and calls
// [Engine.Leave] when it ends. It must be set before Submit.
func (c *Call) Patient() *Call {
	c.patient = true
	return c
}

// InBackground says that work that is done for this call alone goes after all
// work that somebody else waits for. It must be set before Submit.
func (c *Call) InBackground() *Call {
	c.background = true
	return c
}

// persists reports whether the call is one that may write the catalogue.
func (c *Call) persists() bool { return c.op != shard.OpAcquire }

// Submit hands c to the loop. It waits, under the call's context, only for
// room in the queue and, for a call that writes, for a commit token. After an
// error there will be no outcome; after nil there will be one, unless the
// caller leaves first.
func (e *Engine) Submit(c *Call) error {
	if err := c.ctx.Err(); err != nil {
		return fail(c.key, c.op, err)
	}
	e.asked(c)
	err := e.submit(c)
	if err != nil {
		e.answered(c, err)
	}
	return err
}

func (e *Engine) submit(c *Call) error {
	e.measure()
	if c.persists() {
		if err := e.take(c, e.tokens); err != nil {
			return err
		}
		c.token = true
	}
	if err := e.take(c, e.room); err != nil {
		e.freeToken(c)
		return err
	}
	c.node.what, c.node.of = whatCall, c
	if !e.enter() {
		<-e.room
		e.freeToken(c)
		return e.cfg.Closed
	}
	e.box.call(&c.node)
	e.exit()
	return nil
}

// take waits for one place in sem.
func (e *Engine) take(c *Call, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	default:
	}
	select {
	case sem <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return fail(c.key, c.op, c.ctx.Err())
	case <-e.closing:
		return e.cfg.Closed
	}
}

func (e *Engine) freeToken(c *Call) {
	if c.token {
		c.token = false
		<-e.tokens
	}
}

// Leave says that the caller has gone. If it returns true there will be no
// outcome, and what the call would have been given is taken back; otherwise
// the outcome was sent already, or is being sent.
func (e *Engine) Leave(c *Call) bool {
	if !c.state.CompareAndSwap(waiting, left) {
		return false
	}
	e.answered(c, c.ctx.Err())
	c.leave.what, c.leave.of = whatLeave, c
	e.box.call(&c.leave)
	return true
}

// watch has Leave called when the context of a call that is going to wait
// ends.
func (e *Engine) watch(c *Call) {
	if c.patient || c.stop != nil || c.ctx.Done() == nil {
		return
	}
	c.stop = context.AfterFunc(c.ctx, func() { e.Leave(c) })
}

// A Hold keeps a shard open for one holder.
type Hold struct {
	node   node
	e      *Engine
	entry  *entry
	epoch  uint32
	handle *local.Handle
	record *catalog.Record
	closed atomic.Bool
}

// Handle returns the open shard.
func (h *Hold) Handle() *local.Handle { return h.handle }

// Record returns what the catalogue knew of the shard when it was acquired.
func (h *Hold) Record() *catalog.Record { return h.record }

// Close lets go. It neither waits nor allocates; a second Close does nothing.
func (h *Hold) Close() {
	if h.closed.Swap(true) {
		return
	}
	h.node.what, h.node.of = whatRelease, h
	h.e.box.call(&h.node)
}

// Closed reports whether Close was called.
func (h *Hold) Closed() bool { return h.closed.Load() }

// fail wraps err in a [shard.Error] unless it is one about this key already.
func fail(key shard.Key, op shard.Op, err error) error {
	var have *shard.Error
	if errors.As(err, &have) && have.Key == key {
		return err
	}
	return &shard.Error{Key: key, Op: op, Err: err}
}
