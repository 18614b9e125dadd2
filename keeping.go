package dagstore

import (
	"context"

	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/shard"
)

// Pin keeps the copy of a shard from making room for others, now or once there is one.
// It waits until that is on disk, whatever else the shard is doing, and moves
// nothing; a shard that is pinned already is answered without a write. The
// error wraps [shard.ErrUnknown] or [shard.ErrDestroying]. If ctx ends first,
// its error is returned, and the shard may be pinned.
func (s *Store) Pin(ctx context.Context, key shard.Key) error {
	_, err := s.engine.Wait(engine.NewPin(ctx, key, true, nil))
	return err
}

// Unpin is the reverse of [Store.Pin], under the same rules. It evicts nothing.
func (s *Store) Unpin(ctx context.Context, key shard.Key) error {
	_, err := s.engine.Wait(engine.NewPin(ctx, key, false, nil))
	return err
}

// Evict gives back the space of the copy that the store keeps of a shard, also
// of a pinned one; opts may be nil. The shard stays as available as it was: the
// next who acquires it reads the source, or has a new copy made, as its mode has
// it. That there is no copy is no error. The error wraps [shard.ErrLastCopy] if
// the copy may be the last, unless opts allows that: the source is asked first if
// it has not answered within a day. It wraps [shard.ErrHeld] while somebody holds
// the shard, [shard.ErrBusy] while it is being indexed, [shard.ErrUnknown] or
// [shard.ErrDestroying]. It changes neither the source nor a copy that is not the
// store's own.
func (s *Store) Evict(ctx context.Context, key shard.Key, opts *EvictOptions) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.engine.Evict(ctx, key, opts != nil && opts.LastCopy)
}
