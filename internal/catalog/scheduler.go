package catalog

import (
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A scheduler lets Pebble compact: one compaction at a time, none before the
// catalogue is open, none behind a broken fence, none for a moment after one
// has failed. Pebble's own would begin while it opens; should the opening then
// fail, the compaction finds its tables closed and takes the process with it.
// It would repeat one that cannot read its tables thousands of times a second,
// and it keeps a goroutine.
//
// Pebble calls it with its own lock held, except for Unregister, Done and
// Register, so the calls back into Pebble that take that lock are made from
// Done and from [scheduler.start] only.
type scheduler struct {
	fence *fence
	db    pebble.DBForCompaction

	mu       sync.Mutex
	cond     sync.Cond // granting has ended
	started  bool
	gone     bool
	running  bool // a compaction runs, or may be about to
	granting bool // Pebble is being asked whether it has one
	missed   bool // Pebble asked meanwhile and was told no
	failures int  // compactions that failed since one went well
	failure  error
	pause    *time.Timer // after a failure; nil when it is over
}

func newScheduler(f *fence) *scheduler {
	s := &scheduler{fence: f}
	s.cond.L = &s.mu
	return s
}

// Register says whose compactions these are.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister waits until no call into Pebble is under way and makes no more.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.pause != nil {
		s.pause.Stop()
	}
	for s.granting {
		s.cond.Wait()
	}
}

// TrySchedule says whether a compaction may begin now.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free() {
		s.missed = true
		return false, nil
	}
	s.running = true
	return true, grant{s}
}

// UpdateGetAllowedWithoutPermission is about concurrency that we do not use.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

func (s *scheduler) free() bool {
	return s.started && !s.gone && !s.running && s.pause == nil && s.fence.cause() == nil
}

// ended hears how a compaction went, before it is done.
func (s *scheduler) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.failures, s.failure = 0, nil
	case errors.Is(err, pebble.ErrCancelledCompaction) || s.gone:
	default:
		s.failures++
		s.failure = err
		if s.pause == nil {
			s.pause = time.AfterFunc(retryPause, s.resume)
		}
	}
}

// resume ends the pause after a failure.
func (s *scheduler) resume() {
	s.mu.Lock()
	s.pause = nil
	s.mu.Unlock()
	s.offer()
}

// stuck returns why nothing is compacted, when that was tried often enough.
func (s *scheduler) stuck() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures < maxFailures {
		return nil
	}
	return s.failure
}

// start allows compactions, and begins the one that waits, if one does.
func (s *scheduler) start() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.offer()
}

// offer asks Pebble whether a compaction waits and lets it begin.
func (s *scheduler) offer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.granting {
		s.cond.Wait()
	}
	for again := true; again && s.free(); {
		s.running, s.granting, s.missed = true, true, false
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		begun := waiting && s.db.Schedule(grant{s})
		s.mu.Lock()
		s.granting = false
		s.cond.Broadcast()
		if begun {
			return
		}
		s.running = false
		again = s.missed
	}
}

// A grant is one compaction that may run.
type grant struct{ s *scheduler }

func (grant) Started()                                          {}
func (grant) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (grant) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done ends the compaction, well or not.
func (g grant) Done() {
	g.s.mu.Lock()
	g.s.running = false
	g.s.mu.Unlock()
	g.s.offer()
}
