package dagstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// A setting is how the store of a saga is set up, and what mostly happens to it.
type setting struct {
	quota   int64 // of copies, of which a complete one has 4 KiB, and a sparse one 8
	ordered bool  // the configuration says which of them goes first
	crowded bool  // most shards have copies, and little but that happens
}

func settingOf(seed uint64) setting {
	return setting{4096 * [...]int64{2, 3, 4, 2, 3, 6}[seed%6], seed/6%2 == 0, seed/12%3 > 0}
}

// bent is a step as it is in a crowd.
func (how setting) bent(s step) step {
	if !how.crowded {
		return s
	}
	if s.Seed%8 > 0 {
		s.Middle = calm
	}
	far := [sagaPlaces]int{1, 1, 2, 2, 5, 5}
	switch s.Op {
	case opRegister:
		s.Place = far[s.Place]
		s.Serve = [...]shard.Mode{shard.Copy, shard.Copy, shard.Sparse, shard.Copy, shard.Auto, shard.Sparse, shard.Copy, shard.Copy}[s.Seed/8%8]
		if s.Seed/64%4 > 0 {
			s.Flags &^= flagPin
		}
	case opSwitch:
		s.Place = far[s.Place]
	case opRelease, opRecover:
		if s.Seed%2 == 0 {
			s.Op = opAcquire
		}
	case opDestroy, opDestroyForce, opRemount, opPutSet, opLay:
		if s.Seed/8%4 > 0 {
			s.Op = [...]int{opAcquire, opSleep, opSleep, opEvict}[s.Seed/32%4]
		}
	}
	return s
}

// tallies are how often something happened in sagas.
type tallies struct {
	kept     atomic.Int64 // checks at which copies were on the disk
	remnants atomic.Int64 // checks at which something was there of a copy that did not become complete
	evicted  atomic.Int64 // copies that went for others
	waited   atomic.Int64 // calls that waited for space until holders let go
	full     atomic.Int64 // calls that were refused as there could be no space
	last     atomic.Int64 // calls that were refused as the copy may be the last
	safe     atomic.Int64 // steps before which there were last copies
}

func (t *tallies) all() []*atomic.Int64 {
	return []*atomic.Int64{&t.kept, &t.remnants, &t.evicted, &t.waited, &t.full, &t.last, &t.safe}
}

func (t *tallies) add(other *tallies) {
	theirs := other.all()
	for i, n := range t.all() {
		n.Add(theirs[i].Load())
	}
}

func (t *tallies) String() string {
	return fmt.Sprintf("copies at %d checks and remnants at %d; %d made room for others, %d calls waited for holders, %d were refused for the quota and %d for a last copy, of which there was one before %d steps",
		t.kept.Load(), t.remnants.Load(), t.evicted.Load(), t.waited.Load(), t.full.Load(), t.last.Load(), t.safe.Load())
}

// count counts the end of a call.
func (t *tallies) count(err error) {
	switch {
	case errors.Is(err, shard.ErrQuota):
		t.full.Add(1)
	case errors.Is(err, shard.ErrLastCopy):
		t.last.Add(1)
	}
}

// A clock goes faster than others.
type clock struct {
	ahead   atomic.Int64
	slept   int             // how often time has passed
	downFor [sagaPlaces]int // how often it has since a source went down
	placed  [sagaKeys]int   // slept when a shard last changed its place
}

// aNight is longer than a source is believed to have what it had.
const aNight = 25 * time.Hour

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// sleep lets a night pass.
func (w *saga) sleep() {
	w.slept++
	for p := range w.down {
		if w.downFor[p]++; !w.down[p].Load() {
			w.downFor[p] = 0
		}
	}
	w.ahead.Add(int64(aNight))
}

// lastCopies are those that must stay: two nights ago their sources had been heard
// of for the last time.
func (w *saga) lastCopies() (last [sagaKeys]uint32, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	some := false
	for key, k := range w.known {
		if k.state == 0 || k.destroying || w.downFor[k.place] < 2 || !w.down[k.place].Load() || w.slept-w.placed[key] < 2 {
			continue
		}
		r, err := w.store.parts.catalog.Get(ctx, keyOf(key))
		if err != nil {
			return last, fmt.Errorf("the record of %v: %w", keyOf(key), err)
		}
		if r.Kept.Complete() && w.now().Sub(r.Kept.At) > 2*aNight-time.Hour {
			last[key], some = r.Kept.ID, true
		}
	}
	if some {
		w.safe.Add(1)
	}
	return last, nil
}

// stillKept checks that no last copy has gone in a step that was not about it.
func (w *saga) stillKept(last [sagaKeys]uint32, s step) error {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	for key, id := range last {
		switch {
		case id == 0 || w.known[key].state == 0 || w.known[key].destroying:
			continue
		case s.Key == key && (s.Op == opReplace || s.Op == opEvict && s.Flags&flagLast != 0):
			continue
		}
		r, err := w.store.parts.catalog.Get(ctx, keyOf(key))
		if err != nil {
			return fmt.Errorf("the record of %v: %w", keyOf(key), err)
		}
		if size, err := w.store.parts.copies.Size(id); r.Kept.ID != id || err != nil || size != r.Kept.Size {
			return fmt.Errorf("the last copy of %v has gone: it has %+v, the file %d bytes, %v", keyOf(key), r.Kept, size, err)
		}
	}
	return nil
}

// patiently makes the call of a step while others hold shards. If it waits for space
// they let go, one after the other.
func (w *saga) patiently(ctx context.Context, s step) (*Accessor, error) {
	switch s.Op {
	case opRegister, opAcquire, opRecover, opReplace:
	default:
		return w.call(ctx, s)
	}
	if len(w.holders) == 0 {
		return w.call(ctx, s)
	}
	type answer struct {
		a   *Accessor
		err error
	}
	out := make(chan answer, 1)
	go func() {
		a, err := w.call(ctx, s)
		out <- answer{a, err}
	}()
	waited := false
	for {
		select {
		case r := <-out:
			return r.a, r.err
		case <-time.After(100 * time.Microsecond):
		}
		if len(w.holders) == 0 || w.waiting() == 0 {
			continue
		}
		if !waited {
			waited = true
			w.waited.Add(1)
		}
		if err := w.release(s); err != nil {
			r := <-out
			return r.a, errors.Join(err, r.err)
		}
	}
}

// waiting is how many wait for space.
func (w *saga) waiting() int { return w.store.engine.Stats().Copies.Waiting }

// errNoRoom is why somebody leaves who would wait for holders.
var errNoRoom = errors.New("what is held would have to go")

// untilRoom is how long somebody waits who may need space for a copy: what is held
// does not go, and who holds it lets go only after that.
func (w *saga) untilRoom() (context.Context, context.CancelFunc) {
	ctx, end := context.WithTimeout(context.Background(), sagaPatience)
	if !w.mayWait() {
		return ctx, end
	}
	ctx, leave := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for row := 0; row < 20 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if row++; w.waiting() == 0 {
				row = 0
			}
		}
		leave(errNoRoom)
	}()
	return ctx, func() {
		end()
		<-done
	}
}

func (w *saga) mayWait() bool {
	return len(w.holders) > 0 && slices.ContainsFunc(w.known[:], known.copies)
}

// noRoom says that err is of such a wait, under ctx.
func (w *saga) noRoom(ctx context.Context, err error) bool {
	return err != nil && errors.Is(context.Cause(ctx), errNoRoom) || errors.Is(err, shard.ErrQuota)
}

// withinQuota looks at the copies on the disk. A crash may bring back some that
// were removed, until the store has looked through them.
func (w *saga) withinQuota() error {
	for deadline := time.Now().Add(sagaPatience); ; time.Sleep(time.Millisecond) {
		sum, files := copyBytes(w.disk, "store/copies")
		switch {
		case sum <= w.quota && files > 0:
			w.kept.Add(1)
			if w.store.engine.Stats().Copies.Remnants > 0 {
				w.remnants.Add(1)
			}
			return nil
		case sum <= w.quota:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d bytes of copies are on the disk", sum)
		}
	}
}
