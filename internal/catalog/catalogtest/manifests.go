package catalogtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// ManifestOf returns a manifest in which everything is set, small or in a file.
func ManifestOf(key shard.Key, name string, id index.ID, file uint32) *catalog.Manifest {
	m := &catalog.Manifest{
		Key: key, Name: name, Rule: "every\x00third", Version: 1 << 63, Index: id, Count: 7,
		Made: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), File: file, Length: 1 << 40, CRC: 0xdeadbeef,
	}
	if file == 0 {
		m.Data, m.Length = []byte("set"), 3
	}
	return m
}

func (s *suite) manifested(key shard.Key, want ...*catalog.Manifest) error {
	var have []*catalog.Manifest
	for m, err := range s.c.Manifests(s.ctx, key) {
		if err != nil {
			return err
		}
		have = append(have, m)
	}
	if len(have) != len(want) {
		return fmt.Errorf("%d manifests of %q, want %d", len(have), string(key), len(want))
	}
	for i, m := range want {
		got, err := s.c.Manifest(s.ctx, catalog.ManifestName{Key: m.Key, Name: m.Name})
		if err != nil || !reflect.DeepEqual(got, m) || !reflect.DeepEqual(have[i], m) {
			return fmt.Errorf("got %+v and %+v, %w, want %+v", got, have[i], err, m)
		}
	}
	return nil
}

// frees applies b, and compares the files that it gives back.
func (s *suite) frees(b *catalog.Batch, want ...uint32) error {
	if err := s.c.Apply(s.ctx, b); err != nil {
		return err
	}
	slices.Sort(b.Freed)
	if !slices.Equal(b.Freed, want) {
		return fmt.Errorf("files %v go, want %v", b.Freed, want)
	}
	return nil
}

func (s *suite) manifests() error {
	// One key begins with the other, and with what parts key and name.
	a, ab := Lazy("law15/a"), Lazy("law15/a\x00b")
	a.State, a.Index = shard.Available, catalog.IndexRef{ID: 15001}
	ab.State, ab.Index = shard.Available, catalog.IndexRef{ID: 15002}
	big, small := ManifestOf(a.Key, "big", 15001, 15101), ManifestOf(a.Key, "\u00e9", 15001, 0)
	other := ManifestOf(ab.Key, "big", 15002, 15102)
	puts := func(ms ...*catalog.Manifest) *catalog.Batch { return &catalog.Batch{PutManifests: ms} }
	if err := errors.Join(
		s.put(0, a, ab), s.frees(puts(big, other, small)),
		s.manifested(a.Key, big, small), s.manifested(ab.Key, other), s.manifested("", big, small, other), s.manifested("law15"),
		s.reopen(), s.manifested(a.Key, big, small),
	); err != nil {
		return err
	}
	if _, err := s.c.Manifest(s.ctx, catalog.ManifestName{Key: a.Key, Name: "bi"}); !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("one that is not there: %w", err)
	}
	for what, err := range map[string]error{
		"of another index":   s.wants(puts(ManifestOf(a.Key, "big", 15002, 15103)), catalog.ErrConflict),
		"of no shard":        s.wants(puts(ManifestOf("law15/none", "big", 15001, 15103)), catalog.ErrConflict),
		"without a name":     s.wants(puts(ManifestOf(a.Key, "", 15001, 15103)), catalog.ErrInvalid),
		"of a control name":  s.wants(puts(ManifestOf(a.Key, "a\n", 15001, 15103)), catalog.ErrInvalid),
		"beside its shard":   s.wants(&catalog.Batch{Puts: []catalog.Put{{Record: Next(a), Expect: 1}}, PutManifests: puts(big).PutManifests}, catalog.ErrInvalid),
		"refused as a whole": s.manifested("", big, small, other),
	} {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	again := ManifestOf(a.Key, "big", 15001, 15104)
	gone := &catalog.Batch{DelManifests: []catalog.ManifestName{{Key: a.Key, Name: "\u00e9"}, {Key: a.Key, Name: "none"}}}
	drop := &catalog.Batch{DropManifests: []shard.Key{a.Key}}
	destroy := &catalog.Batch{Deletes: []catalog.Delete{{Key: ab.Key, Expect: 1}}}
	more := Next(a) // a record that changes keeps them, also with another index
	more.Index.ID = 15003
	return errors.Join(
		s.frees(puts(again), 15101), s.manifested(a.Key, again, small),
		s.frees(gone), s.put(1, more), s.manifested(a.Key, again),
		s.frees(drop, 15104), s.manifested(a.Key), s.manifested(ab.Key, other),
		s.frees(destroy, 15102), s.manifested(""),
		s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: a.Key, Expect: 2}}}),
	)
}

// wants applies b, which must fail with want.
func (s *suite) wants(b *catalog.Batch, want error) error {
	if err := s.c.Apply(s.ctx, b); !errors.Is(err, want) {
		return fmt.Errorf("got %w, want %w", err, want)
	}
	return nil
}
