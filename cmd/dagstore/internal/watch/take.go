package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// take adds a CAR beside the others, as soon as there is a slot for it, and
// returns how long it has waited for that.
func (p *place) take(ctx context.Context, id uint64, f *Found) (waited time.Duration) {
	select {
	case p.slots <- struct{}{}:
	default:
		began := time.Now()
		select {
		case p.slots <- struct{}{}:
			waited = time.Since(began)
		case <-ctx.Done():
			return 0
		}
	}
	one := *f
	p.mu.Lock()
	e := p.table.entries[id]
	p.mu.Unlock()
	p.adding.Go(func() {
		defer func() { <-p.slots }()
		what, err := p.add(ctx, &one, e.has(stored) || e.tries > 0)
		kept := err == nil || p.keeps(ctx, &one)
		if ctx.Err() == nil {
			p.took(id, &one, what, kept, err)
		}
	})
	return waited
}

// keeps reports whether the store has a shard of what was found, whatever its
// state.
func (p *place) keeps(ctx context.Context, f *Found) bool {
	info, err := p.watcher.cfg.Store.Info(ctx, f.Key)
	if err != nil || f.Err != nil {
		return false
	}
	car, err := p.Source.Open(ctx, *f)
	return err == nil && car.Mount.URL() == info.URL
}

// known is the outcome that there was nothing to do.
const known What = 0

// add brings the store to where it has the CAR. again says that this is not the
// first time. The outcome is known, Added, Replaced or Changed.
func (p *place) add(ctx context.Context, f *Found, again bool) (What, error) {
	if f.Err != nil {
		return 0, f.Err
	}
	if err := f.Key.Validate(); err != nil {
		return 0, err
	}
	car, err := p.Source.Open(ctx, *f)
	if err != nil {
		return 0, err
	}
	store := p.watcher.cfg.Store
	info, err := store.Info(ctx, f.Key)
	switch {
	case errors.Is(err, shard.ErrUnknown):
		return p.register(ctx, f, &car)
	case err != nil:
		return 0, err
	case info.URL != car.Mount.URL():
		return 0, fmt.Errorf("%w: it belongs to %s", shard.ErrKeyUsed, info.URL)
	case info.State == shard.Errored || info.State == shard.Draining:
		if !again && info.Failure != nil {
			return 0, info.Failure.Err // as somebody else has found it
		}
		what := Replaced
		if info.Version == 0 {
			what = Added // it was never of use
		}
		return what, store.Recover(ctx, f.Key, &dagstore.RecoverOptions{Background: true})
	case !differs(&info, car.Stat):
		return known, nil
	case !p.Replace:
		return Changed, nil
	}
	return Replaced, store.Replace(ctx, f.Key, car.Mount, nil)
}

// register adds a CAR that the store does not know.
func (p *place) register(ctx context.Context, f *Found, car *CAR) (What, error) {
	if car.Check != nil {
		if err := car.Check(ctx); err != nil {
			return 0, err
		}
	}
	opts := p.Options
	opts.Lazy = opts.Lazy || car.Lazy || f.Stat.Waits
	if car.Serve != shard.Auto {
		opts.Serve = car.Serve
	}
	opts.Discard = !opts.Lazy // of a lazy one, the failure would come when nobody looks
	opts.Background = true
	opts.Pin = opts.Pin || car.Pin
	opts.Piece, opts.IndexURL = car.Piece, car.IndexURL
	if len(car.Labels) > 0 {
		opts.Labels = maps.Clone(car.Labels)
		for name, value := range p.Options.Labels {
			if _, own := opts.Labels[name]; !own {
				opts.Labels[name] = value
			}
		}
	}
	err := p.watcher.cfg.Store.Register(ctx, f.Key, car.Mount, &opts)
	if errors.Is(err, shard.ErrExists) {
		return known, nil // somebody was faster
	}
	return Added, err
}

// differs reports whether a CAR is another than was indexed, as far as it is
// known.
func differs(info *shard.Info, stat mount.Stat) bool {
	if info.Version == 0 {
		return false // it has not been indexed yet
	}
	return stat.Size >= 0 && info.Bytes != stat.Size ||
		stat.Version != "" && info.Source != "" && info.Source != stat.Version
}

// took notes how it went, and tells of it.
func (p *place) took(id uint64, f *Found, what What, kept bool, err error) {
	if errors.Is(err, dagstore.ErrClosed) {
		return
	}
	p.mu.Lock()
	e := p.table.entries[id]
	back := err == nil && e.has(gone)
	told := e.has(changed)
	if kept {
		e.flags |= stored
	}
	if err != nil {
		what = Failed
		p.fail(&e, id, f, err)
	} else {
		delete(p.failures, id)
		delete(p.vanished, id)
		e.state, e.tries, e.at = done, 0, 0
		e.flags &^= gone | changed
		if what == Changed {
			e.flags |= changed
		}
	}
	p.table.set(id, e)
	p.mu.Unlock()
	if back {
		p.tell(Event{What: Back, Key: f.Key, Name: f.Name})
	}
	switch {
	case what == known, what == Changed && told:
	case what == Failed && e.tries > 1: // it is the same as before
	default:
		p.tell(Event{What: what, Key: f.Key, Name: f.Name, Err: err})
	}
}

// How long it takes until a CAR that failed is tried again: twice as long each
// time.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// fail notes a failure. The caller holds p.mu.
func (p *place) fail(e *entry, id uint64, f *Found, err error) {
	e.state = failed
	e.tries = min(e.tries+1, 100)
	e.at = never
	if written := p.Kind == List && f.Err != nil; !written && !hopeless(err) { // what the list says stays so
		wait := min(firstRetry<<min(e.tries-1, 10), lastRetry)
		e.at = p.table.now() + uint32(wait/tick)
		p.retry = min(p.retry, e.at)
	}
	p.note(p.failures, id, f, err)
}

// hopeless reports whether a CAR that failed will fail again unless it changes.
func hopeless(err error) bool {
	for _, no := range []error{
		shard.ErrCAR, shard.ErrBlock, shard.ErrKey, shard.ErrDenied, mount.ErrURL, mount.ErrScheme, mount.ErrDenied,
		filemount.ErrNotRegular, errTwice,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// errTwice is about a CAR whose key another one in the same place has.
var errTwice = errors.New("another CAR here has the same key")

// twice makes of f what has no key of its own.
func (p *place) twice(f *Found) {
	if f.Err == nil {
		f.Err = errTwice
	}
}
