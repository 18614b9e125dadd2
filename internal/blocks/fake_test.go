package blocks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// mapIndex is an index that says what a test wants it to say.
type mapIndex struct {
	pos    map[string][]index.Position
	err    error
	open   atomic.Int64 // handles that have it open
	abused atomic.Int64
}

// openIndex is a mapIndex, as one handle has it open.
type openIndex struct {
	*mapIndex
	closed atomic.Bool
}

func (x *openIndex) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	if x.closed.Load() {
		x.abused.Add(1)
	}
	return x.mapIndex.Find(dst, mh, limit)
}

// First is as of [index.File]: a read that finds its block allocates nothing
// for it.
func (x *openIndex) First(mh multihash.Multihash) (p index.Position, ok bool, err error) {
	if x.closed.Load() {
		x.abused.Add(1)
	}
	if pos := x.pos[string(mh)]; len(pos) > 0 && x.err == nil {
		return pos[0], true, nil
	}
	return p, false, x.err
}

// Sample is not asked for: no source of these tests is in doubt.
func (x *openIndex) Sample(int) ([]index.Record, error) { return nil, errors.ErrUnsupported }

func (x *openIndex) Close() error {
	x.closed.Store(true)
	x.open.Add(-1)
	return nil
}

func (x *mapIndex) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	pos := x.pos[string(mh)]
	if limit > 0 && len(pos) > limit {
		pos = pos[:limit]
	}
	return append(dst, pos...), x.err
}

func (x *mapIndex) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		for mh, pos := range x.pos {
			for _, p := range pos {
				if !yield(index.Record{Multihash: multihash.Multihash(mh), Position: p}, nil) {
					return
				}
			}
		}
	}
}

func (x *mapIndex) Len() int64 { return int64(len(x.pos)) }

// scan indexes a CAR. A bare index knows offsets only.
func scan(tb testing.TB, data []byte, bare bool) (*mapIndex, shard.Extent) {
	tb.Helper()
	x := &mapIndex{pos: map[string][]index.Position{}}
	res, err := car.Scan(tb.Context(), bytes.NewReader(data), car.Options{Size: int64(len(data))}, func(s *car.Section) error {
		if s.Identity() {
			return nil
		}
		p := index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head}
		if bare {
			p.Size, p.Head = -1, 0
		}
		x.pos[string(s.Multihash())] = append(x.pos[string(s.Multihash())], p)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return x, shard.Extent{Offset: res.DataOffset, Size: res.PayloadSize}
}

// A fakeStore is shards, an inverted index of them, and a cache of handles.
type fakeStore struct {
	tb     testing.TB
	cache  *local.Cache
	mu     sync.Mutex
	shards map[index.ID]*fakeShard
	err    error // of the inverted index

	faults []shard.Fault
	lost   []error
	passes int
}

type fakeShard struct {
	id      index.ID
	key     shard.Key
	mount   mount.Mount
	size    int64
	payload shard.Extent
	index   *mapIndex
	limits  car.Limits
	openErr error
	opens   int
	phantom bool // a candidate for everything
}

func newStore(tb testing.TB, idle int) *fakeStore {
	s := &fakeStore{tb: tb, shards: map[index.ID]*fakeShard{}, cache: local.NewCache(local.CacheConfig{Idle: idle})}
	tb.Cleanup(s.cache.Close)
	return s
}

// add makes a shard of data in memory. Later ones are newer.
func (s *fakeStore) add(data []byte, bare bool) *fakeShard {
	s.tb.Helper()
	var set memmount.Set
	return s.addMount(set.Put("car", data), data, bare)
}

// addFile is add, of a file at the path that it returns.
func (s *fakeStore) addFile(data []byte, bare bool) (*fakeShard, string) {
	s.tb.Helper()
	path := filepath.Join(s.tb.TempDir(), "a.car")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		s.tb.Fatal(err)
	}
	return s.addMount(m, data, bare), path
}

func (s *fakeStore) addMount(m mount.Mount, data []byte, bare bool) *fakeShard {
	s.tb.Helper()
	sh := &fakeShard{mount: m, size: int64(len(data))}
	sh.index, sh.payload = scan(s.tb, data, bare)
	return s.addShard(sh)
}

func (s *fakeStore) addShard(sh *fakeShard) *fakeShard {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.id = index.ID(len(s.shards) + 1)
	sh.key = shard.Key(fmt.Sprintf("shard %d", sh.id))
	s.shards[sh.id] = sh
	return sh
}

func (s *fakeStore) candidates(_ context.Context, mh multihash.Multihash, yield func(index.ID) bool) error {
	s.mu.Lock()
	s.passes++
	var ids []index.ID
	for id, sh := range s.shards {
		if sh.phantom || len(sh.index.pos[string(mh)]) > 0 {
			ids = append(ids, id)
		}
	}
	err := s.err
	s.mu.Unlock()
	slices.SortFunc(ids, func(a, b index.ID) int { return cmp.Compare(b, a) })
	for _, id := range ids {
		if !yield(id) {
			break
		}
	}
	return err
}

var errFakeSource = fmt.Errorf("%w: it is far away", shard.ErrSource)

// open is what the engine does, one at a time.
func (s *fakeStore) open(ctx context.Context, id index.ID, localOnly bool) (*local.Handle, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.cache.Lookup(id); ok {
		return h, nil, nil
	}
	sh, ok := s.shards[id]
	if !ok {
		return nil, nil, fmt.Errorf("%w: %d", shard.ErrUnknown, id)
	}
	sh.opens++
	if sh.openErr != nil {
		return nil, nil, sh.openErr
	}
	if localOnly && sh.mount == nil {
		return nil, nil, shard.ErrRemote
	}
	h, err := local.Open(ctx, local.Spec{
		Key: sh.key, ID: id, Mount: sh.mount, Source: mount.Stat{Size: sh.size}, Payload: sh.payload, Limits: sh.limits,
		OpenIndex: func(context.Context) (local.IndexFile, error) {
			sh.index.open.Add(1)
			return &openIndex{mapIndex: sh.index}, nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	h, ok = s.cache.Put(h)
	if !ok {
		return nil, nil, local.ErrClosed
	}
	if !h.Pin() {
		s.cache.Release(h)
		return nil, nil, h.Err()
	}
	return h, func() { s.cache.Release(h) }, nil
}

func (s *fakeStore) config() Config {
	return Config{
		Candidates: s.candidates,
		Cached:     s.cache.Lookup,
		Open:       s.open,
		Owner: func(_ context.Context, id index.ID) (shard.Key, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if sh, ok := s.shards[id]; ok {
				return sh.key, nil
			}
			return "", shard.ErrUnknown
		},
		Fault: func(_ *local.Handle, f *shard.Fault) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.faults = append(s.faults, *f)
		},
		Lost: func(_ *local.Handle, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lost = append(s.lost, err)
		},
	}
}

func (s *fakeStore) reader() *Reader { return New(s.config()) }

// hold opens sh and keeps it open to the end of the test.
func (s *fakeStore) hold(sh *fakeShard) *local.Handle {
	s.tb.Helper()
	h, release, err := s.open(s.tb.Context(), sh.id, false)
	if err != nil {
		s.tb.Fatal(err)
	}
	if release == nil {
		h2, ok := s.cache.Hold(sh.id)
		if !ok {
			s.tb.Fatal("cannot hold")
		}
		release = func() { s.cache.Release(h2) }
	}
	h.Unpin()
	s.tb.Cleanup(release)
	return h
}

// mixed is blocks of every kind that matters to a reader.
func mixed() []cartest.Block {
	out := []cartest.Block{
		cartest.V0([]byte("an old one")),
		cartest.Sum(0x71, multihash.SHA2_512, []byte("another hash")),
		cartest.Sum(0x71, multihash.BLAKE2B_MIN+31, []byte("and another")),
		cartest.Sum(0x70, multihash.SHA2_256, []byte("another codec")),
	}
	for i, size := range []int{0, 1, 100, 1024, headGuess - 40, headGuess - 38, headGuess - 1, headGuess, 100_000} {
		out = append(out, cartest.RandomBlock(7, i, size))
	}
	return out
}

// forms are the ways in which the same blocks may lie and be indexed.
func forms(blocks []cartest.Block) map[string]struct {
	car  []byte
	bare bool
} {
	v1 := cartest.V1(nil, blocks)
	v2 := cartest.V2(v1, cartest.Container{})
	return map[string]struct {
		car  []byte
		bare bool
	}{
		"v1": {v1, false}, "v1 bare": {v1, true}, "v2": {v2, false}, "v2 bare": {v2, true},
	}
}

// fakeMemory is a mount of data.
func fakeMemory(data []byte) mount.Mount {
	var set memmount.Set
	return set.Put("far", data)
}

// rangeMount hides that a mount is on this machine, and counts requests.
type rangeMount struct {
	mount.Mount
	requests atomic.Int64
	cut      func(r mount.Range) error
}

func (m *rangeMount) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	m.requests.Add(1)
	if m.cut != nil {
		if err := m.cut(r); err != nil {
			return nil, err
		}
	}
	return mount.OpenRange(ctx, m.Mount, r)
}

// wantFault fails the test unless err is of shard key and about the section at
// offset in the file.
func wantFault(tb testing.TB, err error, key shard.Key, kind shard.FaultKind, offset int64) {
	tb.Helper()
	var se *shard.Error
	var f *shard.Fault
	if !errors.As(err, &se) || !errors.As(err, &f) {
		tb.Fatalf("not the error of a shard about a fault: %v", err)
	}
	if se.Key != key || se.Op != shard.OpRead || f.Kind != kind || f.Offset != offset || !f.CID.Defined() {
		tb.Fatalf("%v; want %v at offset %d of %q", err, kind, offset, key)
	}
}

// readerOf is a reader over one shard.
func readerOf(h *local.Handle, cfg Config) *Reader {
	r := New(cfg).Of(h)
	return &r
}
