package dagstore

import (
	"sync/atomic"

	"github.com/dagstore/dagstore/shard"
)

// Stats is a moment of the store in figures.
type Stats struct {
	// Shards is how many there are, by state; of Gone none are counted.
	// IndexBytes is the size of their indices; Blocks is how many sections their
	// CARs have and CARBytes how long those are, as far as they have been read. When
	// a store is opened all this is counted in the background, a few microseconds for
	// each shard, and is too small until Counting is false; then it is right at any
	// time. Shards whose record is damaged are in none of it.
	Shards           [shard.Gone + 1]int64
	IndexBytes       int64
	Blocks, CARBytes int64
	Counting         bool

	// Quota is what copies may have of the disk, and CopyBytes what is spoken for
	// of it. Copies are the complete ones. LastCopyBytes have those that make no
	// room for others because their source does not answer, or has something else.
	// All are too small for a moment after a start.
	Quota, CopyBytes, LastCopyBytes int64
	Copies                          int

	Handles int // shards that are open
	Queued  int // readings, indexings and openings in memory that wait for their turn
	Working int // those under way

	// Since Open.
	Reads         int64 // blocks that were read and found good
	Hits, Misses  int64 // shards that were open when a block was looked for in them, and that were not
	Faults        int64 // pieces of damage that were met
	EventsDropped int64 // because a callback of [Events] was slow
}

// Stats returns counts since Open and sizes now. It waits for nothing, and may
// be called at any time, also by a callback of [Events] and after Close, which
// changes its figures no more.
func (s *Store) Stats() Stats {
	e := s.engine.Stats()
	out := Stats{
		Shards:     e.Shards,
		IndexBytes: e.IndexBytes,
		Blocks:     e.Blocks,
		CARBytes:   e.CARBytes,
		Counting:   e.Counting,
		Handles:    e.Handles.Idle + e.Handles.Held,
		Reads:      s.tally.reads.Load(),
		Hits:       s.tally.hits.Load(),
		Misses:     s.tally.misses.Load(),
		Faults:     s.tally.faults.Load(),
	}
	out.Quota, out.CopyBytes = e.Copies.Quota, e.Copies.Used
	out.LastCopyBytes, out.Copies = e.Copies.Last, e.Copies.Copies
	for _, p := range e.Pools {
		out.Queued += p.Waiting
		out.Working += p.Running
	}
	if s.observer != nil {
		out.EventsDropped = s.observer.dropped.Load()
	}
	return out
}

// tally counts what reads do. Many goroutines count at once, so each counter
// has a line of the processor's cache to itself.
type tally struct {
	_                           [64]byte
	reads, hits, misses, faults counter
}

type counter struct {
	atomic.Int64
	_ [56]byte
}
