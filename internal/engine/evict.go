package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Which copies go is found out beside the loop: by last use, or as the
// configuration orders them, and never one whose source has not shown within a
// day that it still has the same bytes. To go is a call like that of a user,
// which the lifecycle refuses while somebody holds the shard.

const (
	// knownFor is how long the answer of a source counts.
	knownFor = 24 * time.Hour

	// asksAtOnce is how many sources are asked at once before their copies go.
	asksAtOnce = 8

	// slowAsk is after how long a source that has not answered is not waited for:
	// other copies may go instead of its own.
	slowAsk = time.Second

	// mostAsks is how many sources are asked at once with those that are slow.
	mostAsks = 64

	// hostRests is how long the sources at a host are not asked that did not
	// answer: one host that is down is one fact. One that answers, and has a
	// source no longer, has told of that one alone.
	hostRests = time.Minute
)

// A Copy is a copy that the store keeps.
type Copy struct {
	Key   shard.Key
	Bytes int64     // that count against the quota
	Used  time.Time // last; after a restart: made
}

// NewEvict asks to give the local copy of key back.
func NewEvict(ctx context.Context, key shard.Key, sink Sink) *Call {
	return &Call{op: shard.OpEvict, event: lifecycle.Evict, key: key, ctx: ctx, sink: sink}
}

// Evict gives the copy of key back. One that may be the last is given back only
// if last is set: its source did not answer within a day, and does not now, or
// has something else.
func (e *Engine) Evict(ctx context.Context, key shard.Key, last bool) error {
	if !last {
		if err := e.notLast(ctx, key); err != nil {
			return fail(key, shard.OpEvict, err)
		}
	}
	_, err := e.Wait(NewEvict(ctx, key, nil))
	return err
}

// notLast asks the source of a copy if that has to be asked before the copy goes.
func (e *Engine) notLast(ctx context.Context, key shard.Key) error {
	shot, err := e.Info(ctx, key)
	r := shot.Record
	switch {
	case errors.Is(err, shard.ErrUnknown):
		return nil // the call says so
	case err != nil:
		return err
	case !r.Kept.Complete() || e.cfg.Now().Sub(r.Kept.At) <= knownFor:
		return nil
	}
	err = e.stillThere(ctx, r)
	switch {
	case err == nil:
		e.cfg.Copies.Confirm(r.Kept.ID, e.cfg.Now())
		return nil
	case ctx.Err() != nil: // who asks has left: that says nothing of the source
		return ctx.Err()
	case errors.Is(err, e.cfg.Closed):
		return err
	}
	e.cfg.Copies.Last(r.Kept.ID)
	return fmt.Errorf("%w: %w", shard.ErrLastCopy, err)
}

// stillThere asks the source of a copy whether it has the same bytes.
func (e *Engine) stillThere(ctx context.Context, r *catalog.Record) error {
	inside, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type answer struct {
		st  mount.Stat
		err error
	}
	told := make(chan answer, 1)
	if !e.enter() {
		return e.cfg.Closed
	}
	do(e, task[mount.Stat]{
		ctx: inside, cancel: cancel,
		do: func(g *guard) (st mount.Stat, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%w: panic: %v", shard.ErrSource, p)
				}
			}()
			m, err := e.mount(r.URL, g)
			if err == nil {
				st, err = m.Stat(inside)
			}
			return st, err
		},
		end:  func(st mount.Stat, err error) { told <- answer{st, err} },
		late: func(mount.Stat) {},
	})
	e.exit()
	a := <-told
	switch {
	case a.err != nil:
		return sourceError(a.err)
	case !sameSource(r, a.st):
		return fmt.Errorf("%w since it was copied", shard.ErrChanged)
	}
	return nil
}

// needCopies asks again whether copies have to go: a source that did not answer
// may do so by now.
func (e *Engine) needCopies() {
	if e.needed != nil {
		select {
		case e.needed <- struct{}{}:
		default:
		}
	}
}

// stays reports whether err is a reason for which a copy stays that is no fault
// of our own disk.
func stays(err error) bool {
	for _, is := range []error{
		errOtherCopy, catalog.ErrNotFound, shard.ErrHeld, shard.ErrBusy, shard.ErrUnknown, shard.ErrDestroying,
		shard.ErrSource, shard.ErrChanged, shard.ErrStalled, shard.ErrDenied,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// victims are the copies that are to go, but for those that skip says yes to, and how
// many bytes that is about. What is not complete goes before all of them.
func (e *Engine) victims(skip func(id uint32) bool) (list []copies.Victim, goal int64) {
	e.yield(false)
	list, goal = e.cfg.Copies.Victims(skip, e.cfg.Order != nil)
	return e.ordered(list, goal), goal
}

// yield removes what was fetched of copies that are not complete, as far as something
// has to go, and reports whether it did. What somebody is about to go on with stays,
// unless all is set.
func (e *Engine) yield(all bool) bool {
	n, err := e.cfg.Copies.Yield(all)
	if err != nil {
		e.cfg.Log.Warn("what was fetched of a copy could not be removed", "err", err)
	}
	return n > 0
}

// ordered orders victims as the configuration wants them, as many as are needed.
func (e *Engine) ordered(victims []copies.Victim, goal int64) []copies.Victim {
	if e.cfg.Order == nil {
		return victims
	}
	type candidate struct {
		copies.Victim
		Copy
	}
	list := make([]candidate, 0, len(victims))
	for _, v := range victims {
		if key, err := e.cfg.Catalog.CopyOf(e.work, v.ID); err == nil {
			list = append(list, candidate{v, Copy{Key: key, Bytes: v.Bytes, Used: v.Used}})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return e.order(a.Copy, b.Copy) })
	victims = victims[:0]
	for _, c := range list {
		if goal <= 0 {
			break
		}
		goal -= c.Victim.Bytes
		victims = append(victims, c.Victim)
	}
	return victims
}

// order calls what the configuration has given, which is code of somebody else.
func (e *Engine) order(a, b Copy) (n int) {
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Log.Error("the order of copies panicked", "panic", p)
			n = cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Key, b.Key))
		}
	}()
	return e.cfg.Order(a, b)
}

// errUsed is why a copy is spared that was read lately: until no other can go.
var errUsed = errors.New("engine: it was used")

// evictOne has one copy go, unless its source may not have it any more. One that
// was used is spared, unless used is set.
func (e *Engine) evictOne(v copies.Victim, resting *rest, used bool) error {
	ctx := e.work
	key, err := e.cfg.Catalog.CopyOf(ctx, v.ID)
	if err != nil {
		return err
	}
	r, err := e.cfg.Catalog.Get(ctx, key)
	switch {
	case err != nil:
		return err
	case r.Kept.ID != v.ID:
		return nil // it has gone
	case e.cache.TakeUsed(r.Index.ID) && !used: // read, though nobody holds it
		e.cfg.Copies.Touch(v.ID)
		return errUsed
	}
	if now := e.cfg.Now(); r.Kept.Complete() && now.Sub(v.Confirmed) > knownFor {
		host := "" // a file of this machine lies on none
		if !e.near(r.URL) {
			host = mount.Host(r.URL)
		}
		if rests, busy := resting.is(host, now); rests {
			if !busy {
				e.cfg.Copies.Last(v.ID)
			}
			return nil
		}
		if err := e.stillThere(ctx, r); err != nil {
			if ctx.Err() == nil {
				e.doubt(v.ID, host, resting, err)
			}
			return err
		}
		e.cfg.Copies.Confirm(v.ID, now)
		if !e.cfg.Copies.Needy() {
			return nil // others have gone meanwhile
		}
	}
	c := NewEvict(ctx, key, nil)
	c.copy = v.ID
	_, err = e.Wait(c)
	if f := e.cfg.Watch.Evicted; f != nil && err == nil {
		f(Copy{Key: key, Bytes: v.Bytes, Used: v.Used})
	}
	return err
}

// doubt draws the conclusion for a copy, and for its host, from the error of a source
// that was asked for it.
func (e *Engine) doubt(id uint32, host string, resting *rest, err error) {
	now := e.cfg.Now()
	if busy, ok := errors.AsType[*mount.BusyError](err); ok {
		wait := min(max(busy.After, slowAsk), hostRests)
		resting.begin(host, now.Add(wait), true)
		e.workers.Go(func() { // it says when it wants to be asked, and nothing of the copy
			e.pause(wait)
			e.needCopies()
		})
		return
	}
	if host != "" && !answered(err) {
		resting.begin(host, now.Add(hostRests), false)
	}
	e.cfg.Copies.Last(id)
}

// answered reports whether err is what a host says of one source, and so nothing of
// its neighbours.
func answered(err error) bool {
	for _, is := range []error{shard.ErrChanged, shard.ErrDenied, mount.ErrNotReady, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// errOtherCopy is what a call of the engine itself gets whose copy has gone, or is
// to stay. Nobody else sees it.
var errOtherCopy = errors.New("engine: it is another copy by now, or pinned")

// otherCopy reports whether c, which is of the engine itself, is about a copy
// that the shard has no longer, or that is not to go any more.
func (c *Call) otherCopy(en *entry) bool {
	if c.copy == 0 {
		return false
	}
	r := en.record
	return r == nil || r.Kept.ID != c.copy || r.Pin && !c.missing
}

// restoreCopies learns which copies there are, and forgets those that are not
// what their records say.
func (e *Engine) restoreCopies(ctx context.Context) error {
	if e.cfg.Copies == nil || e.cfg.Copies.Restored() {
		return nil
	}
	lost, err := e.cfg.Copies.Restore(ctx, e.knownCopies(ctx))
	for _, id := range lost {
		key, kerr := e.cfg.Catalog.CopyOf(ctx, id)
		if kerr != nil {
			continue // it has gone
		}
		e.cfg.Log.Warn("the copy of a shard is gone or damaged, and forgotten", "key", string(key), "copy", fmt.Sprintf("%08x", id))
		_ = e.forgetCopy(ctx, &catalog.Record{Key: key, Kept: catalog.Kept{ID: id}}) // refused while the shard is busy: its next opening finds out
	}
	return err
}

// surveyAgain learns which copies there are, if the start could not.
func (e *Engine) surveyAgain() {
	select {
	case <-e.surveyed:
	default:
		return // it is about to
	}
	if err := e.restoreCopies(e.work); err != nil && e.work.Err() == nil {
		e.cfg.Log.Warn("the copies could not all be looked through", "err", err)
	}
}

// survey waits until the copies of the last process are known.
func (e *Engine) survey(ctx context.Context) error {
	select {
	case <-e.surveyed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// knownCopies yields the copies that records name.
func (e *Engine) knownCopies(ctx context.Context) iter.Seq2[copies.Known, error] {
	return func(yield func(copies.Known, error) bool) {
		for c, err := range e.cfg.Catalog.Copies(ctx) {
			var r *catalog.Record
			if err == nil {
				r, err = e.cfg.Catalog.Get(ctx, c.Key)
			}
			var damaged *catalog.DamagedError
			switch {
			case errors.Is(err, catalog.ErrNotFound):
				continue
			case errors.As(err, &damaged):
				// What it says is not known, so nothing of it is removed.
				size, serr := e.cfg.Copies.Size(c.ID)
				if serr != nil {
					size = 0
				}
				if !yield(copies.Known{ID: c.ID, Size: size, Pinned: true}, nil) {
					return
				}
				continue
			case err != nil:
				yield(copies.Known{}, err)
				return
			case r.Kept.ID != c.ID:
				continue
			}
			if !yield(knownCopy(r), nil) {
				return
			}
		}
	}
}

// knownCopy is the copy of a record as the keeper wants it told.
func knownCopy(r *catalog.Record) copies.Known {
	return copies.Known{
		ID: r.Kept.ID, Size: r.Kept.Size, Pinned: r.Pin, Confirmed: r.Kept.At,
		Spare: r.Serve == shard.Auto && !r.Kept.Complete(),
	}
}
