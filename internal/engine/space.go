package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// Space is how much room the disk has.
type Space uint32

const (
	Ample Space = iota // for everything
	Low                // not for new work
	Full               // for nothing but the end of what has begun, and for what is to go
)

// spaceEvery is how often it is looked for space while work waits for it.
const spaceEvery = time.Second

// measure asks how much room there is. The loop does not call it: it may wait
// for the disk.
func (e *Engine) measure() Space {
	if e.cfg.Space == nil {
		return Ample
	}
	now := e.cfg.Space()
	if was := Space(e.space.Load()); was != now && e.space.CompareAndSwap(uint32(was), uint32(now)) {
		switch now {
		case Ample:
			e.cfg.Log.Info("there is space again")
		default:
			e.cfg.Log.Warn("there is little space left: new work waits, reads go on", "full", now == Full)
		}
	}
	return now
}

// scarce is what was measured last.
func (e *Engine) scarce() bool { return Space(e.space.Load()) != Ample }

// cramped reports whether a call asks for what there is no room for: work
// that has not begun or, when the disk is full, any change but a Destroy.
func (e *Engine) cramped(en *entry, c *Call) bool {
	if !e.scarce() {
		return false
	}
	switch c.op {
	case shard.OpRegister, shard.OpRemount, shard.OpReplace:
		return true
	case shard.OpAcquire:
		return e.idleWork(en) || en.machine.State == shard.Errored && e.cfg.Retry.OnAcquire && e.due(en.record.Failure)
	case shard.OpRecover:
		return en.machine.State == shard.Errored || en.machine.State != shard.Registered && e.idleWork(en)
	case shard.OpDestroy, shard.OpEvict:
		return false
	default:
		return Space(e.space.Load()) == Full
	}
}

// idleWork reports whether a shard has to be indexed and that has not begun.
func (e *Engine) idleWork(en *entry) bool {
	switch en.machine.State {
	case shard.Registered:
		return true
	case shard.Initializing, shard.Recovering:
		return en.indexing == nil || en.indexing.ticket.line != nil
	default:
		return false
	}
}

// noSpace gives an error that says that the disk is full the sentinel for that.
func (e *Engine) noSpace(err error) error {
	if e.cfg.NoSpace == nil || !vfs.IsFull(err) || errors.Is(err, e.cfg.NoSpace) {
		return err
	}
	return fmt.Errorf("%w: %w", e.cfg.NoSpace, err)
}

// roomy returns an error unless there is room to write an index.
func (e *Engine) roomy() error {
	if e.measure() == Full {
		return e.cfg.NoSpace
	}
	return nil
}

// A probe waits a moment, and looks whether there is space again.
type probe struct{ node node }

// startProbe has it looked for space until there is some.
func (e *Engine) startProbe() {
	if e.loop.probing || e.shut.Load() {
		return
	}
	e.loop.probing = true
	p := &probe{}
	p.node.what, p.node.of = whatDone, p
	e.workers.Go(func() {
		e.pause(spaceEvery)
		e.measure()
		e.box.complete(&p.node)
	})
}

// pause waits for d, or until the engine closes.
func (e *Engine) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.work.Done():
	}
}

func (p *probe) finish(e *Engine) {
	e.loop.probing = false
	e.startIndexing()
	e.flush()
}

func (p *probe) abandon(*Engine) {}
