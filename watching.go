package dagstore

import (
	"context"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/blocks"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/shard"
)

// watcher makes what the engine tells into events and figures. What nobody wants to hear
// of stays nil, which costs the engine nothing.
func (s *Store) watcher() engine.Watcher {
	w := engine.Watcher{Fault: s.faulty}
	s.observed(&w)
	if s.metrics != nil {
		measured(&w, s.metrics)
	}
	return w
}

// observed adds to w what becomes an event.
func (s *Store) observed(w *engine.Watcher) {
	o := s.observer
	if o == nil {
		return
	}
	if o.events.Transition != nil {
		w.Transition = func(key shard.Key, from, to shard.State, why *shard.Error) {
			o.tell(happening{transition: Transition{Key: key, From: from, To: to, Err: why, At: time.Now()}})
		}
	}
	if o.events.Work != nil {
		w.Work = func(e engine.Work) {
			o.tell(happening{work: &WorkEvent{Key: e.Key, Phase: Phase(e.Phase), Progress: e.Progress, Err: outward(e.Err)}})
		}
	}
	if o.events.Evicted != nil {
		w.Evicted = func(c engine.Copy) {
			info := CopyInfo(c)
			o.tell(happening{evicted: &info})
		}
	}
	if o.events.Trouble != nil {
		w.Trouble = func(err error) { o.tell(happening{trouble: outward(err)}) }
	}
}

// faulty tells of damage.
func (s *Store) faulty(key shard.Key, f shard.Fault) {
	s.tally.faults.Add(1)
	if s.metrics != nil {
		s.metrics.Add(metrics.Faults, 1, faultKind(f.Kind))
	}
	if o := s.observer; o != nil && o.events.Fault != nil {
		o.tell(happening{fault: &FaultEvent{Key: key, Fault: f, At: time.Now()}})
	}
}

// blocksConfig says where blocks are read from, and counts what is read.
func (s *Store) blocksConfig() blocks.Config {
	return blocks.Config{
		Candidates: s.engine.Candidates,
		Cached: func(id index.ID) (*local.Handle, bool) {
			h, ok := s.engine.Cached(id)
			if ok {
				s.tally.hits.Add(1)
			}
			return h, ok
		},
		Open: func(ctx context.Context, id index.ID, near bool) (*local.Handle, func(), error) {
			if h, ok := s.engine.Cached(id); ok {
				h.Unpin()
				s.tally.hits.Add(1)
			} else {
				s.tally.misses.Add(1)
			}
			return s.engine.Handle(ctx, id, near)
		},
		Owner: s.engine.Key,
		Go:    s.engine.Beside,
		Stall: s.cfg.Work.Stall,
		Lost:  s.engine.Lost,
		Read:  func(int) { s.tally.reads.Add(1) },
		Fault: func(h *local.Handle, f *shard.Fault) {
			if s.faults.add(h.ID(), f) {
				s.cfg.Logger.Warn("a block is damaged", "key", string(h.Key()), "op", string(shard.OpRead), "err", f)
				s.faulty(h.Key(), *f)
			}
			if f.Kind == shard.BadEntry || f.Kind == shard.BadSection { // it may be the index that is wrong
				s.engine.Doubt(h)
			}
			s.engine.CopyDamaged(h)
		},
	}
}
