package dagstore

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/internal/engine"
)

// New work begins while more is free than the smaller of these two: a part of
// the disk, or so many bytes. The reserve is for what is small and must be
// written: that work has ended, and that a shard is to go.
const (
	spareShare = 20 // a twentieth of the disk
	spareSpace = 1 << 30
	reserve    = 64 << 20
)

// A spaceGauge remembers for a moment how much room the disk has: asking for
// each of 100,000 registrations a second would cost more than they do.
type spaceGauge struct {
	asked atomic.Int64 // when, in nanoseconds since 1970
	free  atomic.Int64 // bytes; -1 if it could not be asked
	spare atomic.Int64 // bytes that new work leaves alone
}

const spaceEvery = 100 * time.Millisecond

// space returns an error that wraps ErrNoSpace if new work had better not
// begin. What cannot be asked does not stop it.
func (s *Store) space() error {
	if free, spare := s.free(), s.gauge.spare.Load(); free >= 0 && free < spare {
		return fmt.Errorf("%w: %d bytes are left in %s, %d are kept in hand", ErrNoSpace, free, s.parts.dir, spare)
	}
	return nil
}

// level is space, as the engine asks for it.
func (s *Store) level() engine.Space {
	switch free := s.free(); {
	case free < 0 || free >= s.gauge.spare.Load():
		return engine.Ample
	case free >= reserve:
		return engine.Low
	default:
		return engine.Full
	}
}

// firstLook asks for the first time, before anybody else does: of work that begins
// at once in several places, none is to hear that it is not known yet.
func (s *Store) firstLook() {
	s.gauge.free.Store(-1)
	s.free()
}

// free is how many bytes are free on the disk; -1 if it cannot be asked.
func (s *Store) free() int64 {
	now := time.Now().UnixNano()
	if asked := s.gauge.asked.Load(); now-asked > int64(spaceEvery) && s.gauge.asked.CompareAndSwap(asked, now) {
		free := int64(-1)
		if u, err := s.parts.fsys.GetDiskUsage(s.parts.dir); err == nil && u.TotalBytes > 0 {
			free = int64(min(u.AvailBytes, math.MaxInt64))
			s.gauge.spare.Store(max(reserve, int64(min(spareSpace, u.TotalBytes/spareShare))))
		}
		s.gauge.free.Store(free)
	}
	return s.gauge.free.Load()
}
