package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// compare holds the CAR at another place against the index of a shard, as far
// as was asked for, and returns how the source is there. A shard without an
// index has nothing that could differ.
func (e *Engine) compare(w *indexing, g *guard) (*found, error) {
	now, err := e.place(w, g)
	if err != nil {
		return nil, fail(w.record.Key, shard.OpRemount, err)
	}
	return &found{source: now}, nil
}

// place looks at the other place.
func (e *Engine) place(w *indexing, g *guard) (now mount.Stat, err error) {
	r := w.record
	if r.Index.ID == 0 {
		return now, nil
	}
	m, err := e.mount(r.URL, g)
	if err != nil {
		return now, sourceError(err)
	}
	now, err = m.Stat(w.ctx)
	switch {
	case err != nil:
		return now, sourceError(err)
	case now.Waits && w.kind != slow:
		return now, elsewhere{slow}
	case now.Size >= 0 && r.Bytes >= 0 && now.Size != r.Bytes:
		return now, fmt.Errorf("%w: it has %d bytes there and had %d when it was indexed", shard.ErrChanged, now.Size, r.Bytes)
	case w.beside.check == CompareNone:
		return now, rememberable(now)
	}
	spec := e.spec(r, m)
	spec.Source, spec.Moved = mount.Stat{Size: r.Bytes}, true
	h, err := local.Open(w.ctx, spec)
	if err != nil {
		return now, err
	}
	defer h.Drop()
	now, _ = h.Confirmed()
	err = rememberable(now)
	if err == nil && w.beside.check == CompareFull {
		if r.Indexer == "" {
			err = e.compareAll(w, g, m, now, h.Index())
		} else {
			err = compareRecords(w.ctx, h)
		}
	}
	return now, err
}

// compareAll reads a CAR from end to end, hashes every block, and compares
// what lies where with the index: none may be missing, moved or be there
// besides.
func (e *Engine) compareAll(w *indexing, g *guard, m mount.Mount, now mount.Stat, ix index.Index) error {
	want, err := newRecords(true).of(w.ctx, ix)
	if err != nil {
		return err
	}
	have := &records{key: want.key, sized: want.sized}
	w.total.Store(now.Size)
	src, pinned, err := streamOf(w.ctx, m, now, w.kind)
	if err != nil {
		return sourceError(err)
	}
	defer src.Close()
	bytes := e.memory.take((mostHashers + 2) * hasherShare)
	defer e.memory.give(bytes)
	hashers, _ := hashersFor(bytes)
	_, err = car.Scan(w.ctx, src, car.Options{
		Limits: e.cfg.Limits, Verify: true, Hashers: hashers, Size: now.Size, Progress: w.told(e, g),
	}, func(s *car.Section) error {
		if !s.Identity() { // these are in no index
			have.add(s.Multihash(), index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head})
		}
		return nil
	})
	if err != nil {
		return differs(err)
	}
	if !pinned {
		if err := unchanged(w.ctx, m, now); err != nil {
			return err
		}
	}
	if *have != *want {
		return fmt.Errorf("%w: %d blocks are good there, %d are in the index, and not all are the same ones", shard.ErrChanged, have.n, want.n)
	}
	return nil
}

// compareRecords looks at every block that an index names. What else lies in
// the CAR is no matter of an index that was made by another indexer than ours.
func compareRecords(ctx context.Context, h *local.Handle) error {
	for r, err := range h.Index().All() {
		if err != nil {
			return fmt.Errorf("%w: %w", shard.ErrIndex, err)
		}
		if err := h.Check(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// records stands for a set of records, in whatever order they were added: two
// with the same key are equal only if the same records are in them. It is the
// sum of their keyed hashes. The key is drawn at random and nobody else's, so
// that no CAR can be made to fit.
type records struct {
	key   [32]byte
	sized bool // sizes and heads count, too
	n     int64
	sum   [4]uint64
}

func newRecords(sized bool) *records {
	s := &records{sized: sized}
	_, _ = rand.Read(s.key[:]) // never fails
	return s
}

// of adds all records of ix. If one has no size, what it returns is one
// without sizes.
func (s *records) of(ctx context.Context, ix index.Index) (*records, error) {
	for r, err := range ix.All() {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", shard.ErrIndex, err)
		}
		if s.sized && (r.Size < 0 || r.Head == 0) {
			return newRecords(false).of(ctx, ix)
		}
		s.add(r.Multihash, r.Position)
		if s.n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return s, nil
}

func (s *records) add(mh multihash.Multihash, p index.Position) {
	var room [256]byte
	b := append(room[:0], s.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Offset))
	if s.sized {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Size))
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Head))
	}
	h := sha256.Sum256(append(b, mh...))
	carry := uint64(0)
	for i := range s.sum {
		s.sum[i], carry = bits.Add64(s.sum[i], binary.LittleEndian.Uint64(h[8*i:]), carry)
	}
	s.n++
}
