package catalogtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// copied checks which copies from 8001 to 8999 there are, and that each is
// found by its number.
func (s *suite) copied(want ...catalog.Copied) error {
	var have []catalog.Copied
	for c, err := range s.c.Copies(s.ctx) {
		if err != nil {
			return err
		}
		if c.ID < 8001 || c.ID > 8999 {
			continue
		}
		have = append(have, c)
		if key, err := s.c.CopyOf(s.ctx, c.ID); err != nil || key != c.Key {
			return fmt.Errorf("copy %d is of %q, %w, want %q", c.ID, string(key), err, string(c.Key))
		}
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("copies: %v, want %v", have, want)
	}
	return nil
}

func (s *suite) copies() error {
	r := Lazy("law8c")
	r.State, r.Kept = shard.Available, catalog.Kept{ID: 8002, Size: 1}
	other := Lazy("law8c/other")
	other.State, other.Kept = shard.Available, catalog.Kept{ID: 8001}
	both := []catalog.Copied{{ID: 8001, Key: other.Key}, {ID: 8002, Key: r.Key}}
	if err := errors.Join(s.put(0, r), s.put(0, other), s.copied(both...)); err != nil {
		return err
	}
	same, moved, without := Next(r), Next(Next(r)), Next(Next(Next(r)))
	moved.Kept.ID = 8003
	without.Kept = catalog.Kept{}
	if err := errors.Join(
		s.put(1, same), s.copied(both...),
		s.put(2, moved), s.copied(both[0], catalog.Copied{ID: 8003, Key: r.Key}),
		s.put(3, without), s.copied(both[0]),
	); err != nil {
		return err
	}
	if _, err := s.c.CopyOf(s.ctx, 8002); !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("a copy that is gone: %w", err)
	}
	bad := Next(without)
	bad.Kept = catalog.Kept{Size: 5}
	if err := s.put(4, bad); !errors.Is(err, catalog.ErrInvalid) {
		return fmt.Errorf("a copy without a number: %w", err)
	}
	err := s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: other.Key, Expect: 1}, {Key: r.Key, Expect: 4}}})
	return errors.Join(err, s.copied())
}
