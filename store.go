package dagstore

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/blocks"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/hosts"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// A Store knows many shards. All its methods may be called by any number of
// goroutines at once. After Close they return [ErrClosed].
type Store struct {
	_      noCopy
	cfg    Config
	parts  *parts
	engine *engine.Engine
	reader *blocks.Reader
	faults faults
	gauge  spaceGauge
	hosts  *hosts.Keeper

	running atomic.Pointer[engine.Engine] // engine, for who may be called before that is set
	tally   tally

	observer *observer    // nil if nobody wants to hear of anything
	metrics  *metrics.Set // nil if nobody wants to see any
	shown    bool         // they are registered
	spill    struct {
		sync.Mutex
		left []string // files of earlier processes that could not be removed
	}

	closed  atomic.Bool
	closing sync.Once
	closeIs error
}

// Open opens the store in the folder dir and makes one there if there is
// none. It reads no CAR and reaches no source; what was under way when the
// store was last closed is taken up in the background. ctx governs only the
// opening. cfg may be nil; it is copied.
// dir has to lie on a disk of this machine, which is not looked at: on a network
// file system, locks and fsync do not keep a store.
//
// It wraps [ErrInUse] if another process has the store open, [ErrNoStore] if
// cfg forbids to make one, [ErrVersion] if another version wrote it.
func Open(ctx context.Context, dir string, cfg *Config) (*Store, error) {
	return open(ctx, vfs.Default, dir, cfg, usual)
}

// Close stops the store and waits until nothing of it runs, but no longer than
// 2 seconds for a mount that does not heed its context. Work under way is
// cut off and taken up by the next Open. Callers who wait get [ErrClosed];
// results that nobody takes are taken back. Accessors need not be closed
// first: reads in progress end, later ones return [ErrClosed]. Events that
// wait are told, for five seconds at most. A second Close waits for the first
// and returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		ctx := context.Background()
		s.hideMetrics()
		err := s.engine.Close(ctx)
		s.observer.close(eventGrace)
		s.closeIs = errors.Join(err, s.parts.close(ctx))
	})
	return s.closeIs
}

// Info tells about one shard, or wraps [shard.ErrUnknown].
func (s *Store) Info(ctx context.Context, key shard.Key) (shard.Info, error) {
	if s.closed.Load() {
		return shard.Info{}, ErrClosed
	}
	shot, err := s.engine.Info(ctx, key)
	if err != nil {
		return shard.Info{}, outward(err)
	}
	return s.info(&shot), nil
}

// Shards yields the shards that f selects (nil: all) by rising key. It holds
// up nobody and keeps no more than a page in memory: a shard that changes
// meanwhile is seen before or after the change. A shard whose record cannot be
// read comes as an error that is a [shard.Error], and the loop goes on; after
// any other error it yields nothing more. To go on later, set f.After to the
// last key seen.
func (s *Store) Shards(ctx context.Context, f *Filter) iter.Seq2[shard.Info, error] {
	var sel Filter
	if f != nil {
		sel = *f
	}
	return func(yield func(shard.Info, error) bool) {
		if s.closed.Load() {
			yield(shard.Info{}, ErrClosed)
			return
		}
		for shot, err := range s.engine.Shards(ctx, catalog.Filter{Prefix: sel.Prefix, After: sel.After}) {
			switch {
			case err != nil:
				if !yield(shard.Info{}, outward(err)) {
					return
				}
			case sel.wants(shot.State):
				if !yield(s.info(&shot), nil) {
					return
				}
			}
		}
	}
}

// A Filter selects shards. What is set must all hold.
type Filter struct {
	Prefix string
	After  shard.Key     // only keys greater than this one
	States []shard.State // any of these
}

func (f *Filter) wants(state shard.State) bool {
	for _, s := range f.States {
		if s == state {
			return true
		}
	}
	return len(f.States) == 0
}

// Find yields where the block of c lies, in every shard that is indexed and
// not failed; the codec of c does not matter. It reads no block and looks no
// further than the loop goes, so break after as many as you need. Nothing
// found is no error. An identity CID lies nowhere. A shard that cannot be
// asked is passed by, and the first such error comes last.
func (s *Store) Find(ctx context.Context, c cid.Cid) iter.Seq2[shard.Location, error] {
	return func(yield func(shard.Location, error) bool) {
		if s.closed.Load() {
			yield(shard.Location{}, ErrClosed)
			return
		}
		more := true
		err := s.reader.Locate(ctx, c.Hash(), func(at shard.Location) bool {
			more = yield(at, nil)
			return more
		})
		if errors.Is(err, shard.ErrFailed) {
			return // as the contract says: of failed shards nothing is told
		}
		if err != nil && more {
			yield(shard.Location{}, outward(err))
		}
	}
}

// noCopy makes go vet complain about copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
