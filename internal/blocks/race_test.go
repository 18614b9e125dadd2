package blocks

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// TestR12ReadsWhileHandlesComeAndGo has 64 goroutines read over 12 shards with
// room for two, while handles are removed under them. Every read is right, and
// no index is asked after it was closed.
func TestR12ReadsWhileHandlesComeAndGo(t *testing.T) {
	s := newStore(t, 2)
	var blocks [][]cartest.Block
	for i := range 12 {
		blocks = append(blocks, cartest.Random(uint64(i), 20, 200))
		s.addFile(cartest.V1(nil, blocks[i]), i%3 == 0)
	}
	r := s.reader()
	var stop atomic.Bool
	var remover, wg sync.WaitGroup
	remover.Go(func() {
		for i := 0; !stop.Load(); i++ {
			s.cache.Remove(s.shards[1].id, nil)
		}
	})
	for g := range uint64(64) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 3))
			for range 60 {
				from := blocks[rng.IntN(12)]
				b := from[rng.IntN(20)]
				if got, err := r.Get(t.Context(), b.CID, Options{}); err != nil || !bytes.Equal(got, b.Data) {
					t.Errorf("Get: %v", err)
				}
				err := r.View(t.Context(), b.CID, Options{}, func(p []byte) error {
					if !bytes.Equal(p, b.Data) {
						t.Error("View: wrong data")
					}
					return nil
				})
				if err != nil {
					t.Errorf("View: %v", err)
				}
				for m, err := range r.Many(t.Context(), []cid.Cid{b.CID, from[0].CID}, Options{}) {
					if err != nil || len(m.Data) != 200 {
						t.Errorf("Many: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	remover.Wait()
	for _, sh := range s.shards {
		if n := sh.index.abused.Load(); n != 0 {
			t.Fatalf("the index of %s was asked %d times after it was closed", sh.key, n)
		}
	}
}

// TestForceWhileReadsAreInProgress severs a shard under its readers: each
// read is right or says that the shard was destroyed, and those who read over
// all shards notice nothing, since another one has the blocks.
func TestForceWhileReadsAreInProgress(t *testing.T) {
	for range 10 {
		s := newStore(t, 10)
		blocks := cartest.Random(1, 50, 300)
		sh, _ := s.addFile(cartest.V1(nil, blocks), false)
		other, _ := s.addFile(cartest.V1(nil, blocks), false)
		h := s.hold(sh)
		s.hold(other)
		one, all := readerOf(h, s.config()), s.reader()
		var wg sync.WaitGroup
		var destroyed atomic.Int64
		for g := range 16 {
			wg.Go(func() {
				for i := 0; destroyed.Load() < 16 && i < 1e6; i++ {
					b := blocks[(g+i)%len(blocks)]
					got, err := one.Get(t.Context(), b.CID, Options{})
					switch {
					case errors.Is(err, shard.ErrDestroyed):
						destroyed.Add(1)
					case err != nil || !bytes.Equal(got, b.Data):
						t.Errorf("the severed shard: %v", err)
						return
					}
					if got, err := all.Get(t.Context(), b.CID, Options{}); err != nil || !bytes.Equal(got, b.Data) {
						t.Errorf("all shards: %v", err)
						return
					}
				}
			})
		}
		s.cache.Sever(sh.id)
		s.mu.Lock()
		delete(s.shards, sh.id)
		s.mu.Unlock()
		wg.Wait()
		if sh.index.open.Load() != 1 {
			t.Fatal("the index was closed under its holder")
		}
		_, err := one.Get(t.Context(), blocks[0].CID, Options{})
		var se *shard.Error
		if !errors.Is(err, shard.ErrDestroyed) || !errors.As(err, &se) || se.Key != sh.key {
			t.Fatal(err)
		}
	}
}

func TestReadsAfterTheCacheIsClosed(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 5, 30)
	sh := s.add(cartest.V1(nil, blocks), false)
	one := readerOf(s.hold(sh), Config{})
	s.cache.Close()
	for name, r := range map[string]*Reader{"one": one, "all": s.reader()} {
		if _, err := r.Get(t.Context(), blocks[0].CID, Options{}); !errors.Is(err, local.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
