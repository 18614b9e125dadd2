package indextest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// The laws of an inverted index, as they stand in the errors.
const (
	lawOpen     = "it always opens"
	lawMiss     = "that nobody holds a multihash is no error"
	lawComplete = "what was added and not dropped is found"
	lawDropped  = "what was dropped is in no answer"
	lawAdded    = "only what was added is in an answer"
	lawNewest   = "newest first, each once"
	lawLimit    = "a limit cuts the same answer short"
	lawAppend   = "Find appends to dst"
	lawDurable  = "what Sync returned for outlives a crash"
	lawAgain    = "adding again is harmless"
	lawSource   = "an error of the source is the error of Add"
	lawUnknown  = "dropping what was never added is harmless"
	lawParallel = "a reader never misses what was there before a writer came"
)

// TestInverted checks an empty index that open gives. It opens it again at many
// points, and is done with the one before by then. crash, if not nil, is called
// before some of these to take away what was not synced. ctx ends the test
// early, with its error.
func TestInverted(ctx context.Context, open func() (index.Inverted, error), crash func() error) error {
	t := &invertedTest{
		open: open, crash: crash,
		rng:     rand.New(rand.NewPCG(1, 0)),
		pool:    pool(400),
		holders: map[string][]index.ID{},
		shards:  map[index.ID]*shardModel{},
	}
	if !t.reopen(false) {
		return t.err()
	}
	t.empty()
	for step := 0; step < 300 && ctx.Err() == nil && !t.full(); step++ {
		if !t.step(ctx, step) {
			break
		}
	}
	if ctx.Err() == nil && !t.full() {
		t.failingSource(ctx)
		t.parallel(ctx)
		t.checkAll()
	}
	return errors.Join(ctx.Err(), t.err())
}

// pool returns n different multihashes, no identity among them.
func pool(n int) []multihash.Multihash {
	var out []multihash.Multihash
	seen := map[string]bool{}
	for r, err := range Records(7, 4*n) {
		code, _, _ := split(r.Multihash)
		if err == nil && code != multihash.IDENTITY && !seen[string(r.Multihash)] && len(out) < n {
			seen[string(r.Multihash)] = true
			out = append(out, r.Multihash)
		}
	}
	return out
}

// A shardModel is what must be true of one ID.
type shardModel struct {
	mhs     []multihash.Multihash
	synced  bool // the last change of it
	dropped bool
}

type invertedTest struct {
	report
	open    func() (index.Inverted, error)
	crash   func() error
	rng     *rand.Rand
	pool    []multihash.Multihash
	ix      index.Inverted
	next    index.ID
	holders map[string][]index.ID // rising; dropped ones included
	shards  map[index.ID]*shardModel
	mixed   bool // IDs were added in another order than rising
}

// full says that so many laws were broken that going on tells nothing new.
func (t *invertedTest) full() bool { return len(t.errs) >= 3*perLaw }

// empty checks an index that holds nothing.
func (t *invertedTest) empty() {
	for _, mh := range append(t.pool[:3:3], nil, multihash.Multihash{0, 0}, multihash.Multihash{0x12}) {
		if ids, err := t.ix.Find(nil, mh, 0); err != nil || len(ids) != 0 {
			t.broken(lawMiss, "Find(%x) in an empty index = %v, %v", []byte(mh), ids, err)
		}
	}
	if err := t.ix.Drop(12345); err != nil {
		t.broken(lawUnknown, "Drop: %w", err)
	}
	t.next = 1
}

// step does one thing and checks the answers that it may have changed.
func (t *invertedTest) step(ctx context.Context, n int) bool {
	switch what := t.rng.IntN(100); {
	case what < 55:
		return t.add(ctx, t.choose(n))
	case what < 70:
		return t.drop()
	case what < 85:
		return t.sync(ctx)
	default:
		return t.restart(ctx, t.crash != nil && what >= 92)
	}
}

// choose picks what a new shard holds: one multihash that all of them share,
// some that many do, some at random; now and then a lot of them, or none.
func (t *invertedTest) choose(n int) []multihash.Multihash {
	if n%37 == 36 {
		return nil
	}
	mhs := []multihash.Multihash{t.pool[0]}
	count := t.rng.IntN(12)
	if n%50 == 49 {
		count = 3 * len(t.pool)
	}
	for range count {
		i := t.rng.IntN(len(t.pool))
		if t.rng.IntN(2) == 0 {
			i = t.rng.IntN(10)
		}
		mhs = append(mhs, t.pool[i]) // repeats are wanted
	}
	return mhs
}

func (t *invertedTest) add(ctx context.Context, mhs []multihash.Multihash) bool {
	id := t.next
	t.next += index.ID(1 + t.rng.IntN(3)) // IDs need not be dense
	if err := t.ix.Add(ctx, id, seq(mhs)); err != nil {
		t.broken(lawComplete, "Add(%d): %w", id, err)
		return false
	}
	t.shards[id] = &shardModel{mhs: mhs}
	for _, mh := range mhs {
		if ids := t.holders[string(mh)]; len(ids) == 0 || ids[len(ids)-1] != id {
			t.holders[string(mh)] = append(ids, id)
		}
	}
	t.check(lawComplete, mhs)
	return true
}

// seq yields mhs, all in one buffer: a multihash is good until the next one.
func seq(mhs []multihash.Multihash) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		var buf []byte
		for _, mh := range mhs {
			buf = append(buf[:0], mh...)
			if !yield(buf, nil) {
				return
			}
			clear(buf)
		}
	}
}

func (t *invertedTest) drop() bool {
	ids := t.live()
	if len(ids) == 0 {
		return true
	}
	id := ids[t.rng.IntN(len(ids))]
	if err := t.ix.Drop(id); err != nil {
		t.broken(lawDropped, "Drop(%d): %w", id, err)
		return false
	}
	s := t.shards[id]
	s.dropped, s.synced = true, false
	t.check(lawDropped, s.mhs)
	return true
}

func (t *invertedTest) live() []index.ID {
	var ids []index.ID
	for id, s := range t.shards {
		if !s.dropped {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids) // so that a seed gives one history
	return ids
}

func (t *invertedTest) sync(ctx context.Context) bool {
	if err := t.ix.Sync(ctx); err != nil {
		t.broken(lawDurable, "Sync: %w", err)
		return false
	}
	for _, s := range t.shards {
		s.synced = true
	}
	t.check(lawComplete, t.pool[:20])
	return true
}

// restart opens the index again. What was not synced is then done again, as a
// store does with what its catalogue says is pending.
func (t *invertedTest) restart(ctx context.Context, crash bool) bool {
	if !t.reopen(crash) {
		return false
	}
	for _, id := range slices.Sorted(keys(t.shards)) {
		if s := t.shards[id]; s.synced && len(s.mhs) > 0 {
			t.checkDurable(id, s)
		}
	}
	for _, id := range slices.Sorted(keys(t.shards)) {
		s := t.shards[id]
		if s.synced && t.rng.IntN(20) > 0 { // some of the synced ones, too
			continue
		}
		var err error
		if s.dropped {
			err = t.ix.Drop(id)
		} else {
			err = t.ix.Add(ctx, id, seq(s.mhs))
			t.mixed = true
		}
		if err != nil {
			t.broken(lawAgain, "ID %d after opening again: %w", id, err)
			return false
		}
	}
	t.check(lawAgain, t.pool[:20])
	return true
}

func keys(m map[index.ID]*shardModel) iter.Seq[index.ID] {
	return func(yield func(index.ID) bool) {
		for id := range m {
			if !yield(id) {
				return
			}
		}
	}
}

func (t *invertedTest) reopen(crash bool) bool {
	if crash {
		if err := t.crash(); err != nil {
			t.broken(lawOpen, "crash: %w", err)
			return false
		}
	}
	ix, err := t.open()
	if err != nil {
		t.broken(lawOpen, "open: %w", err)
		return false
	}
	t.ix = ix
	return true
}

// checkDurable looks at one ID whose last change was synced, before anything
// is added again.
func (t *invertedTest) checkDurable(id index.ID, s *shardModel) {
	mh := s.mhs[t.rng.IntN(len(s.mhs))]
	ids, err := t.ix.Find(nil, mh, 0)
	switch has := slices.Contains(ids, id); {
	case err != nil:
		t.broken(lawDurable, "Find(%x): %w", []byte(mh), err)
	case has && s.dropped:
		t.broken(lawDurable, "ID %d was dropped, and is back under %x", id, []byte(mh))
	case !has && !s.dropped:
		t.broken(lawDurable, "ID %d is not found under %x any more", id, []byte(mh))
	}
}

func (t *invertedTest) checkAll() {
	t.check(lawComplete, t.pool)
	t.check(lawMiss, pool(500)[400:])
}

// check asks for each of mhs, or some of very many, and holds the answer
// against the model. law is what has been broken if one is missing.
func (t *invertedTest) check(law string, mhs []multihash.Multihash) {
	every := 1 + len(mhs)/(len(t.pool)+1)*10
	for i, mh := range mhs {
		if i%every != 0 {
			continue
		}
		got, err := t.ix.Find(nil, mh, 0)
		if err != nil {
			t.broken(law, "Find(%x): %w", []byte(mh), err)
			continue
		}
		for _, id := range t.holders[string(mh)] {
			if !t.shards[id].dropped && !slices.Contains(got, id) {
				t.broken(law, "Find(%x) = %v lacks %d", []byte(mh), got, id)
			}
		}
		t.checkAnswer(mh, got)
	}
}

func (t *invertedTest) checkAnswer(mh multihash.Multihash, got []index.ID) {
	seen := map[index.ID]bool{}
	for i, id := range got {
		s, known := t.shards[id]
		switch {
		case !known:
			t.broken(lawAdded, "Find(%x) = %v has %d", []byte(mh), got, id)
		case s.dropped:
			t.broken(lawDropped, "Find(%x) = %v has %d", []byte(mh), got, id)
		}
		if seen[id] || i > 0 && !t.mixed && got[i-1] < id {
			t.broken(lawNewest, "Find(%x) = %v", []byte(mh), got)
		}
		seen[id] = true
	}
	prefix := []index.ID{9, 9, 9}
	for _, limit := range []int{0, 1, 2, len(got), len(got) + 1} {
		want := got
		if limit > 0 {
			want = got[:min(limit, len(got))]
		}
		cut, err := t.ix.Find(slices.Clone(prefix), mh, limit)
		switch {
		case err != nil:
			t.broken(lawLimit, "Find(%x) with limit %d: %w", []byte(mh), limit, err)
		case len(cut) < 3 || !slices.Equal(cut[:3], prefix):
			t.broken(lawAppend, "Find(%v, %x) = %v", prefix, []byte(mh), cut)
		case !slices.Equal(cut[3:], want):
			t.broken(lawLimit, "Find(%x) with limit %d = %v, want %v", []byte(mh), limit, cut[3:], want)
		}
	}
}

// failingSource adds an ID whose multihashes end in an error, and then again
// without.
func (t *invertedTest) failingSource(ctx context.Context) {
	id := t.next
	t.next++
	cause := errors.New("made by indextest")
	mhs := t.pool[:5]
	err := t.ix.Add(ctx, id, func(yield func(multihash.Multihash, error) bool) {
		for mh, err := range seq(mhs) {
			if !yield(mh, err) {
				return
			}
		}
		yield(nil, cause)
	})
	if !errors.Is(err, cause) {
		t.broken(lawSource, "Add = %v", err)
	}
	t.shards[id] = &shardModel{mhs: mhs} // it may be named, or not
	t.check(lawSource, mhs)
	if err := t.ix.Add(ctx, id, seq(mhs)); err != nil {
		t.broken(lawAgain, "Add after a failed Add: %w", err)
		return
	}
	for _, mh := range mhs {
		t.holders[string(mh)] = append(t.holders[string(mh)], id)
	}
	t.check(lawAgain, mhs)
}

// parallel reads what is there while more is added, dropped and synced.
func (t *invertedTest) parallel(ctx context.Context) {
	keep := t.next
	t.next++
	if err := t.ix.Add(ctx, keep, seq(t.pool[:50])); err != nil {
		t.broken(lawParallel, "Add: %w", err)
		return
	}
	t.shards[keep] = &shardModel{mhs: t.pool[:50]}
	for _, mh := range t.pool[:50] {
		t.holders[string(mh)] = append(t.holders[string(mh)], keep)
	}
	stop := make(chan struct{})
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = t.readUntil(stop, keep, uint64(i)) })
	}
	for range 100 {
		id := t.next
		t.next++
		mh := binary.AppendUvarint(nil, multihash.SHA1)
		mh = append(binary.AppendUvarint(mh, 20), make([]byte, 20)...)
		binary.BigEndian.PutUint32(mh[2:], uint32(id))
		mhs := append(t.pool[:5:5], mh)
		err := t.ix.Add(ctx, id, seq(mhs))
		if err == nil {
			err = t.ix.Drop(id)
		}
		if err == nil && id%10 == 0 {
			err = t.ix.Sync(ctx)
		}
		if err != nil {
			t.broken(lawParallel, "writer: %w", err)
			break
		}
		t.shards[id] = &shardModel{mhs: mhs, dropped: true}
	}
	close(stop)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.broken(lawParallel, "%w", err)
	}
}

func (t *invertedTest) readUntil(stop <-chan struct{}, keep index.ID, seed uint64) error {
	rng := rand.New(rand.NewPCG(2, seed))
	var dst []index.ID
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		mh := t.pool[rng.IntN(50)]
		var err error
		if dst, err = t.ix.Find(dst[:0], mh, 0); err != nil {
			return fmt.Errorf("Find(%x): %w", []byte(mh), err)
		}
		if !slices.Contains(dst, keep) {
			return fmt.Errorf("Find(%x) = %v lacks %d", []byte(mh), dst, keep)
		}
	}
}
