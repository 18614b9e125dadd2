package copies

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
)

// A Config is what a [Keeper] works with.
type Config struct {
	FS    vfs.FS
	Dir   string // the folder of all copies; it is made when the first one is
	Quota int64  // bytes; 0: no copies

	// High and Low are parts of the quota: copies are to go once more than High
	// of it is used, until no more than Low is.
	High, Low float64

	Now func() time.Time

	// Least is how many bytes of a copy that did not become complete are kept, at
	// least; default 1 MiB.
	Least int64

	// Need is called when copies have to go. It must neither block nor call
	// the keeper.
	Need func()
}

// block is what the size of a file is rounded up to before it is counted.
const block = 4 << 10

// A state is where a copy stands.
type state uint8

const (
	filling state = iota // being written
	whole                // complete; no record on disk names it yet
	kept                 // a record on disk names it
	leaving              // no record names it any more: it goes when nobody reads it
	stuck                // it could not be removed
	partly               // not complete, and written by nobody: a remnant
)

// An entry is one copy.
type entry struct {
	id        uint32
	state     state
	held      bool
	pinned    bool
	spare     bool      // nobody has asked for it
	last      bool      // its source may not have it any more
	asked     time.Time // when it was found to be the last
	charge    int64     // bytes that count
	confirmed time.Time // when its source was last known to have it
	used      time.Time

	rest *remnant // of what it is; nil: it is no remnant

	older, newer *entry // in the order of use, while it is kept and not held
	listed       bool
}

// A class of copies, of which the bytes are counted.
type class uint8

const (
	ordinary  class = iota
	going           // that are to be removed
	pinned          // that do not go
	last            // likewise
	immovable       // that could not be removed
	classes
)

// class is where the bytes of e count.
func (e *entry) class() class {
	switch {
	case e.state == leaving:
		return going
	case e.state == stuck:
		return immovable
	case e.state == kept && e.pinned:
		return pinned
	case e.state == kept && e.last:
		return last
	default:
		return ordinary
	}
}

// change changes e, and keeps the sums. The lock is held.
func (k *Keeper) change(e *entry, f func()) {
	k.sums[e.class()] -= e.charge
	k.used -= e.charge
	f()
	k.sums[e.class()] += e.charge
	k.used += e.charge
}

// A Keeper keeps copies. Its methods may be called by any number of goroutines
// at once; those that say nothing else neither wait nor do I/O.
type Keeper struct {
	cfg  Config
	step int64 // flushStep

	mu             sync.Mutex
	entries        map[uint32]*entry
	oldest, newest *entry // those that may be asked to go, by last use
	used           int64  // bytes that are spoken for
	sums           [classes]int64
	count          int       // copies that are kept
	asked          time.Time // no source of a last copy was asked before that
	restored       bool
	unknown        error               // why it is not restored; nil: that is under way
	removed        map[uint32]struct{} // meanwhile

	remnants map[string]*entry  // that can be gone on with, by the key of their shard
	opening  sync.Mutex         // is held while a sparse copy is opened or closed
	open     map[uint32]*Sparse // guarded by mu
	queued   atomic.Int64       // bytes that wait to be written to sparse copies
	seen     atomic.Int64       // units that were read once
	beside   func(f func()) bool

	wanted bool      // a spare copy has found no room
	denied time.Time // when no other could go for that

	growers []*Ask // of fills under way: before all others
	queue   []*Ask // in the order of their coming
}

// New returns a keeper that does not know yet what lies in its folder: whoever
// asks for space waits until [Keeper.Restore] has ended.
func New(cfg Config) *Keeper {
	cfg.High = cmp.Or(cfg.High, 0.95)
	cfg.Low = cmp.Or(cfg.Low, 0.80)
	cfg.Least = cmp.Or(cfg.Least, leastRemnant)
	if cfg.Need == nil {
		cfg.Need = func() {}
	}
	return &Keeper{cfg: cfg, step: flushStep, entries: map[uint32]*entry{}, removed: map[uint32]struct{}{}, open: map[uint32]*Sparse{}, remnants: map[string]*entry{}}
}

// Beside has what is kept of sparse copies written by run, which runs f beside its
// caller, and reports whether it does. Without it whoever reads writes, too. It is
// called before anything else is.
func (k *Keeper) Beside(run func(f func()) bool) { k.beside = run }

// Quota returns how many bytes all copies may have; 0: there are none.
func (k *Keeper) Quota() int64 { return k.cfg.Quota }

// charged is how much a file of size bytes counts.
func charged(size int64) int64 { return (size + block - 1) / block * block }

// Named says that a record on disk names the copy id, which is complete: from
// now on it may be asked to go, unless it is pinned.
func (k *Keeper) Named(id uint32, pin bool, confirmed time.Time) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil && e.state == whole {
		k.change(e, func() { e.state, e.pinned, e.confirmed = kept, pin, confirmed })
		e.used = k.cfg.Now()
		k.count++
		if !e.held {
			k.list(e)
		}
	}
	k.unlock(true)
}

// Pin says whether a copy is pinned.
func (k *Keeper) Pin(id uint32, pin bool) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil {
		k.change(e, func() { e.pinned = pin })
	}
	k.unlock(!pin)
}

// Hold says that somebody holds the shard of a copy, which may not go until
// [Keeper.Rest].
func (k *Keeper) Hold(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[id]; e != nil {
		e.held = true
		k.unlist(e)
	}
}

// Rest says that nobody holds the shard of a copy any more, and that it was used
// until now.
func (k *Keeper) Rest(id uint32) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil {
		e.held = false
		e.used = k.cfg.Now()
		if e.state == kept {
			k.list(e)
		}
	}
	k.unlock(true)
}

// Touch says that a copy was used just now.
func (k *Keeper) Touch(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[id]; e != nil && e.listed {
		e.used = k.cfg.Now()
		k.list(e)
	}
}

// Confirm says when the source of a copy was last known to have the same bytes.
func (k *Keeper) Confirm(id uint32, at time.Time) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil {
		k.change(e, func() { e.confirmed, e.last = at, false })
	}
	k.unlock(false)
}

// Last says that the source of a copy does not answer, or has something else by
// now: what is here may be the last copy, and does not go. The source may be
// asked again after a while.
func (k *Keeper) Last(id uint32) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil {
		now := k.cfg.Now()
		if k.sums[last] == 0 {
			k.asked = now
		}
		k.change(e, func() { e.last, e.asked = true, now })
	}
	k.unlock(false)
}

// Leaving says that no record is going to name a copy any more. It counts until
// it is removed.
func (k *Keeper) Leaving(id uint32) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil {
		k.leave(e)
	}
	k.unlock(false)
}

// Stays says that a copy does not leave after all: the record that names it could
// not be changed.
func (k *Keeper) Stays(id uint32) {
	k.mu.Lock()
	if e := k.entries[id]; e != nil && e.state == leaving {
		k.change(e, func() { e.state = kept })
		k.count++
		if !e.held {
			k.list(e)
		}
	}
	k.unlock(true)
}

// leave makes e leaving. The lock is held.
func (k *Keeper) leave(e *entry) {
	if e.state == kept {
		k.count--
	}
	if e.rest != nil && k.remnants[e.rest.key] == e {
		delete(k.remnants, e.rest.key)
	}
	k.change(e, func() { e.state, e.rest = leaving, nil })
	k.unlist(e)
}

// drop forgets e, and what it counted. The lock is held.
func (k *Keeper) drop(e *entry) {
	k.leave(e)
	k.change(e, func() { e.charge = 0 })
	delete(k.entries, e.id)
}

// list makes e the one that was used last. The lock is held.
func (k *Keeper) list(e *entry) {
	k.unlist(e)
	e.listed = true
	e.older, e.newer = k.newest, nil
	if k.newest != nil {
		k.newest.newer = e
	} else {
		k.oldest = e
	}
	k.newest = e
}

// unlist takes e out of the order. The lock is held.
func (k *Keeper) unlist(e *entry) {
	if !e.listed {
		return
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		k.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		k.newest = e.older
	}
	e.older, e.newer, e.listed = nil, nil, false
}

// A Victim is a copy that may go.
type Victim struct {
	ID        uint32
	Bytes     int64     // that count
	Used      time.Time // last
	Confirmed time.Time // when its source was last known to have it
	Spare     bool      // nobody has asked for it
}

// again is how long a source is not asked again that was found not to have what
// is here.
const again = 10 * time.Minute

// Victims returns copies that may go, least recently used first, and how many
// bytes have to go beyond those that are leaving already; if that is none, there
// are no victims. It returns as many as make up these bytes, or all if all is
// set, but spare ones and others not at once: as long as there are spare ones no
// other goes. Those that skip says yes to are passed over.
func (k *Keeper) Victims(skip func(id uint32) bool, all bool) (list []Victim, goal int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if goal = k.goal(); goal <= 0 {
		return nil, 0
	}
	now := k.cfg.Now()
	sum := int64(0)
	gather := func(spare bool) {
		for e := k.oldest; e != nil && (all || sum < goal); e = e.newer {
			if e.spare != spare || e.pinned || e.last && now.Sub(e.asked) < again || skip(e.id) {
				continue
			}
			list = append(list, Victim{ID: e.id, Bytes: e.charge, Used: e.used, Confirmed: e.confirmed, Spare: spare})
			sum += e.charge
		}
	}
	gather(true)
	if len(list) == 0 && k.due() > 0 {
		gather(false)
	}
	return list, goal
}

// Needy reports whether anything has to go.
func (k *Keeper) Needy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.goal() > 0
}

// goal is how many bytes have to go, be it of spare copies alone. The lock is held.
func (k *Keeper) goal() int64 {
	if n := k.due(); n > 0 || !k.wanted {
		return n
	}
	over := k.used - k.sums[going] - int64(float64(k.cfg.Quota)*k.cfg.Low)
	k.wanted = over > 0
	return max(over, 0)
}

// due is how many bytes have to go, of whatever copies. The lock is held.
func (k *Keeper) due() int64 {
	if !k.restored {
		return 0
	}
	used, want := k.used-k.sums[going], int64(0)
	for _, a := range k.growers {
		want += a.bytes
	}
	if len(k.queue) > 0 {
		want += k.queue[0].bytes
	}
	quota := float64(k.cfg.Quota)
	switch {
	case used+want > k.cfg.Quota && want > 0:
		// Down to the lower mark, so that not each of those to come waits.
		return max(used+want-k.cfg.Quota, used-int64(quota*k.cfg.Low))
	case float64(used) > quota*k.cfg.High:
		return used - int64(quota*k.cfg.Low)
	default:
		return 0
	}
}

// Stats is a moment of a keeper in figures.
type Stats struct {
	Quota, Used  int64 // bytes; what is spoken for counts as used
	Copies       int   // complete and named by a record
	Remnants     int   // copies that are not, and can be gone on with
	Pinned, Last int64 // bytes of copies that do not go
	Stuck        int64 // bytes that could not be removed
	Waiting      int   // who wait for space
	Restored     bool  // the rest is exact
}

// Stats returns how much there is.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Stats{
		Quota: k.cfg.Quota, Used: k.used, Copies: k.count, Remnants: len(k.remnants),
		Pinned: k.sums[pinned], Last: k.sums[last], Stuck: k.sums[immovable],
		Waiting: len(k.growers) + len(k.queue), Restored: k.restored,
	}
	return s
}

// A Fact is what is known of one copy.
type Fact struct {
	Bytes int64 // that count
	Last  bool
	Used  time.Time
}

// Fact tells about a copy; ok says that it is kept.
func (k *Keeper) Fact(id uint32) (f Fact, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[id]
	if e == nil || e.state != kept {
		return f, false
	}
	return Fact{Bytes: e.charge, Last: e.last, Used: e.used}, true
}
