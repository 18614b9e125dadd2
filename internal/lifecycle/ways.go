package lifecycle

import "github.com/dagstore/dagstore/shard"

// A Way leads from one state to another.
type Way struct {
	From, To shard.State
	On       []Event // what makes a shard go there
}

// Ways are all changes of state in the table, in the order of the states. That
// a shard is forgotten to be read again, as after a refused commit, is none.
func Ways() (ways []Way) {
	for from := registered; from <= gone; from++ {
		for to := registered; to <= gone; to++ {
			w := Way{From: from, To: to}
			for e := range numEvents {
				next, do := look(from, e)
				if from != to && next == to && !do.Has(Reload) {
					w.On = append(w.On, e)
				}
			}
			if len(w.On) > 0 {
				ways = append(ways, w)
			}
		}
	}
	return ways
}

// Loads reports whether e is that a record was read, and nothing happened to
// the shard.
func (e Event) Loads() bool { return e >= LoadedRegistered && e <= LoadedDestroying }

// About says in a few words what it means that a shard is in a state.
func About(s shard.State) string { return abouts[s] }

var abouts = [gone + 1]string{
	registered:   "known, not indexed; the first use indexes it",
	initializing: "being read and indexed for the first time",
	available:    "indexed, nobody holds it",
	serving:      "indexed, somebody holds it or waits for it to be opened",
	recovering:   "being read and indexed again after a failure",
	draining:     "failed while held: holders may finish, nobody new comes in",
	destroying:   "to be gone when work has stopped and the last holder lets go",
	errored:      "failed, nobody holds it; waits for Recover or Destroy",
	gone:         "never registered, or destroyed",
}
