package lifecycle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// A node is a shard as the loop sees it, with the callers that the machine
// does not count and, for law 7 and 3, what lies on disk.
type node struct {
	m        Machine
	watching int  // wait for the index, by Register or Recover
	joined   int  // wait until it is gone
	beside   bool // somebody waits for work beside
	flight   bool // an opening is under way
	indexed  bool // there is an index
}

// sent says which events the engine can send to n.
func (n node) sent(e Event) bool {
	m := n.m
	switch e {
	case Destroy, Busy, ReleaseLast, CancelOpeningLast, OpenFailedLast, LostHeld, Stale:
		return false // the machine's own names; Stale changes nothing
	case Release:
		return m.Holders > m.Opening
	case CancelOpening:
		return m.Opening > 0
	case CancelParked:
		return m.Parked > 0
	case Indexed, Failed, FailedBad:
		return m.Work == Index
	case Remounted, RemountFailed, Replaced, ReplaceFailed:
		return m.Work == Beside
	case Opened, OpenFailed, Confirmed:
		return n.flight
	case Lost: // on opening, or by a read
		return n.flight || m.State == shard.Available || m.State == shard.Serving
	case LoadedRegistered, LoadedAvailable, LoadedErrored, LoadedInitializing, LoadedRecovering, LoadedDestroying:
		return m.State == shard.Gone && !n.flight
	default: // calls, and a disk that fails, come at any time
		return true
	}
}

// apply is what the engine does about e.
func (n node) apply(e Event) (node, Effects) {
	do := n.m.Step(e)
	switch e {
	case Opened, OpenFailed, Lost:
		n.flight = false
	case LoadedAvailable, LoadedRecovering:
		n.indexed = true
	default: // its effects tell the rest
	}
	if do&(Forget|FailOpeners|ParkOpeners|Reload) != 0 {
		n.flight = false // what it brings is stale
	}
	n.flight = n.flight || do.Has(Open)
	if do.Has(Install) {
		n.indexed = true
	}
	if do.Has(Forget) || do.Has(Reload) {
		n.indexed = false
	}
	if do.Has(Watch) {
		n.watching++
	}
	if do&(ReplyWatchers|FailWatchers) != 0 {
		n.watching = 0
	}
	if do.Has(Join) {
		n.joined++
	}
	if do&(ReplyGone|FailGone) != 0 {
		n.joined = 0
	}
	if do.Has(Await) {
		n.beside = true
	}
	if do&(ReplyBeside|FailBeside) != 0 {
		n.beside = false
	}
	return n, do
}

// wrong lists the laws that n breaks.
func (n node) wrong() []string {
	m, s := n.m, n.m.State
	var bad []string
	for why, broke := range map[string]bool{
		"no number is negative":                         m.Holders < 0 || m.Opening < 0 || m.Parked < 0,
		"who waits for the opening holds":               m.Opening > m.Holders,
		"Serving means a holder":                        s == shard.Serving && m.Holders == 0,
		"Draining means a holder":                       s == shard.Draining && m.Holders == 0,
		"only Serving, Draining, Destroying have any":   m.Holders > 0 && s != shard.Serving && s != shard.Draining && s != shard.Destroying,
		"Destroying waits for work or for holders":      s == shard.Destroying && m.Holders == 0 && m.Work != Index,
		"nobody parks where no work is under way":       m.Parked > 0 && m.Work != Index,
		"nobody watches where no work is under way":     n.watching > 0 && m.Work != Index,
		"nobody waits for the end of what does not end": n.joined > 0 && s != shard.Destroying,
		"who waits for work beside has it":              n.beside && m.Work != Beside,
		"Initializing and Recovering mean work":         (s == shard.Initializing || s == shard.Recovering) && m.Work != Index,
		"Gone means nothing":                            s == shard.Gone && (m.Work != NoWork || m.Parked > 0 || n.watching > 0),
		"Available and Serving mean an index":           (s == shard.Available || s == shard.Serving) && !n.indexed,
		"who waits for the opening has one":             m.Opening > 0 && !n.flight,
	} {
		if broke {
			bad = append(bad, why)
		}
	}
	return bad
}

func (n node) small() bool {
	return n.m.Holders <= 3 && n.m.Parked <= 2 && n.watching <= 2 && n.joined <= 2
}

// TestWalk visits every node that can be reached with a few callers of each
// kind, and tells the shortest way to one that breaks a law.
func TestWalk(t *testing.T) {
	type step struct {
		n   node
		way []Event
	}
	seen, queue := map[node]bool{}, []step{{n: node{m: New()}}}
	met := map[shard.State]map[Event]bool{}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if seen[at.n] {
			continue
		}
		seen[at.n] = true
		for _, why := range at.n.wrong() {
			t.Fatalf("%s: %+v after %v", why, at.n, at.way)
		}
		for e := range numEvents {
			if !at.n.sent(e) {
				continue
			}
			way := append(slices.Clip(at.way), e)
			guarded := at.n.m.Guard(e)
			next, do := at.n.apply(e)
			if do.Has(Never) {
				t.Fatalf("%v × %v cannot happen, and does: %v", at.n.m.State, guarded, way)
			}
			if do.Has(Reject) && next != at.n {
				t.Fatalf("%v × %v is refused, and changes %+v to %+v", at.n.m.State, guarded, at.n, next)
			}
			if met[at.n.m.State] == nil {
				met[at.n.m.State] = map[Event]bool{}
			}
			met[at.n.m.State][guarded] = true
			if do.Has(Reload) {
				continue // the next event is that of a load, on a new machine
			}
			if next.small() {
				queue = append(queue, step{next, way})
			}
		}
	}
	each(func(s shard.State, e Event, _ shard.State, do Effects) {
		if !do.Has(Never) && e != Stale && !met[s][e] {
			t.Errorf("%v × %v has a rule (%v), and no way leads there", s, e, do)
		}
	})
	t.Log(fmt.Sprint(len(seen), " nodes"))
}

func BenchmarkStep(b *testing.B) {
	m := New()
	m.Step(LoadedAvailable)
	b.ReportAllocs()
	for b.Loop() {
		m.Step(Acquire)
		m.Step(Opened)
		m.Step(Release)
	}
}

// What was refused under holders is as if it had not been asked for.
func TestRefused(t *testing.T) {
	m := New()
	for _, e := range []Event{LoadedAvailable, Acquire, Opened, DestroyWait, CommitFailed} {
		m.Step(e)
	}
	if m.Refused(true); m.State != shard.Serving || m.Holders != 1 {
		t.Errorf("a refused destroy: %+v", m)
	}
	if m.Step(Release); m.State != shard.Available {
		t.Errorf("after the last release: %+v", m)
	}
	m.Step(Acquire)
	if m.Refused(false); m.State != shard.Draining {
		t.Errorf("a failure that is on disk: %+v", m)
	}
	idle := New()
	if idle.Refused(true); idle.State != shard.Gone {
		t.Errorf("without holders: %+v", idle)
	}
}
