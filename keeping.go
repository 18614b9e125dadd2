package dagstore

import (
	"context"

	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/shard"
)

// Pin keeps the local copy of a shard from eviction, now or once there is one.
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

// Evict gives back the space of a shard's local copy, also of a pinned one.
// The shard stays as available as it was. That there is no copy is no error;
// today the store makes none, so nothing is given back. The error wraps
// [shard.ErrHeld] while somebody holds the shard, [shard.ErrBusy] while it is
// being indexed, [shard.ErrUnknown] or [shard.ErrDestroying]. It never touches
// the source.
func (s *Store) Evict(ctx context.Context, key shard.Key) error {
	_, err := s.engine.Wait(engine.NewEvict(ctx, key, nil))
	return err
}
