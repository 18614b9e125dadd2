package blocks

import (
	"context"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// An index is replaced between being found and being asked: the new one was
// nobody's yet when it was asked for, the old one is nobody's any more. The
// block is found nevertheless, and told of once where each place is.
func TestIndexIsReplacedMeanwhile(t *testing.T) {
	blocks := []cartest.Block{cartest.RandomBlock(1, 0, 30), cartest.RandomBlock(1, 1, 30)}
	data := cartest.V1(nil, blocks)
	c := blocks[1].CID
	for _, times := range []int{1, 2, mostAgain} {
		s := newStore(t, 10)
		other := s.add(cartest.V1(nil, blocks[1:]), false)
		current := s.add(data, false)
		next := s.add(data, false)
		next.openErr = shard.ErrUnknown
		left := times
		cfg := s.config()
		cfg.Open = func(ctx context.Context, id index.ID, near bool) (*local.Handle, func(), error) {
			h, release, err := s.open(ctx, id, near)
			if err != nil && left > 0 { // one commit after the other
				left--
				s.mu.Lock()
				current.openErr, next.openErr = shard.ErrUnknown, nil
				s.mu.Unlock()
				current = next
				if left > 0 {
					next = s.add(data, false)
					next.openErr = shard.ErrUnknown
				}
			}
			return h, release, err
		}
		r := New(cfg)
		var got []shard.Key
		if err := r.Locate(t.Context(), c.Hash(), func(l shard.Location) bool {
			got = append(got, l.Shard)
			return true
		}); err != nil {
			t.Errorf("%d times: Locate: %v", times, err)
		}
		want := []shard.Key{other.key, current.key}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d times: found in %v, want %v", times, got, want)
		}
	}
}

// What is nobody's for good ends a lookup soon.
func TestNobodysIndices(t *testing.T) {
	b := cartest.RandomBlock(1, 0, 30)
	s := newStore(t, 10)
	for range 100 {
		s.add(cartest.V1(nil, []cartest.Block{b}), false).openErr = shard.ErrUnknown
	}
	if has, err := s.reader().Has(t.Context(), b.CID, Options{}); has || err != nil {
		t.Errorf("Has: %v, %v", has, err)
	}
	if s.passes > 10 {
		t.Errorf("%d passes", s.passes)
	}
}
