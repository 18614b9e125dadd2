package engine

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/shard"
)

// A Snapshot is one shard at one moment.
type Snapshot struct {
	Record   *catalog.Record
	State    shard.State
	Holders  int
	Waiting  int
	Copy     copies.Fact     // the copy that the store keeps; zero if there is none
	Progress *shard.Progress // nil while no work is under way
}

// A peek asks the loop what it knows of some shards.
type peek struct {
	node  node
	shots []Snapshot // Record is set by who asks if the catalogue has told it; Key by that
	keys  []shard.Key
	ready chan struct{}
}

// look fills in what is in memory.
func (p *peek) look(e *Engine) {
	for i, key := range p.keys {
		en := e.loop.entries[key]
		if en == nil || en.loading {
			continue
		}
		s := &p.shots[i]
		s.Record, s.State = en.record, en.machine.State
		if en.changed > e.loop.commits {
			s.committed(en)
		}
		s.Holders, s.Waiting = int(en.machine.Holders-en.machine.Opening), int(en.machine.Parked+en.machine.Opening)
		if w := en.indexing; w != nil {
			s.Progress = w.progress(e.cfg.Now())
		} else if o := en.opening; o != nil && o.copies {
			s.Progress = o.progress(e.cfg.Now())
		}
	}
	close(p.ready)
}

func (w *indexing) progress(now time.Time) *shard.Progress {
	return progress(w.op(), w.done.Load(), w.total.Load(), w.started, now)
}

// progress is that of an opening which makes a copy first.
func (o *opening) progress(now time.Time) *shard.Progress {
	return progress(shard.OpFetch, o.done.Load(), o.total.Load(), o.started, now)
}

func progress(op shard.Op, done, total int64, started, now time.Time) *shard.Progress {
	p := &shard.Progress{Op: op, Done: done, Total: total, Started: started}
	if s := now.Sub(started).Seconds(); s > 0 && !started.IsZero() {
		p.Rate = float64(done) / s
	}
	return p
}

// copyFact adds what is known of the copy that the store keeps.
func (e *Engine) copyFact(s *Snapshot) {
	if s.Record != nil && s.Record.Kept.ID != 0 && e.cfg.Copies != nil {
		s.Copy, _ = e.cfg.Copies.Fact(s.Record.Kept.ID)
	}
}

// peek asks the loop about keys. What is not in memory keeps its zero State.
func (e *Engine) peek(ctx context.Context, keys []shard.Key) ([]Snapshot, error) {
	p := &peek{keys: keys, shots: make([]Snapshot, len(keys)), ready: make(chan struct{})}
	p.node.what, p.node.of = whatPeek, p
	if !e.enter() {
		return nil, e.cfg.Closed
	}
	e.box.call(&p.node)
	e.exit()
	select {
	case <-p.ready:
		return p.shots, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Info tells about one shard. Its error is a [shard.Error].
func (e *Engine) Info(ctx context.Context, key shard.Key) (Snapshot, error) {
	const op = shard.OpInfo
	shots, err := e.peek(ctx, []shard.Key{key})
	if err != nil {
		return Snapshot{}, fail(key, op, err)
	}
	s := shots[0]
	if s.State == 0 {
		r, err := e.cfg.Catalog.Get(ctx, key)
		if errors.Is(err, catalog.ErrNotFound) {
			err = shard.ErrUnknown
		}
		if err != nil {
			return Snapshot{}, fail(key, op, err)
		}
		s.rest(r)
	}
	if s.State == shard.Gone {
		return Snapshot{}, fail(key, op, shard.ErrUnknown)
	}
	e.copyFact(&s)
	return s, nil
}

// rest is a shard that is not in memory.
func (s *Snapshot) rest(r *catalog.Record) {
	s.Record, s.State = r, restOf(r)
}

// restOf is the state that a record tells of; nil is that of no shard.
func restOf(r *catalog.Record) shard.State {
	if r == nil {
		return shard.Gone
	}
	switch r.Intent {
	case catalog.Initialize:
		return shard.Initializing
	case catalog.Recover:
		return shard.Recovering
	case catalog.Destroy:
		return shard.Destroying
	default:
		return r.State
	}
}

// committed shows a shard as it is on disk, while a change of it is on its way
// there: what may still be refused is not told.
func (s *Snapshot) committed(en *entry) {
	if en.durable == nil {
		s.Record, s.State = nil, shard.Gone
		return
	}
	s.rest(en.durable)
	switch held := en.machine.Holders > 0; {
	case held && s.State == shard.Available:
		s.State = shard.Serving
	case held && s.State == shard.Errored:
		s.State = shard.Draining
	}
}

// page is how many records a listing reads between two looks at the loop.
const page = 256

// Shards yields the shards that f selects, by rising key. A record that
// cannot be read is yielded as its error, and the listing goes on.
func (e *Engine) Shards(ctx context.Context, f catalog.Filter) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		for {
			n := 0
			var records []*catalog.Record
			var errs []error
			var keys []shard.Key
			for r, err := range e.cfg.Catalog.Records(ctx, f) {
				var damaged *catalog.DamagedError
				switch {
				case errors.As(err, &damaged):
					f.After = damaged.Key
				case err != nil:
					yield(Snapshot{}, err)
					return
				default:
					f.After = r.Key
				}
				records, errs, keys = append(records, r), append(errs, err), append(keys, f.After)
				if n++; n == page {
					break
				}
			}
			if n == 0 || !e.yieldPage(ctx, records, errs, keys, yield) || n < page {
				return
			}
		}
	}
}

// yieldPage yields one page of a listing, as the loop knows it now.
func (e *Engine) yieldPage(ctx context.Context, records []*catalog.Record, errs []error, keys []shard.Key, yield func(Snapshot, error) bool) bool {
	shots, err := e.peek(ctx, keys)
	if err != nil {
		yield(Snapshot{}, err)
		return false
	}
	for i, s := range shots {
		if errs[i] != nil {
			if !yield(Snapshot{}, fail(keys[i], shard.OpInfo, errs[i])) {
				return false
			}
			continue
		}
		switch s.State {
		case 0:
			s.rest(records[i])
		case shard.Gone:
			continue
		default: // in memory, where the loop knows better than the record
		}
		e.copyFact(&s)
		if !yield(s, nil) {
			return false
		}
	}
	return true
}
