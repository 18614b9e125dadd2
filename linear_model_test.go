package dagstore

import (
	"math/bits"

	"github.com/anishathalye/porcupine"

	"github.com/dagstore/dagstore/shard"
)

// The calls in a concurrent history. Some are two with one interval. Of a Destroy
// the first lets in nobody new, with the second the shard is gone. An Info tells
// what is on disk, and beside it who holds and waits at the moment: two things,
// of which the latter is asked only when nothing is on its way to the disk.
type linearOp uint8

const (
	linRegister linearOp = iota
	linAcquire
	linRelease
	linRecover
	linBegin // of a Destroy
	linEnd   // of a Destroy
	linPin
	linUnpin
	linInfo // of an Info: what is on disk
	linHeld // of an Info: who holds and who waits, at the moment
	linTry  // of an Acquire that fails: it counts as a holder
	linFail // the end of that; if the caller has left, some time later
	linRestart
)

// A linearInput is what a client asked.
type linearInput struct {
	op     linearOp
	client int
	place  int
	manner HeldPolicy // of a Destroy
}

// An answer is a class of outcomes.
type answer uint8

const (
	done      answer = iota
	unknown          // shard.ErrUnknown
	exists           // shard.ErrExists
	keyUsed          // shard.ErrKeyUsed
	isHeld           // shard.ErrHeld
	going            // shard.ErrDestroying
	noSource         // the source cannot be read, or could not be
	uncertain        // the caller cannot know: it may have happened, or not
)

// A linearOutput is what came of it; the fields are of Info.
type linearOutput struct {
	answer answer
	state  shard.State
	place  int
	pin    bool
	held   int
	wait   int
}

// linearState is one shard.
type linearState struct {
	there bool
	dying bool
	place int
	pin   bool
	held  uint8 // which clients hold it
	tries uint8 // how many are about to fail to; a client that has left may be back
}

// linearModel is what one key of a store does, one call after the other.
func linearModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{linearState{}} },
		Step: func(s, in, out any) []any {
			var all []any
			for _, next := range linearStep(s.(linearState), in.(linearInput), out.(linearOutput)) {
				all = append(all, next)
			}
			return all
		},
	}
	return m.ToModel()
}

// linearStep is every state that may be next; none if this cannot be.
func linearStep(s linearState, in linearInput, out linearOutput) []linearState {
	stays := []linearState{s}
	only := func(ok bool) []linearState {
		if ok {
			return stays
		}
		return nil
	}
	alive := s.there && !s.dying
	switch in.op {
	case linRestart:
		s.held, s.tries = 0, 0
		if !s.dying {
			return []linearState{s}
		}
		s.dying = false
		return []linearState{s, {}}
	case linInfo:
		if out.answer == unknown {
			return only(!s.there)
		}
		return only(s.there && out.place == s.place && out.pin == s.pin && (out.state != shard.Destroying || s.dying))
	case linHeld:
		least := bits.OnesCount8(s.held) // with those who wait for the opening
		most := least + int(s.tries)
		return only(out.held <= most && least <= out.held+out.wait)
	case linRelease:
		let := s
		let.held &^= 1 << in.client
		return perhaps(out, s, let)
	case linRegister:
		return linearRegister(s, in, out)
	case linBegin, linEnd:
		return linearDestroy(s, in, out)
	case linTry:
		s.tries++
		return []linearState{s}
	case linFail:
		switch {
		case s.tries == 0,
			out.answer == noSource && !s.there,
			out.answer == unknown && s.there,
			out.answer == going && !s.dying,
			out.answer > uncertain:
			return nil
		}
		s.tries--
		return []linearState{s}
	case linAcquire, linRecover, linPin, linUnpin: // what comes out decides
	}
	switch out.answer {
	case unknown:
		return only(!s.there)
	case going:
		return only(s.dying)
	case noSource:
		return only(s.there && in.op != linPin && in.op != linUnpin)
	case isHeld:
		return only((s.held != 0 || s.tries != 0) && in.op == linRecover)
	case done, uncertain:
	default:
		return nil
	}
	next := s
	switch in.op {
	case linAcquire:
		next.held |= 1 << in.client
	case linPin, linUnpin:
		next.pin = in.op == linPin
	default: // linRecover
	}
	// A pin that came before a forced destroy may reach the disk together with it.
	if !alive && (in.op == linAcquire || !s.there) {
		return only(out.answer == uncertain)
	}
	return perhaps(out, s, next)
}

// perhaps is next, and also s if the caller cannot know.
func perhaps(out linearOutput, s, next linearState) []linearState {
	if out.answer == uncertain {
		return []linearState{s, next}
	}
	return []linearState{next}
}

func linearRegister(s linearState, in linearInput, out linearOutput) []linearState {
	made := linearState{there: true, place: in.place, tries: s.tries}
	switch out.answer {
	case done, noSource:
		if !s.there {
			return []linearState{made}
		}
	case exists, keyUsed:
		if s.there && (s.place == in.place) == (out.answer == exists) {
			return []linearState{s}
		}
	case going: // it was, or what was just registered is
		if s.dying {
			return []linearState{s}
		}
		if !s.there {
			return []linearState{made}
		}
	case uncertain:
		if !s.there {
			return []linearState{s, made}
		}
		return []linearState{s}
	default: // no answer of Register
	}
	return nil
}

func linearDestroy(s linearState, in linearInput, out linearOutput) []linearState {
	dying := s
	dying.dying = true
	if in.manner == Force {
		dying.held = 0
	}
	mayBegin := s.there && (in.manner != Refuse || s.held == 0)
	mayEnd := s.dying && s.held == 0
	switch {
	case out.answer == done && in.op == linBegin && mayBegin:
		return []linearState{dying}
	case out.answer == done && in.op == linEnd && mayEnd:
		return []linearState{{tries: s.tries}}
	case out.answer == done && in.op == linEnd && !s.there:
		return []linearState{s} // by another one
	case out.answer == uncertain && in.op == linBegin && mayBegin:
		return []linearState{s, dying}
	case out.answer == uncertain && in.op == linEnd && s.dying:
		s.dying = false // it was refused by the disk
		if mayEnd {
			return []linearState{s, dying, {tries: s.tries}}
		}
		return []linearState{s, dying}
	case out.answer == uncertain,
		out.answer == unknown && !s.there,
		out.answer == isHeld && (s.held != 0 || s.tries != 0),
		out.answer == going && s.dying:
		return []linearState{s}
	}
	return nil
}
