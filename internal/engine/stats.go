package engine

import (
	"sync/atomic"

	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// Stats is a moment of the engine in figures.
type Stats struct {
	Shards     [shard.Gone + 1]int64 // by state; of Gone none are counted
	IndexBytes int64                 // of the index files that records name
	Blocks     int64                 // of the CARs, as far as they have been read
	CARBytes   int64                 // likewise
	Counting   bool                  // not all shards are in these yet

	Pools     [NumPools]Depth
	Intents   bool // there may be more intents on disk than are in the pools
	CallsWait int  // calls that the loop has not taken yet
	Writing   int  // calls that write and have no outcome yet
	ReadOnly  bool // a commit has failed

	Copies  copies.Stats
	Handles local.Stats
	Layers  layers.Stats
	Merges  int64 // of layers, since New
}

// A Depth is how much there is of one kind of work.
type Depth struct{ Waiting, Running int }

// The pools of work, by which [Stats] tells their depth.
const (
	PoolDisk   = int(onDisk) // reading and indexing of what lies on this machine
	PoolRemote = int(remote) // of what comes from elsewhere
	PoolSlow   = int(slow)   // of what must be made ready first
	PoolOpen   = int(kinds)  // opening
	NumPools   = int(kinds) + 1
)

// gauges are what the loop shows of itself.
type gauges struct {
	waiting, running [NumPools]atomic.Int64
	backlog, broken  atomic.Bool
	merges           atomic.Int64
}

// show publishes what has changed. It is called once a step of the loop.
func (e *Engine) show() {
	l, g := &e.loop, &e.gauges
	for k := range l.sources {
		set(&g.waiting[k], l.sources[k].waits+l.fetches[k].waits)
		set(&g.running[k], l.sources[k].running+l.fetches[k].running)
	}
	set(&g.waiting[PoolOpen], l.opens.waits)
	set(&g.running[PoolOpen], l.opens.running)
	if backlog := l.backlog || l.passed > 0; g.backlog.Load() != backlog {
		g.backlog.Store(backlog)
	}
	if broken := l.broken != nil; g.broken.Load() != broken {
		g.broken.Store(broken)
	}
}

// set stores n unless it is there: to look is cheaper.
func set(g *atomic.Int64, n int) {
	if g.Load() != int64(n) {
		g.Store(int64(n))
	}
}

// Stats returns what there is now. It waits for nothing.
func (e *Engine) Stats() Stats {
	s := Stats{
		IndexBytes: e.counts.index.Load(),
		Blocks:     e.counts.blocks.Load(),
		CARBytes:   e.counts.cars.Load(),
		Counting:   !e.counts.done.Load(),
		Intents:    e.gauges.backlog.Load(),
		ReadOnly:   e.gauges.broken.Load(),
		CallsWait:  len(e.room),
		Writing:    len(e.tokens),
		Handles:    e.cache.Stats(),
		Layers:     e.inverted.Stats(),
		Merges:     e.gauges.merges.Load(),
	}
	if e.cfg.Copies != nil {
		s.Copies = e.cfg.Copies.Stats()
	}
	for i := range s.Shards {
		s.Shards[i] = e.counts.by[i].Load()
	}
	for i := range s.Pools {
		s.Pools[i] = Depth{int(e.gauges.waiting[i].Load()), int(e.gauges.running[i].Load())}
	}
	return s
}
