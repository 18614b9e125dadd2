package layers

import (
	"context"
	"fmt"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/dchest/siphash"
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
// only when memory is twice full.
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
	g := gathering{inv: inv, id: id}
	defer g.close()
	if err := g.read(ctx, mhs); err != nil {
		return err
	}
	if g.spool != nil {
		return inv.addLayer(ctx, id, g.spool)
	}
	return inv.insert(ctx, id, g.keys)
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
	inv.mu.Lock()
	defer inv.mu.Unlock()
	v := inv.view.Load()
	if v == nil {
		return unknown, ErrClosed
	}
	inv.adding[id]++
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

// A gathering is the keys of one shard, in memory as long as they are few.
type gathering struct {
	inv   *Inverted
	id    index.ID
	keys  []uint64
	spool *spool // holds them if they are many
}

// close gives back what was taken.
func (g *gathering) close() {
	if g.spool != nil {
		g.spool.close()
		g.inv.large.unlock()
	}
}

// identity is the code of the multihash that is its own digest.
const identity = 0

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
		if len(mh) > 0 && mh[0] == identity {
			continue
		}
		if err := g.add(ctx, siphash.Hash(g.inv.k0, g.inv.k1, mh)); err != nil {
			return err
		}
	}
	return nil
}

func (g *gathering) add(ctx context.Context, key uint64) error {
	if g.spool != nil {
		return g.spool.add(key)
	}
	if g.keys = append(g.keys, key); len(g.keys) <= g.inv.cfg.MemEntries {
		return nil
	}
	// A run and what sorts it are some 32 MiB: one shard at a time has that.
	if err := g.inv.large.lock(ctx); err != nil {
		return err
	}
	g.spool = newSpool(g.inv.cfg.Spill, g.inv.cfg.runKeys)
	for _, key := range g.keys {
		if err := g.spool.add(key); err != nil {
			return err
		}
	}
	g.keys = nil
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

// insert puts the keys of id into the active table.
func (inv *Inverted) insert(ctx context.Context, id index.ID, keys []uint64) error {
	room := roomTaken{entries: len(keys), shards: 1}
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

// addLayer makes a layer of one large shard.
func (inv *Inverted) addLayer(ctx context.Context, id index.ID, keys *spool) error {
	l, err := inv.writeLayer(ctx, roaring.BitmapOf(uint32(id)), func(w *writer) error {
		return keys.sorted(func(key uint64) error {
			if w.used == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return w.add(key, id)
		})
	})
	if err != nil {
		return err
	}
	return inv.commit(ctx, replacement{add: l, settled: []index.ID{id}})
}
