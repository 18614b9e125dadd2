package dagstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// do does one step.
func (w *saga) do(s step) error {
	switch s.Op {
	case opRelease:
		return w.release(s)
	case opSwitch:
		if err := w.settle(); err != nil {
			return err
		}
		which := &w.down[s.Place]
		if isFar(s.Place) && s.Flags > 2 {
			which = &w.shy[s.Place]
		}
		which.Store(!which.Load())
		w.downFor[s.Place] = 0
		return nil
	case opReopen:
		if s.Place < 2 { // what lies there is another CAR from now on
			w.touch(s.Place, s.Flags%badCAR)
		}
		return w.reopen(w.disk)
	case opCrash:
		return w.reopen(w.disk.Crash(s.Percent, s.Seed))
	case opTidy:
		return w.tidy(s)
	case opSleep:
		for range 2 { // what was about to go when the first night began has gone before the second
			if err := w.settle(); err != nil {
				return err
			}
			w.sleep()
		}
		return nil
	case opLay:
		w.lay(s.Place, s.Index)
		return nil
	default:
		return w.called(s)
	}
}

// tidy has removed what belongs to no shard; perhaps the machine loses its power
// meanwhile. After it nothing in the store disagrees with anything.
func (w *saga) tidy(s step) error {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	var image *vfstest.Disk
	if s.Middle == crashed {
		w.arm(s, cancel, &image, new(atomic.Bool))
	}
	_, err := w.store.GC(ctx)
	if w.faults.Disarm(); err != nil {
		return err
	}
	if image != nil {
		return w.reopen(image)
	}
	for d, err := range w.store.Reconcile(ctx, false) {
		return fmt.Errorf("a discrepancy: %+v, %w", d, err)
	}
	return nil
}

// touch lays another CAR at a place. It comes before a restart only, so that
// nobody holds what was there.
func (w *saga) touch(place, car int) {
	if w.lies[place] == car {
		return
	}
	w.lies[place] = car
	w.places.Put(placeName(place), w.cars.bytes[car])
	w.doubted[place] = w.doubted[place] || w.laid[place] != layNothing // it is that of another CAR
	for i := range w.known {
		if k := &w.known[i]; k.state == shard.Available && k.place == place {
			k.touched |= 1 << car
		}
	}
}

// release lets one holder go.
func (w *saga) release(s step) error {
	if len(w.holders) == 0 {
		return nil
	}
	i := int(s.Seed) % len(w.holders)
	h := w.holders[i]
	w.holders = slices.Delete(w.holders, i, i+1)
	h.a.Close()
	h.a.Close() // gives nobody else's hold away
	if h.severed {
		return nil
	}
	if w.known[h.key].destroying && w.held(h.key) == 0 {
		w.known[h.key] = known{}
		return w.ended(h.key)
	}
	return nil
}

// ended receives the answers of those who waited for the end of a shard.
func (w *saga) ended(key int) error {
	for _, c := range w.waits[key] {
		select {
		case r := <-c:
			if r.Err != nil {
				return fmt.Errorf("who waited for the end of %v hears %w", keyOf(key), r.Err)
			}
		case <-time.After(sagaPatience):
			return fmt.Errorf("who waits for the end of %v hears nothing", keyOf(key))
		}
	}
	w.waits[key] = nil
	return nil
}

// called does a call, perhaps with something in its middle, and holds what
// came of it against what may come.
func (w *saga) called(s step) error {
	if s.Flags&flagPatient == 0 && !w.crowded {
		if err := w.makeRoom(s); err != nil {
			return err
		}
	}
	may := w.expect(s)
	before := w.known[s.Key]
	if s.Op == opRegister || s.Op == opRemount || s.Op == opReplace {
		w.placed[s.Key] = w.slept
	}
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	var image *vfstest.Disk
	var reached atomic.Bool
	w.arm(s, cancel, &image, &reached)
	a, err := w.patiently(ctx, s)
	if w.faults.Disarm(); err == nil && s.Middle != crashed {
		err := w.succeeded(s, a, may)
		if err == nil && reached.Load() && s.Middle != canceled { // work behind the call may have met it
			err = w.reopen(w.disk)
		}
		return err
	}
	if a != nil { // it goes with the process
		w.holders = append(w.holders, &holder{a: a, key: s.Key})
	}
	switch {
	case s.Middle == calm, !reached.Load() && s.Middle != crashed:
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer: %w", err)
		}
		return w.failed(s, err, may)
	case s.Middle == crashed && image == nil && err == nil: // after the call
		w.known[s.Key] = before
		if a != nil {
			w.holders[len(w.holders)-1].car = -1
		}
		if rerr := w.reopen(w.disk.Crash(s.Percent, s.Seed)); rerr != nil {
			return rerr
		}
		return w.looks(s.Key, restarted(nexts(may, nil)))
	}
	return w.unsure(s, image, before, may)
}

// makeRoom lets all holders go before a call that may need space for a copy: for what
// they hold it would wait, and nobody else lets go here.
func (w *saga) makeRoom(s step) error {
	for len(w.holders) > 0 && (w.known[s.Key].copies() || s.Op == opRegister && s.Serve == shard.Copy) {
		if err := w.release(step{}); err != nil {
			return err
		}
	}
	return nil
}

// arm makes happen what is to happen in the middle of a step.
func (w *saga) arm(s step, cancel func(), image **vfstest.Disk, reached *atomic.Bool) {
	if s.Middle == calm {
		return
	}
	if s.Middle == canceled && s.At < 0 {
		reached.Store(true)
		cancel()
		return
	}
	disk := w.disk
	w.faults.Arm(vfstest.Op.Changes, func(n int, _ vfstest.Op) error {
		at := max(s.At, 0)
		if n < at || n > at && s.Middle != broken {
			return nil
		}
		reached.Store(true)
		switch s.Middle {
		case canceled:
			cancel()
		case crashed:
			*image = disk.Crash(s.Percent, s.Seed)
		default:
			return syscall.EIO
		}
		return nil
	})
}

// call makes the call of a step. DestroyWait of a shard that somebody holds is
// answered later.
func (w *saga) call(ctx context.Context, s step) (*Accessor, error) {
	key := keyOf(s.Key)
	m, err := w.mount(placeURL(s.Place))
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case opRegister:
		return nil, w.store.Register(ctx, key, m, &RegisterOptions{
			Lazy: s.Flags&flagLazy != 0, Pin: s.Flags&flagPin != 0, Discard: s.Flags&flagDiscard != 0, Index: IndexPolicy(s.Index), Serve: s.Serve,
		})
	case opAcquire:
		return w.store.Acquire(ctx, key, nil)
	case opRecover:
		return nil, w.store.Recover(ctx, key, nil)
	case opDestroy:
		return nil, w.store.Destroy(ctx, key, nil)
	case opDestroyWait:
		if w.held(s.Key) == 0 {
			return nil, w.store.Destroy(ctx, key, &DestroyOptions{Held: Wait})
		}
		c := make(chan ShardResult, 1)
		err := w.store.DestroyShard(context.WithoutCancel(ctx), key, c, &DestroyOptions{Held: Wait})
		if err == nil {
			w.waits[s.Key] = append(w.waits[s.Key], c)
			err = w.accepted(ctx, s.Key)
		}
		return nil, err
	case opDestroyForce:
		return nil, w.store.Destroy(ctx, key, &DestroyOptions{Held: Force})
	case opRemount:
		return nil, w.store.Remount(ctx, key, m, Comparison(s.Flags%2))
	case opReplace:
		return nil, w.store.Replace(ctx, key, m, nil)
	case opPin:
		return nil, w.store.Pin(ctx, key)
	case opUnpin:
		return nil, w.store.Unpin(ctx, key)
	case opPutSet:
		return nil, w.putSet(ctx, s)
	case opRemoveSet:
		return nil, w.store.RemoveManifest(ctx, key, setNames[s.set()])
	default: // opEvict
		return nil, w.store.Evict(ctx, key, &EvictOptions{LastCopy: s.Flags&flagLast != 0})
	}
}

// accepted waits until a Destroy that waits is on disk.
func (w *saga) accepted(ctx context.Context, key int) error {
	err := w.store.Evict(ctx, keyOf(key), &EvictOptions{LastCopy: true})
	if errors.Is(err, shard.ErrDestroying) {
		return nil
	}
	return err
}

// succeeded is the end of a call without an error: it must be one that may.
func (w *saga) succeeded(s step, a *Accessor, may []ending) error {
	next := nexts(may, nil)
	if len(next) == 0 {
		if a != nil {
			a.Close()
		}
		return fmt.Errorf("no error, and %v", may[0].err)
	}
	if a != nil {
		h := &holder{a: a, key: s.Key, car: next[0].car, doubt: w.doubtful(next[0])}
		w.holders = append(w.holders, h)
		defer func() { h.car = w.known[s.Key].car }() // of several that it may be
	}
	if s.Op == opDestroyForce {
		for _, h := range w.holders {
			h.severed = h.severed || h.key == s.Key
		}
		if err := w.ended(s.Key); err != nil {
			return err
		}
	}
	return w.looks(s.Key, next)
}

// failed is the end of a call with an error.
func (w *saga) failed(s step, err error, may []ending) error {
	for _, o := range may {
		if o.err != nil && errors.Is(err, o.err) {
			w.count(err)
			if lerr := w.looks(s.Key, nexts(may, o.err)); lerr != nil {
				return fmt.Errorf("error %w, and then %w", err, lerr)
			}
			return nil
		}
	}
	return fmt.Errorf("error %w, and not %v", err, may[0].err)
}

// unsure is the end of a step of which the caller does not know what came: it
// must have happened or not. After a crash or a fault the store is opened anew.
func (w *saga) unsure(s step, image *vfstest.Disk, before known, may []ending) error {
	all := []known{before}
	for _, o := range may {
		all = append(all, o.next)
	}
	if s.Middle != canceled {
		if image == nil {
			image = w.disk
		}
		if err := w.reopen(image); err != nil {
			return err
		}
		all = restarted(all)
		for i := range all {
			if s.Middle != crashed && all[i].state != 0 { // the disk is why it failed
				bad := all[i]
				bad.state, bad.touched = shard.Errored, 0
				all = append(all, bad)
			}
		}
		if s.Op == opRegister { // an intent that came to an end only now
			all = append(all, nexts(w.expectRegister(s, known{}), shard.ErrSource)...)
		}
	} else if s.Op == opDestroyForce {
		return w.maybeSevered(s, all)
	} else if s.Op == opRemount || s.Op == opReplace {
		if err := w.alone(s.Key); err != nil {
			return err
		}
	}
	return w.looks(s.Key, all)
}

// alone waits until no work beside the shard is under way. It asks for a
// replacement that cannot succeed, and is refused meanwhile.
func (w *saga) alone(key int) error {
	for len(w.holders) > 0 && w.known[key].copies() { // for which it might wait, and nobody else lets go here
		if err := w.release(step{}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	m, err := w.mount(placeURL(badPlace))
	if err != nil {
		return err
	}
	for {
		switch err := w.store.Replace(ctx, keyOf(key), m, nil); {
		case err == nil:
			return errors.New("a bad CAR has taken the place of a good one")
		case !errors.Is(err, shard.ErrBusy):
			return ctx.Err()
		}
	}
}

// restarted is what a restart makes of shards: what was to go has gone.
func restarted(all []known) []known {
	for i := range all {
		if all[i].destroying {
			all[i] = known{}
		}
	}
	return all
}

// maybeSevered is for a forced destroy whose caller has left.
func (w *saga) maybeSevered(s step, all []known) error {
	in, err := w.settled(s.Key)
	if err != nil {
		return err
	}
	if in == nil {
		for _, h := range w.holders {
			h.severed = h.severed || h.key == s.Key
		}
		if err := w.ended(s.Key); err != nil {
			return err
		}
	}
	return w.looks(s.Key, all)
}

// nexts are the states after the outcomes with an error.
func nexts(may []ending, err error) (all []known) {
	for _, o := range may {
		if o.err == err {
			all = append(all, o.next)
		}
	}
	return all
}
