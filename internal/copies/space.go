package copies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// ErrCrowded is what a fill gets that needs more space than it has asked for
// while no copy can go. Whoever fills gives up what it has and asks again, for
// more: two that wait for each other would wait for ever.
var ErrCrowded = errors.New("copies: there is no space now")

// A Space is space for one copy that nobody else has.
type Space struct {
	k     *Keeper
	bytes int64 // that count
}

// An Ask is a wish for space that waits.
type Ask struct {
	k     *Keeper
	bytes int64 // that count
	have  int64 // of the fill that grows
	told  func(*Space, error)
}

// Take gives space for size bytes at once, or nil if that has to be waited for.
// The error wraps [shard.ErrQuota] if there can be no such space.
func (k *Keeper) Take(size int64) (*Space, error) {
	n := charged(size)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch err := k.impossible(n, 0); {
	case err != nil:
		if k.unknown != nil {
			k.cfg.Need() // it is tried again to know
		}
		return nil, err
	case !k.restored || len(k.growers)+len(k.queue) > 0 || n > k.cfg.Quota-k.used:
		return nil, nil //nolint:nilnil // neither space nor an error: it has to be waited for
	}
	k.used += n
	return &Space{k, n}, nil
}

// takeFor is Take for a sparse copy: nothing waits for its space. One that is spare
// gets what no other copy has to go for.
func (k *Keeper) takeFor(size int64, spare bool) (*Space, error) {
	if spare {
		if !k.mayTake(size, true) {
			k.want(true)
			return nil, nil //nolint:nilnil // as Take
		}
	}
	s, err := k.Take(size)
	if s == nil {
		k.want(spare)
	}
	return s, err
}

// mayTake says whether there is space for size bytes now.
func (k *Keeper) mayTake(size int64, spare bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	most := k.cfg.Quota
	if spare {
		most = int64(float64(most) * k.cfg.High)
	}
	return k.restored && len(k.growers)+len(k.queue) == 0 && k.used+charged(size) <= most
}

// wantAgain is how long it is not asked again whether spare copies can go when
// none could.
const wantAgain = time.Second

// want says that a sparse copy has found no room.
func (k *Keeper) want(spare bool) {
	if spare {
		k.mu.Lock()
		now := k.cfg.Now()
		late := k.denied.IsZero() || now.Sub(k.denied) >= wantAgain
		k.wanted = k.wanted || late && k.restored
		k.mu.Unlock()
		if !late {
			return
		}
	}
	k.cfg.Need()
}

// Queue asks for space for size bytes, behind those who have asked before. told
// is called once, perhaps before Queue returns, by whoever makes room: it must
// not block, nor call the keeper. It is not called after [Ask.Leave]. The error
// is one of [Keeper.Take].
func (k *Keeper) Queue(size int64, told func(*Space, error)) *Ask {
	a := &Ask{k: k, bytes: charged(size), told: told}
	k.mu.Lock()
	k.queue = append(k.queue, a)
	k.unlock(true)
	return a
}

// Leave takes the wish back, and reports whether that was before it was told of
// anything.
func (a *Ask) Leave() bool {
	k := a.k
	k.mu.Lock()
	waits := false
	is := func(b *Ask) bool { waits = waits || a == b; return a == b }
	k.queue = slices.DeleteFunc(k.queue, is)
	k.growers = slices.DeleteFunc(k.growers, is)
	k.unlock(true)
	return waits
}

// Has reports whether a copy of size bytes fits into s.
func (s *Space) Has(size int64) bool { return charged(size) <= s.bytes }

// Give gives back what is left of s, which may be nil.
func (s *Space) Give() {
	if s == nil || s.k == nil {
		return
	}
	s.k.mu.Lock()
	s.k.used -= s.bytes
	s.bytes = 0
	s.k.unlock(false)
}

// grow waits for n more bytes for e, which is being filled.
func (k *Keeper) grow(ctx context.Context, e *entry, n int64) error {
	told := make(chan error, 1)
	a := &Ask{k: k, bytes: n, told: func(_ *Space, err error) { told <- err }}
	k.mu.Lock()
	a.have = e.charge
	k.growers = append(k.growers, a)
	k.unlock(true)
	select {
	case err := <-told:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		if a.Leave() {
			return context.Cause(ctx)
		}
		if err := <-told; err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.unlock(false)
	k.used -= n // it was nobody's; from now on it is that of e
	if k.entries[e.id] != e {
		return errDropped
	}
	k.change(e, func() { e.charge += n })
	return nil
}

// NoMore says that no copy can go now beyond those that are leaving. Fills that
// need more space get [ErrCrowded], unless what is leaving is enough. If err is set,
// which is why copies that might go do not, nobody is left waiting: all get that,
// with [shard.ErrQuota].
func (k *Keeper) NoMore(err error) {
	k.mu.Lock()
	var told []*Ask
	if k.wanted {
		k.wanted, k.denied = false, k.cfg.Now()
	}
	switch {
	case err != nil:
		told = append(k.growers, k.queue...)
		k.growers, k.queue = nil, nil
		err = fmt.Errorf("%w: no copy can be given up: %w", shard.ErrQuota, err)
	case len(k.growers) > 0 && k.growers[0].bytes > k.cfg.Quota-(k.used-k.sums[going]):
		told, k.growers = k.growers, nil
		err = ErrCrowded
	}
	k.unlock(false)
	for _, a := range told {
		a.told(nil, err)
	}
}

// impossible returns an error if n bytes more than have can never be had by
// waiting: what is pinned, or is a last copy, does not go. The lock is held.
func (k *Keeper) impossible(n, have int64) error {
	if k.unknown != nil {
		return fmt.Errorf("%w: it is not known what lies there: %w", shard.ErrQuota, k.unknown)
	}
	fixed := k.sums[pinned] + k.sums[last] + k.sums[immovable]
	switch {
	case n+have > k.cfg.Quota:
		return fmt.Errorf("%w: it needs %d bytes, the quota is %d", shard.ErrQuota, n+have, k.cfg.Quota)
	case n+have > k.cfg.Quota-fixed && n+have > k.cfg.Quota-fixed+k.doubtful():
		return fmt.Errorf("%w: it needs %d bytes; of the quota, %d, copies that do not go have %d", shard.ErrQuota, n+have, k.cfg.Quota, fixed)
	}
	return nil
}

// doubtful is how much may turn out not to be last copies: their sources are due
// to be asked again, which happens if somebody waits for that. The lock is held.
func (k *Keeper) doubtful() (n int64) {
	now := k.cfg.Now()
	if k.sums[last] == 0 || now.Sub(k.asked) < again {
		return 0
	}
	k.asked = now
	for _, e := range k.entries {
		if e.class() != last {
			continue
		}
		if e.asked.Before(k.asked) {
			k.asked = e.asked
		}
		if now.Sub(e.asked) >= again {
			n += e.charge
		}
	}
	return n
}

// unlock tells those of whom it is known by now what becomes of their wishes,
// and releases the lock. If need is set, and somebody still waits or too much
// is used, copies have to go.
func (k *Keeper) unlock(need bool) {
	var calls []func()
	if k.restored || k.unknown != nil {
		k.growers, calls = k.serve(k.growers, calls)
		if len(k.growers) == 0 {
			k.queue, calls = k.serve(k.queue, calls)
		}
	}
	need = need && (k.goal() > 0 || k.unknown != nil)
	k.mu.Unlock()
	for _, call := range calls {
		call()
	}
	if need {
		k.cfg.Need()
	}
}

// serve gives space to those in line, up to the first who has to wait.
func (k *Keeper) serve(line []*Ask, calls []func()) ([]*Ask, []func()) {
	for len(line) > 0 {
		a := line[0]
		err := k.impossible(a.bytes, a.have)
		if err == nil && a.bytes > k.cfg.Quota-k.used {
			break
		}
		line = line[1:]
		if err != nil {
			calls = append(calls, func() { a.told(nil, err) })
			continue
		}
		k.used += a.bytes
		s := &Space{k, a.bytes}
		calls = append(calls, func() { a.told(s, nil) })
	}
	return line, calls
}
