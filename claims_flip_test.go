package dagstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// A spoil is a CAR with its index, one of which is changed at random: bits are
// flipped, bytes overwritten, the end is cut off or something appended.
type spoil struct {
	name    string
	car, ix []byte // ix lies beside it; nil: inside or nowhere
	blocks  []cartest.Block
}

// spoilables are good CARs, each with each kind of index.
func spoilables(t *testing.T) (all []spoil) {
	for seed, n := range []int{1, 7, 40} {
		payload, blocks := cartest.RandomV1(uint64(seed), n, 90), cartest.Random(uint64(seed), n, 90)
		recs := recordsOf(t, payload)
		for _, bare := range []bool{false, true} {
			ix := writeIndex(t, recs, bare)
			all = append(all,
				spoil{fmt.Sprintf("%d beside %v", n, bare), payload, ix, blocks},
				spoil{fmt.Sprintf("%d inside %v", n, bare), cartest.V2(payload, cartest.Container{Index: ix}), nil, blocks})
		}
	}
	return all
}

// spoiled returns b with some of it changed.
func spoiled(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + rng.IntN(3) {
		if len(b) == 0 {
			break
		}
		at := rng.IntN(len(b))
		switch rng.IntN(8) {
		case 0:
			b = b[:at]
		case 1:
			b[at] = byte(rng.Uint32())
		case 2:
			for i := at; i < min(at+8, len(b)); i++ {
				b[i] = byte(rng.Uint32())
			}
		case 3:
			b = append(b, byte(rng.Uint32()))
		default:
			b[at] ^= 1 << rng.IntN(8)
		}
	}
	return b
}

// Whatever bits of a CAR or its index are others than they were: no block has
// other bytes than its CID says, nothing panics, every error is typed.
func TestRandomFlips(t *testing.T) {
	const each = 5000 // runs in one store: the disk of these tests copies its whole log with each sync
	seed, runs := longtest.Seed(), longtest.Runs(1200, 700_000)
	goods := spoilables(t)
	var sum flipTally
	for first := 0; first < runs && !t.Failed(); first += each {
		t.Run(fmt.Sprint("from ", first), func(t *testing.T) {
			sum.add(flips(t, goods, seed, first, min(first+each, runs)))
		})
	}
	if sum.served == 0 || sum.refused == 0 || sum.faults == 0 {
		t.Errorf("%+v: nothing was tried", sum)
	}
	longtest.Figure(t, "%d CARs and indices with random changes from seed %d: %d blocks served, all right; %d missed, %d CARs refused",
		runs, seed, sum.served, sum.faults, sum.refused)
}

// flips makes the runs from first to before last in a store of their own.
func flips(t *testing.T, goods []spoil, seed uint64, first, last int) (sum flipTally) {
	r := newRig(t)
	var cars memmount.Set
	r.cfg.Mounts["mem"] = cars.Open
	r.reopen()
	var next atomic.Int64
	var mu sync.Mutex
	var workers sync.WaitGroup
	next.Store(int64(first))
	for w := range 2 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1) - 1); i < last && !t.Failed(); i = int(next.Add(1) - 1) {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				// A key that was removed costs as much to look for as it has versions in memory.
				key := shard.Key(fmt.Sprintf("shard %d.%d", w, i/64))
				s := goods[rng.IntN(len(goods))]
				car, ix := s.car, s.ix
				if ix == nil || rng.IntN(2) == 0 {
					car = spoiled(rng, car)
				} else {
					ix = spoiled(rng, ix)
				}
				policy := IndexPolicy(rng.IntN(int(Adopt) + 1))
				tally, err := flip(r, &cars, key, car, ix, s.blocks, policy)
				if err != nil {
					t.Errorf("run %d of seed %d, %s, policy %d: %v", i, seed, s.name, policy, err)
				}
				mu.Lock()
				sum.add(tally)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return sum
}

type flipTally struct{ served, refused, faults int64 }

func (n *flipTally) add(m flipTally) {
	n.served += m.served
	n.refused += m.refused
	n.faults += m.faults
}

// flip registers a spoiled CAR, reads every block from it and from all shards,
// and gives it up.
func flip(r *rig, cars *memmount.Set, key shard.Key, car, ix []byte, blocks []cartest.Block, policy IndexPolicy) (n flipTally, err error) {
	ctx := context.Background()
	name := string(key) + ".car"
	m := cars.Put(name, car)
	cars.Delete(name + ".idx")
	if ix != nil {
		cars.Put(name+".idx", ix)
	}
	defer func() {
		gone := r.store.Destroy(ctx, key, &DestroyOptions{Held: Force})
		if gone != nil && !errors.Is(gone, shard.ErrUnknown) {
			err = errors.Join(err, gone)
		}
	}()
	if err := r.store.Register(ctx, key, m, &RegisterOptions{Index: policy}); err != nil {
		n.refused++
		return n, typed(err)
	}
	hold, err := r.store.Acquire(ctx, key, nil)
	if err != nil { // it was found to be bad meanwhile
		return n, typed(err)
	}
	defer hold.Close()
	for i, b := range blocks {
		bs := hold.Blockstore()
		if i%4 == 0 {
			bs = r.store.Blockstore(nil)
		}
		got, err := bs.Get(ctx, b.CID)
		switch {
		case err == nil && string(got.RawData()) != string(b.Data):
			return n, fmt.Errorf("block %d has other bytes", i)
		case err == nil:
			n.served++
		default:
			n.faults++
			if err := typed(err); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// typed returns an error unless err is one that a caller can tell.
func typed(err error) error {
	var about *shard.Error
	if format.IsNotFound(err) || errors.As(err, &about) {
		return nil
	}
	return fmt.Errorf("an error of no type: %w", err)
}
