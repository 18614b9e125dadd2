package dagstore

import (
	"slices"

	"github.com/dagstore/dagstore/shard"
)

// known is what a shard must be, as far as a caller can know: the dumb model.
type known struct {
	state      shard.State // Registered, Available, Errored; 0: there is none
	place      int
	car        int // that is indexed, while Available
	pin        bool
	discard    bool
	touched    uint8 // the CARs, as bits, that lay there since it was indexed, and that it may be by now
	destroying bool

	serve shard.Mode
	had   uint8 // the CARs, as bits, that a copy may be of

	policy IndexPolicy
	doubt  bool // its index is a claim, and what it was taken from may have been a lie
	sets   [sagaSets]set
}

// believes says that an index which came with the CAR may be taken in.
func (k known) believes() bool {
	return k.policy == Sample || k.policy == Adopt || k.policy == AutoIndex // elsewhere
}

// stale says that the next opening will find another CAR.
func (k known) stale() bool { return k.touched != 0 && k.state == shard.Available }

// copies says that a copy may be read in place of the source, whatever lies there.
func (k known) copies() bool { return k.serve == shard.Copy }

// variants is k, or what it becomes by itself.
func (w *saga) variants(k known) []known {
	all := []known{k}
	if k.stale() {
		for c := range badCAR {
			if renewed := k; k.touched&(1<<c) != 0 {
				renewed.car, renewed.touched = c, 0
				if now := w.lies[k.place]; now != c {
					renewed.touched = 1 << now
				}
				all = append(all, renewed)
			}
		}
		failed := k
		failed.state, failed.touched = shard.Errored, 0
		if w.down[k.place].Load() || w.shy[k.place].Load() {
			all = append(all, failed)
		}
	}
	return all
}

// matches reports whether what Info says is k.
func (w *saga) matches(key int, k known, in *shard.Info) bool {
	if k.state == 0 || in == nil {
		return k.state == 0 && in == nil
	}
	held := w.held(key)
	state := k.state
	switch {
	case k.destroying:
		state = shard.Destroying
	case state == shard.Available && held > 0:
		state = shard.Serving
	case state == shard.Errored && held > 0:
		state = shard.Draining
	}
	if in.State != state || in.Holders != held || in.URL != placeURL(k.place) || in.Local.Pinned != k.pin {
		return false
	}
	return (k.state != shard.Available || len(in.Roots) == 1 && in.Roots[0] == w.cars.blocks[k.car][0].CID) &&
		(!in.Claimed || k.believes())
}

// An ending is one way in which a call may end.
type ending struct {
	err  error // nil: without one
	next known
}

// same is a call that leaves everything as it is.
func same(k known, err error) []ending { return []ending{{err, k}} }

// ops are the calls; expect says how each may end.
const (
	opRegister = iota
	opAcquire
	opRelease
	opRecover
	opDestroy
	opDestroyWait
	opDestroyForce
	opRemount
	opReplace
	opPin
	opUnpin
	opEvict
	opSleep  // more than a day passes
	opSwitch // a source goes down, or comes back
	opReopen // the store is closed and opened; perhaps a source was touched
	opCrash
	opTidy // what belongs to no shard is removed
	opLay  // another index lies beside a source from now on
	opPutSet
	opRemoveSet
	numOps
)

var opNames = [numOps]string{
	"register", "acquire", "release", "recover", "destroy", "destroy-wait", "destroy-force", "remount",
	"replace", "pin", "unpin", "evict", "sleep", "switch", "reopen", "crash", "tidy",
	"lay", "put-set", "remove-set",
}

// indexing is how an indexing of what lies at k's place ends.
func (w *saga) indexing(k known, first bool) []ending {
	failed := k
	failed.state, failed.touched = shard.Errored, 0
	may := w.indexingOf(k, failed, first)
	if !k.copies() {
		return may
	}
	may = append(may, ending{shard.ErrQuota, failed}) // pinned copies may fill it
	for c := range badCAR {
		if k.had&(1<<c) != 0 { // of which a copy may be there
			old := k
			old.state, old.car, old.touched = shard.Available, c, 0
			if now := w.lies[k.place]; now != c {
				old.touched = 1 << now
			}
			may = append(may, ending{nil, old})
		}
	}
	return may
}

func (w *saga) indexingOf(k, failed known, first bool) []ending {
	switch c := w.lies[k.place]; {
	case w.down[k.place].Load():
		return []ending{{shard.ErrSource, failed}}
	case w.shy[k.place].Load(): // an index that is believed spares it
		may := []ending{{shard.ErrSource, failed}}
		if c != badCAR {
			k.state, k.car, k.touched = shard.Available, c, 0
			may = append(may, ending{nil, k})
		}
		return may
	case c == badCAR && k.discard && first:
		return []ending{{shard.ErrCAR, known{}}}
	case c == badCAR:
		return []ending{{shard.ErrCAR, failed}}
	default:
		k.state, k.car, k.touched = shard.Available, c, 0
		return []ending{{nil, k}}
	}
}

// expect says how a call may end. What the caller of a step can know decides.
func (w *saga) expect(s step) []ending {
	k := w.known[s.Key]
	if s.Op == opRegister {
		return w.expectRegister(s, k)
	}
	switch {
	case k.state == 0:
		return same(k, shard.ErrUnknown)
	case s.Op == opRemoveSet && k.sets[s.set()] == nil:
		return same(k, ErrNoManifest)
	case s.Op == opRemoveSet: // whatever the shard is up to
		k.sets[s.set()] = nil
		return same(k, nil)
	case k.destroying && s.Op == opDestroyForce:
		return same(known{}, nil)
	case k.destroying && s.Op != opDestroyWait:
		return same(k, shard.ErrDestroying)
	}
	switch s.Op {
	case opPutSet:
		return w.expectPutSet(s, k)
	case opAcquire:
		return w.expectAcquire(k)
	case opRecover:
		if k.state == shard.Errored {
			return w.indexing(k, false)
		}
		return same(k, nil)
	case opDestroy, opDestroyWait, opDestroyForce:
		return w.expectDestroy(s, k)
	case opRemount, opReplace:
		may := w.expectBeside(s, k)
		if k.believes() && k.state == shard.Available { // a claim may be confirmed just now
			may = append(may, ending{shard.ErrBusy, k})
		}
		if k.doubt { // no CAR is what a lie says
			may = append(may, ending{shard.ErrChanged, k})
		}
		if k.stale() { // it may be indexed again just now, or have been
			may = append(may, ending{shard.ErrBusy, k}, ending{shard.ErrChanged, k})
			if c := w.lies[s.Place]; s.Op == opRemount && k.touched&(1<<c) != 0 && !w.down[s.Place].Load() {
				k.place, k.car, k.touched = s.Place, c, 0
				may = append(may, ending{nil, k})
			}
		}
		return may
	case opPin, opUnpin:
		k.pin = s.Op == opPin
		return same(k, nil)
	default: // opEvict
		return w.expectEvict(s, k)
	}
}

func (w *saga) expectEvict(s step, k known) (may []ending) {
	switch {
	case w.held(s.Key) > 0:
		may = same(k, shard.ErrHeld)
	case k.stale(), k.believes():
		may = []ending{{nil, k}, {shard.ErrBusy, k}}
	default:
		may = same(k, nil)
	}
	if s.Flags&flagLast == 0 && w.slept > 0 && (w.down[k.place].Load() || k.had&^(1<<w.lies[k.place]) != 0) {
		may = append(may, ending{shard.ErrLastCopy, k})
	}
	return may
}

// set is which manifest a step is about.
func (s step) set() int { return s.Place % sagaSets }

// put is what a step puts into a manifest of a shard with that CAR: some of its
// blocks, and perhaps one that it does not have.
func (w *saga) put(s step, car int) (content set, strange bool) {
	content = set{}
	for i := range 3 {
		if s.Flags&(1<<i) != 0 {
			content = append(content, string(w.cars.blocks[car][i].CID.Hash()))
		}
	}
	if strange = s.Index%3 > 0; strange {
		content = append(content, string(w.cars.blocks[(car+1)%badCAR][1].CID.Hash()))
	}
	slices.Sort(content)
	return content, strange
}

// loose says that a step puts what the shard need not have.
func (s step) loose() bool { return s.Index%3 == 2 }

func (w *saga) expectPutSet(s step, k known) []ending {
	if k.state == shard.Registered {
		return same(k, shard.ErrBusy)
	}
	content, strange := w.put(s, k.car)
	next := k
	next.sets[s.set()] = content
	may := same(next, nil)
	if strange && !s.loose() {
		may = same(k, ErrNotMember)
	}
	failed := k.state == shard.Errored       // it may have the index of before
	if failed || k.believes() || k.stale() { // it may be indexed again meanwhile
		may = append(may, ending{shard.ErrBusy, k})
	}
	if failed || k.doubt || k.stale() { // or lack what it should have
		may = append(may, ending{ErrNotMember, k})
	}
	return may
}

func (w *saga) expectRegister(s step, k known) []ending {
	switch {
	case k.destroying:
		return same(k, shard.ErrDestroying)
	case k.state != 0 && k.place == s.Place:
		return same(k, shard.ErrExists)
	case k.state != 0:
		return same(k, shard.ErrKeyUsed)
	}
	k = known{state: shard.Registered, serve: s.Serve, place: s.Place, pin: s.Flags&flagPin != 0, discard: s.Flags&flagDiscard != 0, policy: IndexPolicy(s.Index)}
	if s.Flags&flagLazy != 0 {
		return same(k, nil)
	}
	return w.indexing(k, true)
}

func (w *saga) expectAcquire(k known) []ending {
	may := w.expectOpening(k)
	if !k.copies() {
		return may
	}
	for _, next := range nexts(may, nil) { // it is indexed, and then has no copy
		may = append(may, ending{shard.ErrQuota, next}, ending{shard.ErrSource, next})
	}
	if k.state == shard.Available {
		may = append(may, ending{nil, k}, ending{shard.ErrQuota, k}, ending{shard.ErrSource, k})
	}
	return may
}

func (w *saga) expectOpening(k known) []ending {
	switch {
	case k.state == shard.Registered:
		return w.indexing(k, true)
	case k.state == shard.Errored:
		return same(k, shard.ErrFailed)
	case k.stale() && (w.down[k.place].Load() || w.shy[k.place].Load()): // unless it is open, of late
		renewed := k
		renewed.car, renewed.touched = w.lies[k.place], 0
		return []ending{{nil, renewed}, {shard.ErrSource, k}}
	case k.stale():
		return w.indexing(k, false)
	case w.down[k.place].Load(): // it may be open
		return []ending{{nil, k}, {shard.ErrSource, k}}
	default:
		return same(k, nil)
	}
}

func (w *saga) expectDestroy(s step, k known) []ending {
	switch {
	case w.held(s.Key) == 0, s.Op == opDestroyForce:
		return same(known{}, nil)
	case s.Op == opDestroy:
		return same(k, shard.ErrHeld)
	default:
		k.destroying = true
		return same(k, nil)
	}
}

// expectBeside is for Remount and Replace.
func (w *saga) expectBeside(s step, k known) []ending {
	down, c, next := w.down[s.Place].Load(), w.lies[s.Place], k
	next.place, next.touched = s.Place, 0
	if !down && w.shy[s.Place].Load() { // it depends on what it is asked for
		may := same(k, shard.ErrSource)
		return append(may, w.expectNear(s, k, next, false, c)...)
	}
	return w.expectNear(s, k, next, down, c)
}

func (w *saga) expectNear(s step, k, next known, down bool, c int) []ending {
	if s.Op == opReplace {
		return w.expectReplace(k, next, down, c)
	}
	switch {
	case k.state == shard.Registered:
		return same(next, nil) // unseen
	case k.state == shard.Errored: // what it was before it failed is not known here
		return []ending{{nil, next}, {shard.ErrSource, k}, {shard.ErrChanged, k}}
	case down:
		return same(k, shard.ErrSource)
	case c != k.car:
		return same(k, shard.ErrChanged)
	default:
		return same(next, nil)
	}
}

func (w *saga) expectReplace(k, next known, down bool, c int) []ending {
	switch {
	case down:
		return same(k, shard.ErrSource)
	case c == badCAR && k.copies(): // for which there may be no space, either
		return []ending{{shard.ErrCAR, k}, {shard.ErrQuota, k}}
	case c == badCAR:
		return same(k, shard.ErrCAR)
	default:
		next.state, next.car, next.sets = shard.Available, c, [sagaSets]set{}
		may := same(next, nil)
		if k.copies() {
			may = append(may, ending{shard.ErrQuota, k})
		}
		return may
	}
}
