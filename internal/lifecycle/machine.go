package lifecycle

import "github.com/dagstore/dagstore/shard"

// Work is what is under way for a shard, besides openings.
type Work uint8

const (
	NoWork Work = iota
	Index       // its CAR is being fetched and indexed
	Beside      // another source is being checked or indexed
)

// A Machine is where one shard stands. It is changed by [Machine.Step] alone
// and is not safe for concurrent use: it belongs to the loop.
type Machine struct {
	State   shard.State
	Work    Work
	Holders int32 // holds given out, and callers who wait for the opening
	Opening int32 // of these, the callers who wait for the opening
	Parked  int32 // callers who wait for the index
}

// New returns the machine of a shard of which nothing is known.
func New() Machine { return Machine{State: shard.Gone} }

// Step moves the machine on e and returns what must be done, in bit order. It
// does the counting itself: an effect such as [Park] is already counted, and
// after [Unpark] nobody is parked until the engine sends them again.
func (m *Machine) Step(e Event) Effects {
	e = m.Guard(e)
	next, do := look(m.State, e)
	m.count(e, next, do)
	m.State = next
	return do
}

// Refused puts a machine with holders back to where the disk has the shard,
// after [CommitFailed]: what led away from there was not written. Holders hold
// on; healthy says whether the shard is indexed there.
func (m *Machine) Refused(healthy bool) {
	switch {
	case m.Holders == 0:
	case healthy:
		m.State = shard.Serving
	default:
		m.State = shard.Draining
	}
}

// Guard returns the event to look up when the engine reports e: the names of
// some events say how many are left, which the machine counts.
func (m *Machine) Guard(e Event) Event {
	switch e {
	case Release:
		if m.Holders == 1 {
			return ReleaseLast
		}
	case CancelOpening:
		if m.Holders == 1 {
			return CancelOpeningLast
		}
	case OpenFailed:
		if m.Holders == m.Opening {
			return OpenFailedLast
		}
	case Lost:
		if m.Holders > m.Opening {
			return LostHeld
		}
	case DestroyRefuse, DestroyWait, DestroyForce:
		if m.Holders == 0 {
			return Destroy
		}
	case Remount, Replace:
		if m.Work != NoWork {
			return Busy
		}
	default: // the name does not depend on a number
	}
	return e
}

// count keeps the numbers in step with what the effects do to callers.
func (m *Machine) count(e Event, next shard.State, do Effects) {
	switch e {
	case Release, ReleaseLast:
		m.Holders--
	case CancelOpening, CancelOpeningLast:
		m.Holders--
		m.Opening--
	case CancelParked:
		m.Parked--
	case Indexed, Failed, FailedBad, Remounted, RemountFailed, Replaced, ReplaceFailed:
		m.Work = NoWork
	default: // what it changes, its effects tell
	}
	// Work on the shard itself has to stop before the shard can go; work
	// beside it is abandoned.
	if do&Cut != 0 && (next != shard.Destroying || m.Work != Index) {
		m.Work = NoWork
	}
	switch {
	case do&Start != 0:
		m.Work = Index
	case do&StartBeside != 0:
		m.Work = Beside
	}
	switch {
	case do&Sever != 0:
		m.Holders, m.Opening = 0, 0
	case do&Deliver != 0:
		m.Opening = 0
	case do&FailOpeners != 0:
		m.Holders -= m.Opening
		m.Opening = 0
	case do&ParkOpeners != 0:
		m.Holders -= m.Opening
		m.Parked += m.Opening
		m.Opening = 0
	case do&Open != 0:
		m.Holders++
		m.Opening++
	}
	switch {
	case do&(Unpark|FailParked) != 0:
		m.Parked = 0
	case do&Park != 0:
		m.Parked++
	}
}
