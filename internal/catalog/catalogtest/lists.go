package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

func (s *suite) pending(ctx context.Context) func(func(index.ID, error) bool) {
	return s.c.Pending(ctx)
}
func (s *suite) dead(ctx context.Context) func(func(index.ID, error) bool) { return s.c.Dead(ctx) }

func (s *suite) queue() (queue []catalog.Queued, err error) {
	for q, err := range s.c.Intents(s.ctx, 0) {
		if err != nil {
			return nil, err
		}
		queue = append(queue, q)
	}
	return queue, nil
}

func (s *suite) queued(want ...shard.Key) error {
	queue, err := s.queue()
	if err != nil {
		return err
	}
	var keys []shard.Key
	for i, q := range queue {
		keys = append(keys, q.Key)
		if i > 0 && q.Seq <= queue[i-1].Seq || q.Seq == 0 {
			return fmt.Errorf("numbers do not rise: %v", queue)
		}
	}
	if !slices.Equal(keys, want) {
		return fmt.Errorf("queue is %q, want %q", keys, want)
	}
	return nil
}

func (s *suite) intents() error {
	with := func(r *catalog.Record, i catalog.Intent) *catalog.Record { r.Intent = i; return r }
	b := with(Lazy("law7/b"), catalog.Initialize)
	a := with(Lazy("law7/a"), catalog.Initialize)
	c := with(Lazy("law7/c"), catalog.Destroy)
	if err := errors.Join(s.put(0, b, c), s.put(0, a), s.queued(b.Key, c.Key, a.Key)); err != nil {
		return err
	}
	before, err := s.queue()
	if err != nil {
		return err
	}
	// The same intent keeps its place, also over a restart; another gets a new one.
	if err := errors.Join(s.put(1, Next(b)), s.reopen(), s.queued(b.Key, c.Key, a.Key)); err != nil {
		return err
	}
	if after, err := s.queue(); err != nil || !slices.Equal(before, after) {
		return fmt.Errorf("queue was %v, is %v (%w)", before, after, err)
	}
	for q, err := range s.c.Intents(s.ctx, before[0].Seq) {
		if err != nil || q != before[1] {
			return fmt.Errorf("after %d: %v, %w", before[0].Seq, q, err)
		}
		break
	}
	for q, err := range s.c.Intents(s.ctx, math.MaxUint64) {
		return fmt.Errorf("after the last number: %v, %w", q, err)
	}
	return errors.Join(
		s.put(2, with(Next(Next(b)), catalog.Destroy)), s.queued(c.Key, a.Key, b.Key),
		s.put(1, with(Next(c), catalog.NoIntent)), s.queued(a.Key, b.Key),
		s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: a.Key, Expect: 1}}}), s.queued(b.Key),
		s.put(3, with(Next(Next(Next(b))), catalog.NoIntent)), s.queued(),
	)
}

// owned checks which of the ids from 8001 to 8999 have an owner.
func (s *suite) owned(want ...index.ID) error {
	ids, err := s.ids(func(ctx context.Context) func(func(index.ID, error) bool) { return s.c.Owners(ctx) })
	ids = slices.DeleteFunc(ids, func(id index.ID) bool { return id < 8001 || id > 8999 })
	if err != nil || !slices.Equal(ids, want) {
		return fmt.Errorf("ids with an owner: %v, %w, want %v", ids, err, want)
	}
	return nil
}

func (s *suite) owner(id index.ID, want shard.Key) error {
	got, err := s.c.Owner(s.ctx, id)
	if want == "" && errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil || got != want {
		return fmt.Errorf("owner of %d: %q, %w, want %q", id, string(got), err, string(want))
	}
	return nil
}

func (s *suite) owners() error {
	r := Lazy("law8")
	r.State, r.Index.ID = shard.Available, 8001
	if err := errors.Join(s.put(0, r), s.owner(8001, r.Key), s.owner(8002, ""), s.owned(8001)); err != nil {
		return err
	}
	again := Next(r)
	again.Index.ID = 8002
	more := Lazy("law8/lower")
	more.State, more.Index.ID = shard.Errored, 8001
	if err := errors.Join(s.put(1, again), s.owner(8001, ""), s.owner(8002, r.Key), s.owned(8002)); err != nil {
		return err
	}
	if err := errors.Join(s.put(0, more), s.owned(8001, 8002)); err != nil {
		return err
	}
	err := s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: r.Key, Expect: 2}}})
	return errors.Join(err, s.owner(8002, ""), s.owned(8001))
}

func (s *suite) sets() error {
	l1 := catalog.Layer{N: 9, Length: 1 << 40, CRC: 7, Entries: 1 << 35, Keys: 1 << 34, First: 1, Last: math.MaxUint32}
	l2 := catalog.Layer{N: math.MaxUint32, First: 5, Last: 5}
	err := s.c.Apply(s.ctx, &catalog.Batch{
		AddPending: []index.ID{9, 300, math.MaxUint32}, AddDead: []index.ID{10, 2}, AddLayers: []catalog.Layer{l2, l1},
	})
	if err := errors.Join(err, s.reopen(), s.have([]index.ID{9, 300, math.MaxUint32}, []index.ID{2, 10}, l1, l2)); err != nil {
		return err
	}
	err = s.c.Apply(s.ctx, &catalog.Batch{
		AddPending: []index.ID{9}, DelPending: []index.ID{300, math.MaxUint32, 301},
		DelDead: []index.ID{2}, DelLayers: []uint32{9, 8},
	})
	if err := errors.Join(err, s.have([]index.ID{9}, []index.ID{10}, l2)); err != nil {
		return err
	}
	err = s.c.Apply(s.ctx, &catalog.Batch{
		DelPending: []index.ID{9}, DelDead: []index.ID{10}, DelLayers: []uint32{l2.N},
	})
	return errors.Join(err, s.have(nil, nil))
}

func (s *suite) have(pending, dead []index.ID, layers ...catalog.Layer) error {
	p, err1 := s.ids(s.pending)
	d, err2 := s.ids(s.dead)
	l, err3 := s.c.Layers(s.ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if !slices.Equal(p, pending) || !slices.Equal(d, dead) || !slices.Equal(l, layers) {
		return fmt.Errorf("pending %v, dead %v, layers %v, want %v, %v, %v", p, d, l, pending, dead, layers)
	}
	return nil
}

func (s *suite) numbers() error {
	next := uint32(0)
	for i, n := range []uint32{1, 1000, 7, 1} {
		first, err := s.c.Reserve(s.ctx, n)
		if err != nil {
			return err
		}
		if i == 0 && first != 1 {
			return fmt.Errorf("the first number is %d", first)
		}
		if first <= next && i > 0 {
			return fmt.Errorf("%d comes again: %d to %d were given out", first, 1, next)
		}
		next = first + n - 1
		switch i {
		case 1:
			err = s.reopen()
		case 2:
			err = s.lose()
		}
		if err != nil {
			return err
		}
	}
	if _, err := s.c.Reserve(s.ctx, 0); !errors.Is(err, catalog.ErrInvalid) {
		return fmt.Errorf("no numbers: %w", err)
	}
	if _, err := s.c.Reserve(s.ctx, math.MaxUint32); !errors.Is(err, catalog.ErrExhausted) {
		return fmt.Errorf("too many numbers: %w", err)
	}
	_, err := s.c.Reserve(s.ctx, 1)
	return err
}
