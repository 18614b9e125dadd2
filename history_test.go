package dagstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// A history is a short life of a store in which all happens that is written to
// the disk: shards are registered, indexed on first use, fail and recover, are
// pinned and destroyed; the inverted index is flushed, and its layers merged.
type history struct {
	*world
	*ledger
	faults *vfstest.Faults
	hold   *Accessor // of the shard "base", from begin on
	held   uint64    // the seed of what is held
	errs   []error   // what calls gave that they must not give
	bitten bool      // a call failed
	bite   error     // the first that did, if it was not about a shard
}

const baseSeed = 1000

// begin starts a world with one shard in it, which is held open.
func begin() (*history, error) {
	h := &history{world: newWorld(vfstest.NewDisk(), nil), ledger: newLedger()}
	h.faults = vfstest.Wrap(h.disk)
	if err := h.open(h.faults); err != nil {
		return nil, err
	}
	if err := h.register("base", baseSeed, false); err != nil {
		return nil, err
	}
	return h, h.take()
}

// take acquires the shard that is held.
func (h *history) take() error {
	ctx, cancel := h.ctx()
	defer cancel()
	a, err := h.store.Acquire(ctx, "base", nil)
	if err != nil {
		return err
	}
	h.hold = a
	_, err = fmt.Sscanf(a.hold.Record().Labels["seed"], "%d", &h.held)
	return err
}

func (h *history) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// do makes a call about key, after which it has the fate to; while it is under
// way, and if it fails, also one of those in between or the one before.
func (h *history) do(what string, key shard.Key, call func(context.Context) error, to fate, between ...fate) error {
	before := h.of(key)
	if h.store == nil {
		return nil // it could not be opened again
	}
	h.may(key, append(append(between, before...), to)...)
	ctx, cancel := h.ctx()
	defer cancel()
	err := call(ctx)
	if err == nil {
		h.may(key, to)
	} else {
		h.failed(what, key, err)
	}
	return err
}

// failed looks at the error of a call that failed, which it must not have done
// but for the disk. What the disk has done to work is a failure of the shard.
func (h *history) failed(what string, key shard.Key, err error) {
	h.bitten = true
	var about *shard.Error
	if !errors.As(err, &about) || about.Key != key || errors.Is(err, context.DeadlineExceeded) {
		h.errs = append(h.errs, fmt.Errorf("%s %q: %w", what, key, err))
	}
	h.mayFail(key)
}

// mayFail says that a shard may also be found failed.
func (h *history) mayFail(key shard.Key) {
	all := h.of(key)
	for _, f := range all {
		if f.state == shard.Available {
			f.state = shard.Errored
			all = append(all, f)
		}
	}
	h.may(key, all...)
}

func (h *history) register(key shard.Key, seed uint64, lazy bool) error {
	name := fmt.Sprint(seed)
	m := h.lay(name, worldCAR(seed))
	opts := &RegisterOptions{Lazy: lazy, Labels: map[string]string{"seed": name}}
	to := fate{state: shard.Available, seed: seed}
	if lazy {
		to.state = shard.Registered
	}
	return h.do("register", key, func(ctx context.Context) error { return h.store.Register(ctx, key, m, opts) }, to)
}

// copied registers a shard of which a copy is kept.
func (h *history) copied(key shard.Key, seed uint64, pin bool) {
	name := fmt.Sprint(seed)
	m := h.lay(name, worldCAR(seed))
	opts := &RegisterOptions{Serve: shard.Copy, Pin: pin, Labels: map[string]string{"seed": name}}
	_ = h.do("register", key, func(ctx context.Context) error { return h.store.Register(ctx, key, m, opts) },
		fate{state: shard.Available, seed: seed, pin: pin})
}

// evict gives back the copy of a shard, which stays what it is.
func (h *history) evict(key shard.Key, seed uint64) {
	_ = h.do("evict", key, func(ctx context.Context) error { return h.store.Evict(ctx, key, nil) },
		fate{state: shard.Available, seed: seed})
}

// use acquires a shard and reads it.
func (h *history) use(key shard.Key, seed uint64) {
	h.do("acquire", key, func(ctx context.Context) error {
		a, err := h.store.Acquire(ctx, key, nil)
		if err == nil {
			a.Close()
		}
		return err
	}, fate{state: shard.Available, seed: seed})
}

// fail registers a shard whose CAR is cut.
func (h *history) fail(key shard.Key, seed uint64) {
	name := fmt.Sprint(seed)
	data := worldCAR(seed)
	m := h.lay(name, data[:len(data)-3])
	opts := &RegisterOptions{Labels: map[string]string{"seed": name}}
	h.do("register", key, func(ctx context.Context) error {
		err := h.store.Register(ctx, key, m, opts)
		if errors.Is(err, shard.ErrCAR) {
			return nil
		}
		return err
	}, fate{state: shard.Errored, seed: seed})
}

// mend makes the CAR of a failed shard whole and has it indexed.
func (h *history) mend(key shard.Key, seed uint64) {
	if h.store == nil {
		return
	}
	h.lay(fmt.Sprint(seed), worldCAR(seed))
	h.do("recover", key, func(ctx context.Context) error { return h.store.Recover(ctx, key, nil) },
		fate{state: shard.Available, seed: seed})
}

// pin keeps the fates of a shard but for the pin.
func (h *history) pin(key shard.Key) {
	if f := h.of(key); len(f) == 1 && f[0] != gone {
		to := f[0]
		to.pin = true
		h.do("pin", key, func(ctx context.Context) error { return h.store.Pin(ctx, key) }, to)
	}
}

// replace gives a shard another CAR, beside what it serves.
func (h *history) replace(key shard.Key, seed uint64) {
	name := fmt.Sprint(seed)
	m := h.lay(name, worldCAR(seed))
	opts := &RegisterOptions{Labels: map[string]string{"seed": name}}
	_ = h.do("replace", key, func(ctx context.Context) error { return h.store.Replace(ctx, key, m, opts) },
		fate{state: shard.Available, seed: seed})
}

// remount moves the CAR of a shard. Something else lies afterwards where it
// lay: a shard that is looked for there again is lost.
func (h *history) remount(key shard.Key, seed uint64) {
	f := h.of(key)
	if len(f) != 1 || f[0].state != shard.Available {
		return
	}
	m := h.lay(fmt.Sprint("moved ", seed), worldCAR(seed))
	err := h.do("remount", key, func(ctx context.Context) error { return h.store.Remount(ctx, key, m, CompareFull) }, f[0])
	if err == nil && h.store != nil {
		h.lay(fmt.Sprint(seed), worldCAR(9999))
	}
}

func (h *history) destroy(key shard.Key) {
	h.do("destroy", key, func(ctx context.Context) error { return h.store.Destroy(ctx, key, nil) }, gone)
}

// destroyHeld destroys a shard under its holder, who lets go at once or is cut
// off.
func (h *history) destroyHeld(key shard.Key, manner HeldPolicy) {
	if h.store == nil {
		return
	}
	ctx, cancel := h.ctx()
	defer cancel()
	a, err := h.store.Acquire(ctx, key, nil)
	if err != nil {
		h.failed("acquire", key, err)
	}
	out := make(chan ShardResult, 1)
	h.do("destroy", key, func(ctx context.Context) error {
		err := h.store.DestroyShard(ctx, key, out, &DestroyOptions{Held: manner})
		if a != nil {
			a.Close()
		}
		if err != nil {
			return err
		}
		select {
		case res := <-out:
			return res.Err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, gone)
}

// again stops the store and starts it, which flushes the inverted index, and
// merges its layers when there are many.
func (h *history) again() {
	if h.store == nil {
		return
	}
	h.end()
	if err := h.open(h.faults); err != nil {
		h.bite = cmp.Or(h.bite, err)
		h.bitten, h.store = true, nil
		return
	}
	if err := h.take(); err != nil {
		h.failed("acquire", "base", err)
	}
}

// steps are what happens, one after the other.
func (h *history) steps() []func() {
	list := []func(){
		func() { _ = h.register("a", 1, false) },
		func() { _ = h.register("lazy", 2, true) },
		func() { h.fail("bad", 3) },
		func() { h.pin("a") },
		func() { h.replace("a", 7) },
		func() { h.replace("base", baseSeed+1) }, // which is held
		h.again,
		func() { h.use("lazy", 2) },
		func() { h.mend("bad", 3) },
		func() { _ = h.register("b", 4, false) },
		func() { h.destroy("b") },
		func() { _ = h.register("b", 5, false) },
		h.again,
		func() { h.destroyHeld("b", Wait) },
		func() { h.remount("lazy", 2) },
		func() { h.replace("lazy", 8) },
		func() { h.destroy("bad") },
		func() { _ = h.register("c", 6, false) },
		func() { h.destroyHeld("c", Force) },
	}
	list = append(list, h.copySteps()...)
	for i := range uint64(4) { // so many layers that they are merged
		key := shard.Key(fmt.Sprint("layer ", i))
		list = append(list, func() { _ = h.register(key, 10+i, false) }, h.again)
	}
	return append(list, func() { h.destroy("layer 1") }, h.again)
}

// copySteps are what happens to copies: they are made while a CAR is indexed, and
// when it is opened without one; they make room, are given back, and go with
// their shard.
func (h *history) copySteps() []func() {
	return []func(){
		func() { h.copied("copy", 20, false) },
		func() { h.copied("pinned", 21, true) },
		func() { h.evict("copy", 20) },
		func() { h.use("copy", 20) },
		func() { h.copied("copy 2", 22, false) },
		func() { h.copied("copy 3", 23, false) },
		h.again,
		func() { h.use("copy", 20) },
		func() { h.use("copy 2", 22) },
		func() { h.destroyHeld("copy 3", Force) },
		func() { h.destroy("copy 2") },
	}
}

// end closes what is open.
func (h *history) end() {
	if h.hold != nil {
		h.hold.Close()
		h.hold = nil
	}
	if h.store == nil {
		return
	}
	if err := h.store.Close(); err != nil {
		h.bite = cmp.Or(h.bite, err)
		h.bitten = true
	}
}
