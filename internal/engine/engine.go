package engine

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/mount"
)

// Config is what an engine works with. Every field but CopyConfig, Watch and
// Tracer must be set.
type Config struct {
	Catalog  catalog.Catalog
	Segments segment.Place
	Mounts   mount.Registry
	Indexers map[string]index.Indexer // by the names that records may have
	Limits   car.Limits

	Indexings int    // CARs on this machine read at once
	Fetches   int    // CARs from elsewhere read at once
	Waits     int    // CARs read at once that must be made ready first
	Opens     int    // shards opened at once
	Memory    int64  // bytes for building indices, all together
	Queue     int    // calls waiting for the loop
	Handles   int    // idle open shards
	Inline    int    // bytes of the largest index that lies in its shard's record; 0: none does
	Window    int    // indexings in memory that nobody waits for
	Spill     string // folder for sorted runs

	CopyConfig

	// Space tells how much room the disk has. It is asked often, by callers
	// and workers, so it should keep its answer for a moment. NoSpace is what
	// calls get that there is no room for.
	Space   func() Space
	NoSpace error

	Retry Retry
	Stall time.Duration // a source that brings no byte for so long is given up

	Closed   error // what calls get once the engine is closed
	ReadOnly error // what calls that write get once a commit has failed

	Log    *slog.Logger
	Now    func() time.Time
	Watch  Watcher
	Tracer trace.Tracer
}

// CopyConfig is what an engine keeps copies with.
type CopyConfig struct {
	Copies *copies.Keeper      // nil: none are kept
	Needed chan struct{}       // with room for one: the keeper's Need puts one in
	Order  func(a, b Copy) int // which of two copies goes first; nil: that which was used longer ago
}

const (
	commitTokens = 4096             // calls that write, under way at once
	flushTick    = 15 * time.Second // how often the age of the memory table is looked at
)

// An Engine runs the life of all shards of one store. Its methods may be
// called by any number of goroutines at once.
type Engine struct {
	cfg        Config
	box        mailbox
	results    outlets
	acquirings sync.Pool // of *acquiring
	cache      *local.Cache
	inverted   *layers.Inverted
	ids        ids
	adrift     adrift
	exists     filter
	memory     *memory
	counts     counts
	gauges     gauges
	space      atomic.Uint32 // a Space: what was measured last

	needed     chan struct{} // copies have to go
	surveyed   chan struct{} // closed when the copies of the last process are known
	collecting chan struct{} // one GC at a time, and none before the start has done its own
	remaking   chan struct{} // one remake at a time
	inherited  []index.ID    // dead when the last process ended

	tokens  chan struct{} // one for each call that writes
	room    chan struct{} // one for each call that waits for the loop
	closing chan struct{}
	inside  atomic.Int64 // goroutines between enter and exit
	shut    atomic.Bool
	stopped chan struct{} // the loop has ended
	closed  sync.Once

	streams   streams
	damaged   damagedCopies
	later     later
	work      context.Context //nolint:containedctx // ends all work
	cut       context.CancelFunc
	workers   sync.WaitGroup
	recovered chan struct{} // closed when what was pending is found again

	unborn unborn

	loop loop
}

// New starts an engine. It reads the list of layers and nothing else; what
// was under way when the store was last closed is taken up in the background.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	e := &Engine{
		cfg:       cfg,
		box:       newMailbox(),
		results:   newOutlets(),
		cache:     local.NewCache(local.CacheConfig{Idle: cfg.Handles}),
		tokens:    make(chan struct{}, commitTokens),
		room:      make(chan struct{}, cfg.Queue),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
		recovered: make(chan struct{}),

		needed:     cfg.Needed,
		surveyed:   make(chan struct{}),
		collecting: make(chan struct{}, 1),
		remaking:   make(chan struct{}, 1),
	}
	e.work, e.cut = context.WithCancel(context.Background())
	e.memory = newMemory(cfg.Memory, cfg.Indexings+cfg.Fetches+cfg.Waits)
	e.streams.most = cfg.Fetches
	e.ids.reserve = cfg.Catalog.Reserve
	if err := e.openLayers(ctx); err != nil {
		e.cut()
		return nil, err
	}
	e.loop.init(e)
	e.collecting <- struct{}{}
	e.workers.Go(e.commits)
	e.workers.Go(e.restore)
	if cfg.Copies != nil {
		cfg.Copies.Beside(e.runs)
		e.workers.Go(e.evicts)
	}
	if cfg.Retry.OnOpen {
		e.workers.Go(e.revive)
	}
	go e.run()
	return e, nil
}

func (e *Engine) openLayers(ctx context.Context) error {
	stored, err := e.cfg.Catalog.Layers(ctx)
	if err != nil {
		return err
	}
	list := make([]layers.Layer, len(stored))
	for i, l := range stored {
		list[i] = layers.Layer(l)
	}
	var dead []index.ID
	for id, err := range e.cfg.Catalog.Dead(ctx) {
		if err != nil {
			return err
		}
		dead = append(dead, id)
		e.ids.doom(id) // the last process may not have come to removing its file
	}
	e.inherited = dead
	cfg := layers.Config{
		Key:     e.cfg.Catalog.Meta().HashKey,
		Files:   layerFiles{e.cfg.Segments},
		Next:    e.ids.next,
		Commit:  e.commitLayers,
		Keep:    e.ids.remembered,
		Spoiled: e.spoiled,
		Unread:  e.unread,
		Spill:   e.cfg.Spill,
		Now:     e.cfg.Now,
	}
	e.inverted, err = layers.Open(ctx, cfg, list, dead)
	if lost := damagedLayers(err); len(lost) > 0 {
		if list, err = e.dropLayers(ctx, list, lost); err != nil {
			return err
		}
		e.inverted, err = layers.Open(ctx, cfg, list, dead)
	}
	return err
}

// enter counts a goroutine that may push a call; it reports false once the
// engine is closing. Each enter that reports true is followed by an exit.
func (e *Engine) enter() bool {
	e.inside.Add(1)
	if e.shut.Load() {
		e.inside.Add(-1)
		return false
	}
	return true
}

// runs runs f in a goroutine of its own, for which Close waits; after that it is
// false.
func (e *Engine) runs(f func()) bool {
	if !e.enter() {
		return false
	}
	defer e.exit()
	e.workers.Go(f)
	return true
}

func (e *Engine) exit() { e.inside.Add(-1) }

// Close stops the engine and waits until nothing of it runs, but for mounts
// that do not return when their context ends: those are waited for no longer
// than a short grace, and what they return later is thrown away. Work under
// way is cut off; its intents are on disk. Callers who wait get the error that
// Config names; what was not delivered is taken back.
func (e *Engine) Close(ctx context.Context) error {
	var err error
	e.closed.Do(func() {
		e.unborn.bear()
		e.shut.Store(true)
		close(e.closing)
		for e.inside.Load() > 0 {
			runtime.Gosched() // a push takes nanoseconds
		}
		e.cut()
		e.box.call(&node{what: whatStop}) // a message: a loop that is about to doze sees it
		<-e.stopped
		e.workers.Wait()
		for n := e.box.done.drain(); n != nil; n = n.next {
			n.of.(completion).abandon(e)
		}
		e.results.close()
		err = e.inverted.Close(ctx)
		e.cache.Close()
	})
	return err
}
