package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// Apply implements [Catalog].
func (e *Embedded) Apply(ctx context.Context, b *Batch) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.end()
	if b.empty() {
		return nil
	}
	batch := e.db.NewBatch()
	s := stage{e: e, batch: batch, seq: e.seq}
	if err := s.all(b); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := e.commit(batch); err != nil {
		return err
	}
	e.seq = s.seq
	return nil
}

// Reserve implements [Catalog].
func (e *Embedded) Reserve(ctx context.Context, n uint32) (uint32, error) {
	if n == 0 {
		return 0, fmt.Errorf("%w: a range of no numbers", ErrInvalid)
	}
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.end()
	first, next := e.next, e.next+uint64(n)
	if next > math.MaxUint32+1 {
		return 0, fmt.Errorf("%w: %d were asked for", ErrExhausted, n)
	}
	batch := e.db.NewBatch()
	if err := batch.Set([]byte{spaceCounter}, appendCounter(nil, next), nil); err != nil {
		return 0, errors.Join(err, batch.Close())
	}
	if err := e.commit(batch); err != nil {
		return 0, err
	}
	e.next = next
	return uint32(first), nil
}

// room waits until Pebble is no longer behind with its work. It looks only
// when the log was rotated since it last looked. A disk on which that work
// fails again and again breaks the catalogue: nobody would be told otherwise.
func (e *Embedded) room(ctx context.Context) error {
	for {
		rotations := e.rotations.Load()
		if rotations == e.seen && !e.full {
			return nil
		}
		m := e.db.Metrics()
		e.seen = rotations
		e.full = m.MemTable.Size > e.memory || m.Levels[0].Sublevels > maxSublevels
		if !e.full {
			return nil
		}
		if err := e.compact.stuck(); err != nil {
			e.fence.breakWith(fmt.Errorf("tables cannot be compacted: %w", err))
		}
		select {
		case <-e.progress:
		case <-time.After(100 * time.Millisecond): // told a moment too early
		case <-e.fence.broken:
			return broken(e.fence.cause())
		case <-e.fence.closing:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A stage turns a batch into Pebble's.
type stage struct {
	e     *Embedded
	batch *pebble.Batch
	seq   uint64
}

func (s *stage) all(b *Batch) error {
	clear(s.e.staged)
	for i := range b.Puts {
		if err := s.put(&b.Puts[i]); err != nil {
			return err
		}
	}
	for i := range b.Deletes {
		if err := s.del(&b.Deletes[i]); err != nil {
			return err
		}
	}
	for _, l := range b.AddLayers {
		if err := s.batch.Set(key32(spaceLayer, l.N), appendLayer(nil, l), nil); err != nil {
			return err
		}
	}
	for _, n := range b.DelLayers {
		if err := s.batch.Delete(key32(spaceLayer, n), nil); err != nil {
			return err
		}
	}
	return errors.Join(
		s.manifests(b),
		s.ids(spacePending, b.AddPending, b.DelPending),
		s.ids(spaceDead, b.AddDead, b.DelDead),
	)
}

func (s *stage) ids(space byte, add, del []index.ID) error {
	for _, id := range add {
		if err := s.batch.Set(key32(space, uint32(id)), nil, nil); err != nil {
			return err
		}
	}
	for _, id := range del {
		if err := s.batch.Delete(key32(space, uint32(id)), nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) put(p *Put) error {
	r := p.Record
	if r == nil {
		return fmt.Errorf("%w: a put without a record", ErrInvalid)
	}
	if p.Expect != AnyRevision && r.Revision != p.Expect+1 {
		return fmt.Errorf("%w: shard %q: revision %d after %d", ErrInvalid, string(r.Key), r.Revision, p.Expect)
	}
	key := recordKey(r.Key)
	old, err := s.replace(r.Key, key, p.Expect)
	if err != nil {
		return err
	}
	seq := uint64(0)
	if r.Intent != NoIntent {
		if seq = old.seq; r.Intent != old.intent {
			seq = s.seq
			s.seq++
		}
	}
	if err := s.follow(r.Key, old, head{seq: seq, index: r.Index.ID, kept: r.Kept.ID, piece: pieceSubject(r.Key, r.Piece)}); err != nil {
		return err
	}
	value, err := appendRecord(s.e.value[:0], r, seq)
	if err != nil {
		return err
	}
	s.e.value = value[:0]
	return s.batch.Set(key, value, nil)
}

func (s *stage) del(d *Delete) error {
	if d.Expect == 0 {
		return fmt.Errorf("%w: shard %q: delete of what is not there", ErrInvalid, string(d.Key))
	}
	key := recordKey(d.Key)
	old, err := s.replace(d.Key, key, d.Expect)
	if err != nil {
		return err
	}
	if err := s.follow(d.Key, old, head{}); err != nil {
		return err
	}
	return s.batch.Delete(key, nil)
}

// replace returns the head of the record that is to go, after it was held
// against what the caller expects. It is zero if there is none.
func (s *stage) replace(shardKey shard.Key, key []byte, expect uint64) (head, error) {
	if _, twice := s.e.staged[string(shardKey)]; twice {
		return head{}, fmt.Errorf("%w: shard %q is in the batch twice", ErrInvalid, string(shardKey))
	}
	s.e.staged[string(shardKey)] = struct{}{}
	old, err := s.e.head(shardKey, key)
	switch {
	case errors.Is(err, ErrDamaged) && expect == AnyRevision:
		return head{}, s.sweep(shardKey)
	case err != nil:
		return head{}, err
	case expect != AnyRevision && old.revision != expect:
		return head{}, &ConflictError{Key: shardKey, Want: expect, Have: old.revision}
	}
	return old, nil
}

// head reads the head of the newest record, which is the one that was
// acknowledged last: nobody else commits meanwhile.
func (e *Embedded) head(shardKey shard.Key, key []byte) (head, error) {
	value, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("catalog: read shard %q: %w", string(shardKey), err)
	}
	h, err := decodeHead(shardKey, value)
	return h, errors.Join(err, closer.Close())
}

// follow keeps the queue, the owners, the copies and the pieces in step with
// the record of key.
func (s *stage) follow(key shard.Key, old, new head) error {
	var errs [7]error
	errs[6] = s.followPiece(key, old.piece, new.piece)
	if old.seq != new.seq && old.seq != 0 {
		errs[0] = s.batch.Delete(key64(spaceQueue, old.seq), nil)
	}
	if old.seq != new.seq && new.seq != 0 {
		errs[1] = s.batch.Set(key64(spaceQueue, new.seq), []byte(key), nil)
	}
	if old.index != new.index && old.index != 0 {
		errs[2] = s.batch.Delete(key32(spaceOwner, uint32(old.index)), nil)
	}
	if old.index != new.index && new.index != 0 {
		errs[3] = s.batch.Set(key32(spaceOwner, uint32(new.index)), []byte(key), nil)
	}
	if old.kept != new.kept && old.kept != 0 {
		errs[4] = s.batch.Delete(key32(spaceKept, old.kept), nil)
	}
	if old.kept != new.kept && new.kept != 0 {
		errs[5] = s.batch.Set(key32(spaceKept, new.kept), []byte(key), nil)
	}
	return errors.Join(errs[:]...)
}

// sweep takes a shard out of the queue, the owners, the copies and the pieces
// when its record does not tell where it is in them. It reads all of them
// whole, which is rare and allowed.
func (s *stage) sweep(key shard.Key) error {
	for _, space := range []byte{spaceQueue, spaceOwner, spaceKept, spacePiece} {
		if err := s.sweepSpace(space, key); err != nil {
			return fmt.Errorf("catalog: replace shard %q: %w", string(key), err)
		}
	}
	return nil
}

func (s *stage) sweepSpace(space byte, key shard.Key) (err error) {
	it, err := s.e.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{space},
		UpperBound: after([]byte{space}),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Value()) != string(key) {
			continue
		}
		if err := s.batch.Delete(it.Key(), nil); err != nil {
			return err
		}
	}
	return nil
}
