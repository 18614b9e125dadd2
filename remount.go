package dagstore

import (
	"context"
	"fmt"

	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A Comparison is how [Store.Remount] finds out that two places hold the same
// CAR. Every one of them compares the size.
type Comparison uint8

const (
	CompareSample Comparison = iota // header and 16 random blocks, hashed; every block if there are no more
	CompareFull                     // every block, hashed, against the index: none missing, moved or added
	CompareNone                     // the caller knows
)

// Remount changes where the CAR of a shard lies and nothing else: its index,
// pins and holders stay. check says how much of the CAR at the new place is
// compared first, beside whatever the shard serves meanwhile. Who holds the
// shard goes on reading at the old place; who acquires it afterwards reads at
// the new one. A shard that was never indexed takes the new place unseen. A
// failed shard stays failed, until [Store.Recover] reads it at the new place.
//
// ctx governs the waiting: if it ends first its error is returned, and the
// work goes on. A crash before the change is on disk leaves the shard where it was.
//
// The error wraps [shard.ErrChanged] if the CAR there is another,
// [shard.ErrSource] if it cannot be read, [shard.ErrBusy] while other work
// on the shard is under way or if an acquire needs the shard to be indexed first,
// [shard.ErrIndex] if the index to compare with is damaged or gone, which an
// acquire or [Store.Recover] mends,
// [shard.ErrUnknown], [shard.ErrDestroying], [ErrNoSpace] as for any new work,
// and [mount.ErrScheme] if the store's registry cannot open m again from its
// URL. After an error nothing has changed.
func (s *Store) Remount(ctx context.Context, key shard.Key, m mount.Mount, check Comparison) error {
	wrong := func(err error) error { return &shard.Error{Key: key, Op: shard.OpRemount, Err: err} }
	var how engine.Comparison
	switch check {
	case CompareSample:
		how = engine.CompareSample
	case CompareFull:
		how = engine.CompareFull
	case CompareNone:
		how = engine.CompareNone
	default:
		return wrong(fmt.Errorf("dagstore: no Comparison has the number %d", check))
	}
	r, err := s.given(key, m, &RegisterOptions{})
	if err != nil {
		return wrong(err)
	}
	_, err = s.engine.Wait(engine.NewRemount(ctx, key, r.URL, how, nil))
	return err
}

// Replace gives a shard a new revision of its CAR, at another place or at the
// one where it was. The new revision is indexed beside the old one, which is served
// meanwhile, and takes its place in one commit. Who holds the old revision goes
// on reading it until it lets go; its index is removed after the last. If the
// new one cannot be indexed, the old one stays. A failed shard is
// available afterwards.
//
// The manifests of the shard were of the old revision and go with it.
//
// opts is how the new revision is to be kept, in place of what was said at
// registration; nil leaves that as it is, but for the copy, the index and the
// piece CID, which are of the old revision and are forgotten. Lazy and Background
// mean nothing here.
//
// Context, crashes and errors are as with [Store.Remount]; besides, the error
// wraps [shard.ErrCAR] if the new CAR is bad.
func (s *Store) Replace(ctx context.Context, key shard.Key, m mount.Mount, opts *RegisterOptions) error {
	keep := opts == nil
	if keep {
		opts = &RegisterOptions{}
	}
	r, err := s.given(key, m, opts)
	if err != nil {
		return &shard.Error{Key: key, Op: shard.OpReplace, Err: err}
	}
	url := r.URL
	if keep {
		r = nil
	}
	_, err = s.engine.Wait(engine.NewReplace(ctx, key, url, r, nil))
	return err
}
