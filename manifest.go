package dagstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// A Manifest is a named set of multihashes of one shard: those that belong to
// a file, a version, an owner, or whatever a rule of its maker selects. The store
// keeps it with the shard and makes nothing of it by itself.
//
// It stays when the shard is recovered, pinned or remounted, goes when it is
// destroyed, and goes when [Store.Replace] gives it another CAR. It says what its
// maker said: after a recovery of a CAR that has changed, a member may no longer
// be in the shard.
type Manifest struct {
	Name    string // 1 to 255 bytes of UTF-8, no control characters
	Rule    string // by which the members were chosen, in the maker's words; at most 4 KiB
	Version uint64 // of the rule

	// Set by the store.
	Count int64     // members
	Bytes int64     // on disk
	Made  time.Time // when it was put, UTC
}

// ManifestOptions may be nil.
type ManifestOptions struct {
	// Loose has multihashes stored that are not in the shard's index, too. Such a
	// set says something about the shard that its CAR does not hold.
	Loose bool
}

// PutManifest stores members as the manifest m.Name of a shard, in place of the
// one of that name, if there is one: who reads that meanwhile reads it to its
// end. It returns what was stored. Members may come in any order and more than
// once, and are kept once; they are sorted in a few MiB of memory, on the disk if
// there are many. It keeps nothing of a multihash. It asks for members while the store
// may be used, and closed, from within their loop; their error ends it and is returned.
//
// The whole set is durable when it returns, or nothing of it after an error,
// which wraps [ErrNotMember] for a multihash that the shard's index does not hold
// and for every identity multihash, which no index holds; [index.ErrRecord] for what is
// no multihash; [ErrManifestName]; [shard.ErrUnknown]; [shard.ErrBusy] while the shard
// is not indexed, or if it was indexed anew meanwhile; [shard.ErrIndex] if its
// index cannot be read; [ErrNoSpace], [ErrReadOnly], [ErrClosed]; or it is ctx's own.
func (s *Store) PutManifest(
	ctx context.Context, key shard.Key, m Manifest, members iter.Seq2[multihash.Multihash, error], opts *ManifestOptions,
) (Manifest, error) {
	if len(m.Rule) > maxRule {
		return Manifest{}, manifestError(key, fmt.Errorf("%w: a rule of %d bytes", ErrManifestName, len(m.Rule)))
	}
	if err := catalog.CheckManifestName(m.Name); err != nil {
		return Manifest{}, manifestError(key, fmt.Errorf("%w: %w", ErrManifestName, err))
	}
	put, err := s.engine.PutManifest(ctx,
		catalog.Manifest{Key: key, Name: m.Name, Rule: m.Rule, Version: m.Version}, members, opts != nil && opts.Loose)
	if err != nil {
		return Manifest{}, manifestError(key, err)
	}
	return manifestOf(put), nil
}

// maxRule is how long the rule of a manifest may be, in bytes.
const maxRule = 4 << 10

// Manifests yields the manifests of a shard by rising name, and reads none of
// them. It keeps a page of them in memory; those that come and go meanwhile may
// be missed or seen. A damaged one comes as an error that wraps [shard.ErrIndex], and the
// loop goes on; after any other error, among them [shard.ErrUnknown] and [ErrClosed], it
// yields nothing more. The store may be used, and closed, from within the loop.
func (s *Store) Manifests(ctx context.Context, key shard.Key) iter.Seq2[Manifest, error] {
	return func(yield func(Manifest, error) bool) {
		for m, err := range s.engine.Manifests(ctx, key) {
			if err != nil {
				if !yield(Manifest{}, manifestError(key, err)) {
					return
				}
				continue
			}
			if !yield(manifestOf(m), nil) {
				return
			}
		}
	}
}

// Members yields the members of a manifest, each once, in the order of code,
// length and digest of their multihashes. A multihash is good until the next one.
// It is a snapshot: what happens to the manifest, the shard or the store meanwhile
// changes nothing. It streams, and checks what it reads: damage is an error that
// wraps [shard.ErrIndex], never a wrong member. Other errors wrap [ErrNoManifest],
// [shard.ErrUnknown], [ErrClosed], or are ctx's own. Nothing is yielded after an error.
func (s *Store) Members(ctx context.Context, key shard.Key, name string) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		m, err := s.engine.OpenManifest(ctx, catalog.ManifestName{Key: key, Name: name})
		if err != nil {
			yield(nil, manifestError(key, err))
			return
		}
		defer func() { _ = m.Close() }() // it was only read
		n := 0
		for mh, err := range m.All() {
			if n++; err == nil && n%1024 == 0 {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, manifestError(key, err))
				return
			}
			if !yield(mh, nil) {
				return
			}
		}
	}
}

// HasMember reports whether a multihash is in a manifest, with one look-up. The
// error is as with [Store.Members]; that it is no member is none.
func (s *Store) HasMember(ctx context.Context, key shard.Key, name string, mh multihash.Multihash) (bool, error) {
	m, err := s.engine.OpenManifest(ctx, catalog.ManifestName{Key: key, Name: name})
	if err != nil {
		return false, manifestError(key, err)
	}
	defer func() { _ = m.Close() }() // it was only read
	has, err := m.Has(mh)
	if err != nil {
		return false, manifestError(key, err)
	}
	return has, nil
}

// RemoveManifest forgets a manifest, durably, also one that is damaged. Who
// reads it meanwhile reads it to its end. The error wraps [ErrNoManifest],
// [shard.ErrUnknown], [ErrReadOnly] or [ErrClosed], or is ctx's own.
func (s *Store) RemoveManifest(ctx context.Context, key shard.Key, name string) error {
	if err := s.engine.RemoveManifest(ctx, catalog.ManifestName{Key: key, Name: name}); err != nil {
		return manifestError(key, err)
	}
	return nil
}

func manifestOf(m *catalog.Manifest) Manifest {
	return Manifest{Name: m.Name, Rule: m.Rule, Version: m.Version, Count: m.Count, Bytes: m.Length, Made: m.Made}
}

// manifestError says which shard an error is about. Damage is that of an index.
func manifestError(key shard.Key, err error) error {
	damaged := errors.Is(err, index.ErrDamaged) || errors.Is(err, index.ErrVersion) || errors.Is(err, catalog.ErrDamaged)
	if damaged && !errors.Is(err, shard.ErrIndex) {
		err = fmt.Errorf("%w: %w", shard.ErrIndex, err)
	}
	var have *shard.Error
	if errors.As(err, &have) {
		return err
	}
	return &shard.Error{Key: key, Op: shard.OpManifest, Err: outward(err)}
}
