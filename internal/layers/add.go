package layers

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// Add makes id found under each of mhs; identity multihashes are passed over.
// When it returns nil they are found, and id will be Settled by a later flush.
// After an error nothing of id is found, nothing is lost, and it may be tried
// again.
//
// A shard of more than MemEntries becomes a layer of its own, durable when Add
// returns; one at a time does. An id that is dead, or that memory or a layer
// holds already that is not [Inverted.Spoiled], is not read again. Add waits for a flush, and does it itself,
// only when memory is twice full. If merges are behind, so that there are more than 15
// layers, it takes up to nine times as long.
func (inv *Inverted) Add(ctx context.Context, id index.ID, mhs iter.Seq2[multihash.Multihash, error]) error {
	what, err := inv.begin(id)
	if err != nil {
		return err
	}
	defer inv.end(id)
	switch what {
	case inMemory:
		return nil
	case settled:
		return inv.settle(ctx, id)
	case unknown: // to be read
	}
	return inv.add(ctx, id, mhs)
}

// add reads the multihashes of id and makes them found.
func (inv *Inverted) add(ctx context.Context, id index.ID, mhs iter.Seq2[multihash.Multihash, error]) error {
	began := inv.cfg.Now()
	g := gathering{inv: inv, id: id, keys: inv.NewKeys(int64(inv.cfg.runKeys) * 2 * keySize)}
	defer g.close()
	if err := g.read(ctx, mhs); err != nil {
		return err
	}
	if g.large {
		return inv.addLayer(ctx, id, g.keys, atOnce)
	}
	if err := inv.insert(ctx, id, g.keys, atOnce); err != nil {
		return err
	}
	inv.slowDown(ctx, inv.cfg.Now().Sub(began))
	return nil
}

// AddAgain is Add of an id that memory or a layer seems to hold, and of which
// not all is found. What is there twice is found once, and merged into one.
func (inv *Inverted) AddAgain(ctx context.Context, id index.ID, mhs iter.Seq2[multihash.Multihash, error]) error {
	what, err := inv.begin(id)
	if err != nil {
		return err
	}
	defer inv.end(id)
	if what == settled && inv.Dead(id) {
		return inv.settle(ctx, id)
	}
	return inv.add(ctx, id, mhs)
}

type knowledge int

const (
	unknown  knowledge = iota
	inMemory           // a table holds it
	settled            // a layer holds it, or it is dead
)

// begin says what is known of id, and keeps it from being forgotten until end.
func (inv *Inverted) begin(id index.ID) (knowledge, error) {
	inv.visit()
	now := inv.cfg.Now()
	inv.mu.Lock()
	defer inv.mu.Unlock()
	v := inv.view.Load()
	if v == nil {
		return unknown, ErrClosed
	}
	inv.adding[id]++
	inv.addedAt = now
	switch {
	case v.dead.Load().Contains(uint32(id)), v.inLayer(id):
		return settled, nil
	case v.inTable(id):
		return inMemory, nil
	default:
		return unknown, nil
	}
}

func (inv *Inverted) end(id index.ID) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.adding[id]--; inv.adding[id] == 0 {
		delete(inv.adding, id)
	}
}

// A gathering reads the keys of one shard.
type gathering struct {
	inv   *Inverted
	id    index.ID
	keys  *Keys
	large bool // they are many, and the lock for that is held
}

// close gives back what was taken.
func (g *gathering) close() {
	_ = g.keys.Close() // it held a copy: no error here can lose anything
	if g.large {
		g.inv.large.unlock()
	}
}

func (g *gathering) read(ctx context.Context, mhs iter.Seq2[multihash.Multihash, error]) error {
	const often = 4096
	n := 0
	for mh, err := range mhs {
		if err != nil {
			return fmt.Errorf("layers: reading the multihashes of %08x: %w", g.id, err)
		}
		if n++; n%often == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := g.keys.Add(ctx, mh); err != nil {
			return err
		}
		if g.large || g.keys.Len() <= int64(g.inv.cfg.MemEntries) {
			continue
		}
		// A run and what sorts it are some 32 MiB: one shard at a time has that.
		if err := g.inv.large.lock(ctx); err != nil {
			return err
		}
		g.large = true
	}
	return nil
}

// settle makes the next flush tell that id is pending no longer.
func (inv *Inverted) settle(ctx context.Context, id index.ID) error {
	if err := inv.reserve(ctx, roomTaken{shards: 1}); err != nil {
		return err
	}
	inv.gate.RLock()
	defer inv.gate.RUnlock()
	t, err := inv.active(roomTaken{shards: 1})
	if err != nil {
		return err
	}
	t.settle(id, roomTaken{shards: 1}, inv.cfg.Now())
	return nil
}

// insert puts the keys of id into the active table, once it is indexed.
func (inv *Inverted) insert(ctx context.Context, id index.ID, k *Keys, indexed func(context.Context) error) error {
	room := roomTaken{entries: int(k.Len()), shards: 1}
	keys := make([]uint64, 0, room.entries)
	if err := k.keys.All(ctx, func(batch []uint64) error {
		keys = append(keys, batch...)
		return nil
	}); err != nil {
		return fmt.Errorf("layers: sorting the keys of %08x: %w", id, err)
	}
	if err := indexed(ctx); err != nil {
		return err
	}
	if err := inv.reserve(ctx, room); err != nil {
		return err
	}
	inv.gate.RLock()
	defer inv.gate.RUnlock()
	t, err := inv.active(room)
	if err != nil {
		return err
	}
	t.insert(keys, id)
	t.add(id, room, inv.cfg.Now())
	return nil
}

// active returns the active table, which stays that while the gate is held.
// After an error the room is given back.
func (inv *Inverted) active(room roomTaken) (*table, error) {
	if v := inv.view.Load(); v != nil {
		return v.active, nil
	}
	inv.unreserve(room)
	return nil, ErrClosed
}

// reserve takes room in memory, so that it stays bounded while flushes fail.
func (inv *Inverted) reserve(ctx context.Context, room roomTaken) error {
	for {
		inv.mu.Lock()
		taken := inv.room
		taken.entries += room.entries
		taken.shards += room.shards
		fits := taken.entries <= 2*inv.cfg.MemEntries && taken.shards <= 2*inv.cfg.MemShards
		if fits {
			inv.room = taken
		}
		inv.mu.Unlock()
		if fits {
			return nil
		}
		if err := inv.Flush(ctx); err != nil {
			return err
		}
	}
}

func (inv *Inverted) unreserve(room roomTaken) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.room.entries -= room.entries
	inv.room.shards -= room.shards
}

// addLayer makes a layer of one large shard, and commits it once that is
// indexed. The caller holds the lock for large shards.
func (inv *Inverted) addLayer(ctx context.Context, id index.ID, k *Keys, indexed func(context.Context) error) error {
	l, err := inv.writeLayer(ctx, roaring.BitmapOf(uint32(id)), func(w *writer) error {
		return k.keys.All(ctx, func(batch []uint64) error {
			for _, key := range batch {
				if w.used == 0 && ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := w.add(key, id); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := indexed(ctx); err != nil {
		return errors.Join(err, inv.abandon(ctx, l))
	}
	return inv.commit(ctx, replacement{add: l, settled: []index.ID{id}})
}
