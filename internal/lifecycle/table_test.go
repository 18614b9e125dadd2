package lifecycle

import (
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// each calls fn on every cell of the table.
func each(fn func(s shard.State, e Event, next shard.State, do Effects)) {
	for s := shard.Registered; s <= shard.Gone; s++ {
		for e := range numEvents {
			next, do := look(s, e)
			fn(s, e, next, do)
		}
	}
}

func TestEveryCellIsDecided(t *testing.T) {
	each(func(s shard.State, e Event, next shard.State, _ Effects) {
		if next < shard.Registered || next > shard.Gone {
			t.Errorf("%v × %v: no rule", s, e)
		}
	})
}

func TestEveryNameIsGiven(t *testing.T) {
	seen := map[string]bool{}
	for e := range numEvents {
		if e.String() == "" || seen[e.String()] {
			t.Errorf("event %d is called %q", e, e)
		}
		seen[e.String()] = true
	}
	if last := Effects(1) << (len(effectNames) - 1); last != Never {
		t.Errorf("the last effect is %b, the last name is for %b", Never, last)
	}
}

func indexed(s shard.State) bool { return s == shard.Available || s == shard.Serving }

func held(s shard.State) bool {
	return s == shard.Serving || s == shard.Draining || s == shard.Destroying
}

func awaits(s shard.State) bool { return s == shard.Initializing || s == shard.Recovering }

// laws are what every cell of the table keeps; broke says that one does not.
var laws = []struct {
	why   string
	broke func(s shard.State, e Event, next shard.State, do Effects) bool
}{
	{"a refusal changes nothing", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return do&Reject != 0 && (next != s || do != Reject)
	}},
	{"what cannot happen changes nothing", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return do&Never != 0 && (next != s || do != Never)
	}},
	{"only a completed index leads out of an error", func(s shard.State, e Event, next shard.State, _ Effects) bool {
		bad := s == shard.Errored || s == shard.Recovering || s == shard.Draining
		return bad && indexed(next) && e != Indexed && e != Replaced
	}},
	{"an index is installed exactly when one is completed for a shard that wants it", func(s shard.State, e Event, _ shard.State, do Effects) bool {
		return do.Has(Install) != ((e == Indexed || e == Replaced) && do&(Never|Discard) == 0)
	}},
	{"work is started only on the way to a state that awaits it", func(_ shard.State, _ Event, next shard.State, do Effects) bool {
		return do.Has(Start) && !awaits(next)
	}},
	{"whoever enters a state that awaits work has started it", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return awaits(next) && next != s && !do.Has(Start)
	}},
	{"a record is deleted exactly when the shard is gone", func(s shard.State, e Event, next shard.State, do Effects) bool {
		return do.Has(Forget) != (next == shard.Gone && (s != shard.Gone || e == LoadedDestroying) && !do.Has(Reload))
	}},
	{"what is deleted takes its index and its copy along", func(_ shard.State, _ Event, _ shard.State, do Effects) bool {
		return do.Has(Forget) != do.Has(DropIndex)
	}},
	{"an index is dropped under holders only if their holds have ended", func(s shard.State, e Event, _ shard.State, do Effects) bool {
		ended := e == ReleaseLast || e == CancelOpeningLast || e == OpenFailedLast || e == Lost || do.Has(Sever) ||
			e == Indexed || e == Failed || e == FailedBad
		return do.Has(DropIndex) && held(s) && !ended
	}},
	{"a copy is dropped under nobody", func(s shard.State, _ Event, _ shard.State, do Effects) bool {
		return do.Has(DropCopy) && !do.Has(DropIndex) && held(s)
	}},
	{"readers park only where work is under way", func(_ shard.State, _ Event, next shard.State, do Effects) bool {
		return do&(Park|ParkOpeners|Watch) != 0 && !awaits(next)
	}},
	{"whoever parks is answered when the state ends", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return awaits(s) && next != s && do&(Unpark|FailParked) == 0
	}},
	{"whoever watches is answered when the state ends", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return awaits(s) && next != s && do&(ReplyWatchers|FailWatchers) == 0
	}},
	{"whoever waits for the end hears of it", func(s shard.State, e Event, next shard.State, do Effects) bool {
		return s == shard.Destroying && next == shard.Gone && !do.Has(ReplyGone)
	}},
	{"work that is cut answers who waited for it", func(s shard.State, _ Event, next shard.State, do Effects) bool {
		return do.Has(Cut) && do&(FailBeside|FailWatchers) == 0
	}},
	{"a hold is given only where there is an index", func(_ shard.State, _ Event, next shard.State, do Effects) bool {
		return do.Has(Open) && next != shard.Serving
	}},
	{"to acquire and to let go of an indexed shard writes nothing", func(s shard.State, e Event, _ shard.State, do Effects) bool {
		hold := e == Acquire || e == Release || e == ReleaseLast || e == CancelOpening || e == CancelOpeningLast || e == Opened || e == OpenFailed || e == OpenFailedLast
		return hold && (indexed(s) || s == shard.Draining) && do&(Persist|Forget) != 0
	}},
	{"a source that cannot be reached makes no shard errored", func(_ shard.State, e Event, next shard.State, do Effects) bool {
		return (e == OpenFailed || e == OpenFailedLast) && next == shard.Errored && do&(Discard|Never) == 0
	}},
	{"what late work made is discarded", func(_ shard.State, e Event, _ shard.State, do Effects) bool {
		return e == Stale && do != Discard
	}},
	{"a revision moves nothing, is written, and comes by no other event", func(s shard.State, e Event, next shard.State, do Effects) bool {
		revises := e == Amend || e == Confirmed
		return do.Has(Revise) && (next != s || !revises || do&^Reply != Revise|Persist) ||
			revises && do.Has(Persist) && !do.Has(Revise)
	}},
	{"a failed commit writes nothing", func(_ shard.State, e Event, _ shard.State, do Effects) bool {
		return e == CommitFailed && do&(Persist|Forget|Start|StartBeside) != 0
	}},
	{"every call is answered, refused or made to wait, once", func(_ shard.State, e Event, _ shard.State, do Effects) bool {
		if e > Amend || do.Has(Never) {
			return false
		}
		n := 0
		for _, way := range []Effects{Watch, Park, Open, Join, Await, Reply, Reject} {
			if do.Has(way) {
				n++
			}
		}
		return n != 1
	}},
}

func TestLaws(t *testing.T) {
	for _, law := range laws {
		t.Run(law.why, func(t *testing.T) {
			each(func(s shard.State, e Event, next shard.State, do Effects) {
				if law.broke(s, e, next, do) {
					t.Errorf("%v × %v → %v, %v", s, e, next, do)
				}
			})
		})
	}
}

// A law that no cell could break would prove nothing.
func TestLawsCanBeBroken(t *testing.T) {
	broken := map[string]bool{}
	for s := shard.Registered; s <= shard.Gone; s++ {
		for e := range numEvents {
			for next := shard.Registered; next <= shard.Gone; next++ {
				for bit := Effects(0); bit <= Never; bit = max(1, bit<<1) {
					for _, law := range laws {
						broken[law.why] = broken[law.why] || law.broke(s, e, next, bit)
					}
				}
			}
		}
	}
	for _, law := range laws {
		if !broken[law.why] {
			t.Errorf("nothing breaks %q", law.why)
		}
	}
}

func TestEveryStateIsReachedAndCanEnd(t *testing.T) {
	reach := func(from shard.State) map[shard.State]bool {
		seen, queue := map[shard.State]bool{from: true}, []shard.State{from}
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			for e := range numEvents {
				if next, do := look(s, e); !do.Has(Reload) && !seen[next] {
					seen[next] = true
					queue = append(queue, next)
				}
			}
		}
		return seen
	}
	all := reach(shard.Gone)
	for s := shard.Registered; s <= shard.Gone; s++ {
		if !all[s] {
			t.Errorf("%v is never reached", s)
		}
		if !reach(s)[shard.Gone] {
			t.Errorf("%v can never end", s)
		}
	}
}
