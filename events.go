package dagstore

import (
	"time"

	"github.com/dagstore/dagstore/shard"
)

// Events tells a program what happens. Any field may be nil. The functions
// are called one at a time, in the order of what happened, by a goroutine of
// the store that nothing waits for: while 4096 events wait for them, further
// ones are dropped, counted in [Stats], and told of by Dropped. They may call
// the store, but not Close, which waits for them. A panic in one of them is
// logged, and the next event comes. For figures use metrics or Stats; events
// are for watching.
type Events struct {
	Transition func(Transition)
	Work       func(WorkEvent)
	Evicted    func(CopyInfo) // a copy has made room for others; one that Evict or Destroy has removed is not told of
	Fault      func(FaultEvent)
	Host       func(HostHealth) // a host went down or came back
	Trouble    func(error)      // in the background, about no shard
	Dropped    func(n int64)    // events are missing here, between the last one and the next
}

// A Transition is a shard that went from one state to another. What has to be
// written is told once it is on disk, so that a failed commit is never told of.
// The states are those that [Store.Info] shows; a shard that is not known is
// [shard.Gone]. A shard that waits for its turn after a restart is in its state
// already, and that is no transition.
type Transition struct {
	Key      shard.Key
	From, To shard.State
	Err      *shard.Error // why, if To is Errored or Draining
	At       time.Time
}

// A WorkEvent is the reading and indexing of a shard that began, came further,
// or ended. How far it has come is told four times a second at most, and by
// less work than a megabyte not at all. Openings of indexed shards are not told of.
type WorkEvent struct {
	Key   shard.Key
	Phase Phase
	shard.Progress
	Err error // of Ended
}

// A Phase is where a piece of work stands.
type Phase uint8

const (
	Began Phase = iota + 1
	Moved
	Ended
)

// String returns the name in lower case.
func (p Phase) String() string {
	switch p {
	case Began:
		return "began"
	case Moved:
		return "moved"
	case Ended:
		return "ended"
	default:
		return "no phase"
	}
}

// CopyInfo is a copy that the store keeps of a CAR from elsewhere.
type CopyInfo struct {
	Key   shard.Key
	Bytes int64     // that count against the quota
	Used  time.Time // last; after a restart: made
}

// A FaultEvent is damage that was met: by indexing, which tells of the first 16
// faults of a CAR each time, before it tells that it has ended, or by a read, which
// tells once of each.
type FaultEvent struct {
	Key shard.Key
	shard.Fault
	At time.Time
}

// Tee calls a, then b. If a panics, b is not called.
func Tee(a, b Events) Events {
	return Events{
		Transition: tee(a.Transition, b.Transition),
		Work:       tee(a.Work, b.Work),
		Evicted:    tee(a.Evicted, b.Evicted),
		Fault:      tee(a.Fault, b.Fault),
		Host:       tee(a.Host, b.Host),
		Trouble:    tee(a.Trouble, b.Trouble),
		Dropped:    tee(a.Dropped, b.Dropped),
	}
}

func tee[T any](a, b func(T)) func(T) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(v T) {
		a(v)
		b(v)
	}
}
