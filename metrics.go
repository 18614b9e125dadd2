package dagstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/shard"
)

// measured adds to w what counts for m.
func measured(w *engine.Watcher, m *metrics.Set) {
	w.Call = func(op shard.Op, took time.Duration, err error) {
		m.Add(metrics.Calls, 1, string(op), outcome(err))
		if op == shard.OpAcquire {
			m.Observe(metrics.Acquire, took.Seconds())
		}
	}
	w.Opening = func(_ shard.Key, took time.Duration, err error) {
		m.Observe(metrics.Open, took.Seconds(), ended(err))
	}
	w.Commit = func(changes int, took time.Duration, err error) {
		m.Observe(metrics.Commit, took.Seconds(), ended(err))
		m.Observe(metrics.CommitRecords, float64(changes))
	}
	evicted := w.Evicted
	w.Evicted = func(c engine.Copy) {
		m.Add(metrics.CopiesEvicted, 1)
		if evicted != nil {
			evicted(c)
		}
	}
	w.Fetched = func(bytes int64, err error) {
		m.Add(metrics.CopiesMade, 1, ended(err))
		m.Add(metrics.CopiesFetched, float64(bytes))
	}
	w.Read = func(bytes int) { m.Add(metrics.ReadBytes, float64(bytes)) }
	events := w.Work
	w.Work = func(e engine.Work) {
		if e.Phase == engine.Ended && e.Progress.Op != shard.OpRemount { // which compares, and indexes nothing
			m.Observe(metrics.Index, e.Took.Seconds(), ended(e.Err))
			m.Add(metrics.IndexedBytes, float64(e.Progress.Done))
		}
		if events != nil {
			events(e)
		}
	}
}

// ended is the outcome of a piece of work.
func ended(err error) string {
	if err != nil {
		return metrics.Failed
	}
	return metrics.OK
}

// refusals are the errors of calls that can be had only as things are then.
// They say nothing about the health of source and disk.
var refusals = []error{
	shard.ErrKey, shard.ErrUnknown, shard.ErrExists, shard.ErrKeyUsed, shard.ErrHeld, shard.ErrBusy,
	shard.ErrDestroying, shard.ErrRemote, shard.ErrDenied, shard.ErrQuota, shard.ErrLastCopy,
	ErrClosed, ErrReadOnly, ErrNoSpace,
}

// outcome is what becomes of a call, as metrics tell it.
func outcome(err error) string {
	if err == nil {
		return metrics.OK
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return metrics.Refused
		}
	}
	switch {
	case errors.Is(err, shard.ErrSource), errors.Is(err, shard.ErrFailed): // which a context may have ended, too
		return metrics.Failed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return metrics.Left
	default:
		return metrics.Failed
	}
}

// faultKind is a kind of damage, as metrics tell it.
func faultKind(k shard.FaultKind) string {
	return strings.ToLower(strings.ReplaceAll(k.String(), " ", "_"))
}

// offerMetrics registers the metrics, if somebody wants to see them.
func (s *Store) offerMetrics() error {
	if s.metrics == nil {
		return nil
	}
	if err := s.cfg.Metrics.Register(s.metrics); err != nil {
		return fmt.Errorf("dagstore: Config.Metrics: %w", err)
	}
	s.shown = true
	return nil
}

// hideMetrics undoes offerMetrics. Metrics that were refused must not be
// unregistered: they have the names of those that are registered.
func (s *Store) hideMetrics() {
	if s.shown {
		s.cfg.Metrics.Unregister(s.metrics)
	}
}

// showMetrics shows what is read from the store when somebody asks.
func (s *Store) showMetrics(show metrics.Show) {
	e := s.engine.Stats()
	for state := shard.Registered; state < shard.Gone; state++ {
		show(metrics.Shards, float64(e.Shards[state]), state.String())
	}
	for i, p := range e.Pools {
		show(metrics.Waiting, float64(p.Waiting), metrics.Pools[i])
		show(metrics.Working, float64(p.Running), metrics.Pools[i])
	}
	show(metrics.Counting, bit(e.Counting))
	show(metrics.IndexBytes, float64(e.IndexBytes))
	show(metrics.CallsWaiting, float64(e.CallsWait))
	show(metrics.CallsWriting, float64(e.Writing))
	show(metrics.ReadOnly, bit(e.ReadOnly))
	show(metrics.Handles, float64(e.Handles.Held), "held")
	show(metrics.Handles, float64(e.Handles.Idle), "idle")
	show(metrics.Layers, float64(e.Layers.Layers))
	show(metrics.LayerBytes, float64(e.Layers.Bytes))
	show(metrics.Merges, float64(e.Merges))
	show(metrics.CopiesQuota, float64(e.Copies.Quota))
	show(metrics.CopiesBytes, float64(e.Copies.Used))
	show(metrics.CopiesPinned, float64(e.Copies.Pinned))
	show(metrics.CopiesLast, float64(e.Copies.Last))
	show(metrics.Copies, float64(e.Copies.Copies))
	show(metrics.CopiesWaiting, float64(e.Copies.Waiting))
	show(metrics.FreeBytes, float64(s.free()))
	s.showHosts(show)
	show(metrics.Blocks, float64(s.tally.reads.Load()))
	show(metrics.Hits, float64(s.tally.hits.Load()))
	show(metrics.Misses, float64(s.tally.misses.Load()))
	dropped := int64(0)
	if s.observer != nil {
		dropped = s.observer.dropped.Load()
	}
	show(metrics.EventsDropped, float64(dropped))
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
