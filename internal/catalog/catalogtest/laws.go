package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// awkward are keys that other stores got wrong.
var awkward = []shard.Key{
	"/", "..", "../../etc/passwd", "a/b", "a", "a\x00", "a\x00b", " ", "\x01\x1f", "ключ", "\U0010ffff",
	shard.Key(strings.Repeat("k", shard.MaxKey)),
	shard.Key(strings.Repeat("k", shard.MaxKey-1)),
}

func (s *suite) roundTrip() error {
	for _, key := range awkward {
		file := Full("law1/file")
		file.Index.Length, file.Index.Data = 1<<41, nil
		for _, r := range []*catalog.Record{Lazy("law1/lazy"), Full("law1/full"), file} {
			r.Key = key
			if r.Failure != nil {
				r.Failure.Err.Key = key
			}
			if err := s.put(catalog.AnyRevision, r); err != nil {
				return err
			}
			if err := s.expect(r); err != nil {
				return fmt.Errorf("key %q: %w", string(key), err)
			}
		}
	}
	for _, key := range awkward {
		err := s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: key, Expect: 1}}})
		if err := errors.Join(err, s.absent(key)); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) conflict(b *catalog.Batch, key shard.Key, want, have uint64) error {
	err := s.c.Apply(s.ctx, b)
	var c *catalog.ConflictError
	if !errors.Is(err, catalog.ErrConflict) || !errors.As(err, &c) {
		return fmt.Errorf("got %w, want a conflict", err)
	}
	if *c != (catalog.ConflictError{Key: key, Want: want, Have: have}) {
		return fmt.Errorf("got %+v, want %q, %d, %d", *c, string(key), want, have)
	}
	return nil
}

func (s *suite) compareAndSet() error {
	a := Lazy("law2")
	b := Next(a)
	if err := s.put(0, a); err != nil {
		return err
	}
	put := func(r *catalog.Record, expect uint64) *catalog.Batch {
		return &catalog.Batch{Puts: []catalog.Put{{Record: r, Expect: expect}}}
	}
	return errors.Join(
		s.conflict(put(a, 0), a.Key, 0, 1),
		s.put(1, b),
		s.conflict(put(b, 1), a.Key, 1, 2),
		s.conflict(&catalog.Batch{Deletes: []catalog.Delete{{Key: a.Key, Expect: 1}}}, a.Key, 1, 2),
		s.expect(b),
		s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: a.Key, Expect: 2}}}),
		s.conflict(put(b, 1), a.Key, 1, 0),
		s.absent(a.Key),
		s.put(0, a),
		s.expect(a),
	)
}

func (s *suite) atomic() error {
	fresh, taken := Lazy("law3/fresh"), Lazy("law3/taken")
	if err := s.put(0, taken); err != nil {
		return err
	}
	fresh.Intent, fresh.Index.ID = catalog.Initialize, 3001
	err := s.conflict(&catalog.Batch{
		Puts:       []catalog.Put{{Record: fresh}, {Record: taken}},
		AddPending: []index.ID{3001},
		AddDead:    []index.ID{3002},
		AddLayers:  []catalog.Layer{{N: 3003}},
	}, taken.Key, 0, 1)
	if err := errors.Join(err, s.absent(fresh.Key)); err != nil {
		return err
	}
	if _, err := s.c.Owner(s.ctx, 3001); !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("owner: %w", err)
	}
	pending, err := s.ids(s.pending)
	dead, err2 := s.ids(s.dead)
	layers, err3 := s.c.Layers(s.ctx)
	if len(pending)+len(dead)+len(layers) > 0 {
		return fmt.Errorf("left behind: %v %v %v", pending, dead, layers)
	}
	// The same without the conflict leaves all of it.
	all := s.c.Apply(s.ctx, &catalog.Batch{
		Puts:    []catalog.Put{{Record: fresh}, {Record: Next(taken), Expect: 1}},
		Deletes: nil,
	})
	return errors.Join(err, err2, err3, all, s.expect(fresh), s.expect(Next(taken)),
		s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: fresh.Key, Expect: 1}, {Key: taken.Key, Expect: 2}}}))
}

func (s *suite) invalid() error {
	edit := func(f func(*catalog.Record)) *catalog.Batch {
		r := Lazy("law4")
		f(r)
		return &catalog.Batch{Puts: []catalog.Put{{Record: r}}}
	}
	twice := edit(func(*catalog.Record) {})
	twice.Puts = append(twice.Puts, twice.Puts[0])
	cases := map[string]*catalog.Batch{
		"no record":      {Puts: []catalog.Put{{}}},
		"no key":         edit(func(r *catalog.Record) { r.Key = "" }),
		"long key":       edit(func(r *catalog.Record) { r.Key = shard.Key(strings.Repeat("x", shard.MaxKey+1)) }),
		"bad key":        edit(func(r *catalog.Record) { r.Key = "\xff" }),
		"no state":       edit(func(r *catalog.Record) { r.State = 0 }),
		"passing state":  edit(func(r *catalog.Record) { r.State = shard.Serving }),
		"no intent":      edit(func(r *catalog.Record) { r.Intent = catalog.Destroy + 1 }),
		"no revision":    edit(func(r *catalog.Record) { r.Revision = 0 }),
		"leap":           edit(func(r *catalog.Record) { r.Revision = 2 }),
		"large":          edit(func(r *catalog.Record) { r.URL = strings.Repeat("x", catalog.MaxRecord) }),
		"twice":          twice,
		"delete nothing": {Deletes: []catalog.Delete{{Key: "law4"}}},
	}
	for name, b := range cases {
		if err := s.c.Apply(s.ctx, b); !errors.Is(err, catalog.ErrInvalid) {
			return fmt.Errorf("%s: got %w, want invalid", name, err)
		}
	}
	return errors.Join(s.absent("law4"), s.c.Apply(s.ctx, &catalog.Batch{}))
}

func (s *suite) list(f catalog.Filter) (keys []shard.Key, err error) {
	for r, err := range s.c.Records(s.ctx, f) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, r.Key)
	}
	return keys, nil
}

func (s *suite) listing() error {
	const n = 3000 // more than a page
	var want []shard.Key
	b := &catalog.Batch{}
	for i := range n {
		r := Lazy(shard.Key(fmt.Sprintf("law5/%d", i)))
		want = append(want, r.Key)
		b.Puts = append(b.Puts, catalog.Put{Record: r})
	}
	b.Puts = append(b.Puts, catalog.Put{Record: Lazy("law5")}, catalog.Put{Record: Lazy("law50")})
	if err := s.c.Apply(s.ctx, b); err != nil {
		return err
	}
	slices.Sort(want)
	for _, c := range []struct {
		f    catalog.Filter
		want []shard.Key
	}{
		{catalog.Filter{Prefix: "law5/"}, want},
		{catalog.Filter{Prefix: "law5", After: "law5"}, append(slices.Clone(want), "law50")},
		{catalog.Filter{Prefix: "law5/", After: want[1234]}, want[1235:]},
		{catalog.Filter{Prefix: "law5/", After: want[1234] + "\x00"}, want[1235:]},
		{catalog.Filter{Prefix: "law5/", After: "a"}, want},
		{catalog.Filter{Prefix: "law5/", After: "law6"}, nil},
		{catalog.Filter{Prefix: "law5/7", After: "law5/79"}, between(want, "law5/79", "law5/8")},
		{catalog.Filter{Prefix: "law5/none"}, nil},
		{catalog.Filter{After: "\U0010ffff\U0010ffff"}, nil},
	} {
		got, err := s.list(c.f)
		if err != nil {
			return err
		}
		if !slices.Equal(got, c.want) {
			return fmt.Errorf("%+v: got %d keys, want %d", c.f, len(got), len(c.want))
		}
	}
	whole, err := s.list(catalog.Filter{})
	if err == nil && (!slices.IsSorted(whole) || len(whole) < n+2) {
		err = fmt.Errorf("the whole list has %d keys, sorted: %t", len(whole), slices.IsSorted(whole))
	}
	return err
}

// between returns the keys that are greater than lo and less than hi.
func between(keys []shard.Key, lo, hi shard.Key) (in []shard.Key) {
	for _, k := range keys {
		if lo < k && k < hi {
			in = append(in, k)
		}
	}
	return in
}

func (s *suite) changing() error {
	seen := 0
	for r, err := range s.c.Records(s.ctx, catalog.Filter{Prefix: "law5/"}) {
		if err != nil {
			return err
		}
		seen++
		del := &catalog.Batch{Deletes: []catalog.Delete{{Key: r.Key, Expect: r.Revision}}}
		if err := s.c.Apply(s.ctx, del); err != nil {
			return err
		}
		if seen == 500 {
			break
		}
	}
	rest, err := s.list(catalog.Filter{Prefix: "law5/"})
	if err == nil && (seen != 500 || len(rest) != 2500) {
		err = fmt.Errorf("%d seen and deleted, %d left of 3000", seen, len(rest))
	}
	return err
}

// lose has the catalogue crash and opens it again.
func (s *suite) lose() error {
	if err := s.crash(); err != nil {
		return err
	}
	s.c = nil
	return s.reopen()
}

func (s *suite) contention() error {
	const writers, rounds = 8, 20
	r := Lazy("law11")
	if err := s.put(0, r); err != nil {
		return err
	}
	var wins, reserved atomic.Int64
	var numbers sync.Map
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				cur, err := s.c.Get(s.ctx, r.Key)
				if err == nil {
					err = s.put(cur.Revision, Next(cur))
				}
				if err == nil {
					wins.Add(1)
				}
				n, err2 := s.c.Reserve(s.ctx, 1)
				if _, twice := numbers.LoadOrStore(n, w); err2 == nil && !twice {
					reserved.Add(1)
				}
				if (err != nil && !errors.Is(err, catalog.ErrConflict)) || err2 != nil {
					errs[w] = errors.Join(err, err2)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	last, err := s.c.Get(s.ctx, r.Key)
	if err != nil {
		return err
	}
	if last.Revision != uint64(wins.Load())+1 || reserved.Load() != writers*rounds {
		return fmt.Errorf("revision %d after %d changes; %d of %d numbers differ",
			last.Revision, wins.Load(), reserved.Load(), writers*rounds)
	}
	return nil
}

func (s *suite) contexts() error {
	over, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.c.Get(over, "law12")
	_, err2 := s.c.Reserve(over, 1)
	err3 := s.c.Apply(over, &catalog.Batch{Puts: []catalog.Put{{Record: Lazy("law12")}}})
	for _, err := range []error{err, err2, err3} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("got %w", err)
		}
	}
	for r, err := range s.c.Records(over, catalog.Filter{}) {
		if r != nil || !errors.Is(err, context.Canceled) {
			return fmt.Errorf("list: %v, %w", r, err)
		}
	}
	return s.absent("law12")
}

func (s *suite) survives() error {
	meta := s.c.Meta()
	if meta.StoreID == [16]byte{} || meta.HashKey == [16]byte{} || meta.Created.IsZero() {
		return fmt.Errorf("meta is not set: %+v", meta)
	}
	full, lazy := Full("law13/full"), Lazy("law13/lazy")
	err := s.c.Apply(s.ctx, &catalog.Batch{
		Puts:       []catalog.Put{{Record: full}, {Record: lazy}},
		AddPending: []index.ID{full.Index.ID},
		AddDead:    []index.ID{13},
		AddLayers:  []catalog.Layer{{N: 13, Length: 13}},
	})
	if err := errors.Join(err, s.lose()); err != nil {
		return err
	}
	err = errors.Join(
		s.expect(full), s.expect(lazy), s.owner(full.Index.ID, full.Key), s.queued(full.Key),
		s.have([]index.ID{full.Index.ID}, []index.ID{13}, catalog.Layer{N: 13, Length: 13}),
	)
	if s.c.Meta() != meta {
		err = errors.Join(err, fmt.Errorf("meta was %+v, is %+v", meta, s.c.Meta()))
	}
	return err
}

func (s *suite) closes() error {
	if err := errors.Join(s.c.Close(s.ctx), s.c.Close(s.ctx)); err != nil {
		return err
	}
	_, err := s.c.Get(s.ctx, "law14")
	_, err2 := s.c.Reserve(s.ctx, 1)
	_, err3 := s.c.Layers(s.ctx)
	err4 := s.put(0, Lazy("law14"))
	_, err5 := s.list(catalog.Filter{})
	for i, err := range []error{err, err2, err3, err4, err5} {
		if !errors.Is(err, catalog.ErrClosed) {
			return fmt.Errorf("call %d: got %w", i, err)
		}
	}
	return nil
}
