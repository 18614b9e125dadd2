package layers

import (
	"context"
	"fmt"
	"time"

	"github.com/dchest/siphash"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/extsort"
)

const keySize = 8

// identity is the code of the multihash that is its own digest.
const identity = 0

// Keys are what an inverted index has to know of one shard. They are gathered
// while its CAR is read, in bounded memory, so that nobody has to read its
// index again: what is too much is sorted and spilled. Keys are for one goroutine.
type Keys struct {
	k0, k1 uint64
	keys   *extsort.Keys
}

// NewKeys returns Keys of no multihash that take about memory bytes. They are
// to be closed.
func (inv *Inverted) NewKeys(memory int64) *Keys {
	return &Keys{inv.k0, inv.k1, extsort.NewKeys(memory, inv.cfg.Spill)}
}

// Add adds a multihash, of which it keeps nothing; one of identity is passed
// over. It may write to the folder for sorted runs, and looks at ctx then. An error ends
// the use of k.
func (k *Keys) Add(ctx context.Context, mh multihash.Multihash) error {
	if len(mh) > 0 && mh[0] == identity {
		return nil
	}
	if err := k.keys.Add(ctx, siphash.Hash(k.k0, k.k1, mh)); err != nil {
		return fmt.Errorf("layers: sorting keys: %w", err)
	}
	return nil
}

// Len is how many were added, those that are repeated counted.
func (k *Keys) Len() int64 { return k.keys.Len() }

// Close removes what was spilled. A second Close does nothing.
func (k *Keys) Close() error { return k.keys.Close() }

// AddKeys is [Inverted.Add] with keys that were gathered before: it reads no
// index. Whatever comes of it, k is spent, and stays the caller's to close.
//
// Once all is ready, AddKeys calls indexed, which returns when the index of id
// is on disk; until then nothing of id is found or durable. Its error, which is that of
// AddKeys then, leaves everything as it was. So the index may be written at the same time.
//
// A shard of more than MemEntries keys becomes a layer of its own, durable when AddKeys
// returns; writing it takes some 32 MiB, which one shard at a time does.
func (inv *Inverted) AddKeys(ctx context.Context, id index.ID, k *Keys, indexed func(context.Context) error) error {
	what, err := inv.begin(id)
	if err != nil {
		return err
	}
	defer inv.end(id)
	switch what {
	case inMemory:
		return indexed(ctx)
	case settled:
		if err := indexed(ctx); err != nil {
			return err
		}
		return inv.settle(ctx, id)
	case unknown: // to be added
	}
	if k.Len() <= int64(inv.cfg.MemEntries) {
		return inv.insertKeys(ctx, id, k, indexed)
	}
	if err := inv.large.lock(ctx); err != nil {
		return err
	}
	defer inv.large.unlock()
	return inv.addLayer(ctx, id, k, indexed)
}

// insertKeys is insert, and waits afterwards if merges are behind. How long the
// index takes is not counted.
func (inv *Inverted) insertKeys(ctx context.Context, id index.ID, k *Keys, indexed func(context.Context) error) error {
	var worked time.Duration
	began := inv.cfg.Now()
	err := inv.insert(ctx, id, k, func(ctx context.Context) error {
		worked = inv.cfg.Now().Sub(began)
		err := indexed(ctx)
		began = inv.cfg.Now()
		return err
	})
	if err == nil {
		inv.slowDown(ctx, worked+inv.cfg.Now().Sub(began))
	}
	return err
}

// atOnce is for an id whose index is on disk already.
func atOnce(context.Context) error { return nil }

// abandon removes a layer that was written and never committed. What cannot be
// removed now is tried again by the next flush.
func (inv *Inverted) abandon(ctx context.Context, l *layer) error {
	l.obsolete = true
	inv.discard(l)
	return inv.sweep(context.WithoutCancel(ctx))
}
