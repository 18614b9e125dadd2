package dagstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

const (
	revisedBlocks = 6
	revisedSize   = 200
)

// A revision is the CAR of a shard at one time. One block is in all of them.
type revision struct {
	blocks []cartest.Block
	car    []byte
}

func newRevision(number uint64) revision {
	blocks := append(cartest.Random(number, revisedBlocks, revisedSize), cartest.RandomBlock(1<<40, 0, revisedSize))
	return revision{blocks, cartest.V1([]cid.Cid{blocks[0].CID}, blocks)}
}

// TestReplaced: shards are given one revision after the other, in a folder and
// in a bucket by turns, while readers read all the time. Who holds a shard sees
// one revision, whole, and nothing of another; a block that all revisions have is
// always found.
func TestReplaced(t *testing.T) {
	rounds, readerCount := longtest.Runs(8, 25), longtest.Runs(16, 64)
	const shards = 4
	b := newBucket(t)
	folder := t.TempDir()
	store, err := dagstore.Open(t.Context(), t.TempDir(), &dagstore.Config{Mounts: mount.Registry{"file": filemount.Open, "s3": b.s3.Open}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	all := make([][]revision, shards)
	byRoot := make(map[cid.Cid]revision)
	for s := range all {
		for round := range rounds {
			r := newRevision(uint64(s*rounds + round))
			all[s], byRoot[r.blocks[0].CID] = append(all[s], r), r
		}
	}
	key := func(s int) shard.Key { return shard.Key(fmt.Sprint("shard ", s)) }
	// lies puts a revision where the one before does not lie.
	lies := func(s, round int) mount.Mount {
		name := fmt.Sprintf("%d-%d.car", s, round)
		if round%2 == 1 {
			b.put(t, name, all[s][round].car)
			return b.mount(t, name)
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, all[s][round].car, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := filemount.New(path)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for s := range shards {
		if err := store.Register(t.Context(), key(s), lies(s, 0), nil); err != nil {
			t.Fatal(err)
		}
	}
	bs := store.Blockstore(nil)
	var met [shards][]atomic.Int64 // how often a revision was seen
	for s := range met {
		met[s] = make([]atomic.Int64, rounds)
	}
	numbers := make(map[cid.Cid][2]int)
	for s := range all {
		for round := range all[s] {
			numbers[all[s][round].blocks[0].CID] = [2]int{s, round}
		}
	}
	readers := startReaders(t, readerCount, func(random *rand.Rand) error {
		s := random.IntN(shards)
		if random.IntN(3) == 0 {
			return readRight(t.Context(), bs, all[s][0].blocks[revisedBlocks])
		}
		a, err := store.Acquire(t.Context(), key(s), nil)
		if err != nil {
			return err
		}
		root := a.Roots()[0]
		err = wholly(t.Context(), a, byRoot, all[s], random)
		if number, ok := numbers[root]; !ok || number[0] != s {
			err = errors.Join(err, fmt.Errorf("%q has a root of another shard", key(s)))
		} else {
			met[s][number[1]].Add(1)
		}
		return errors.Join(err, a.Close())
	})
	for round := 1; round < rounds; round++ {
		for s := range shards {
			if err := store.Replace(t.Context(), key(s), lies(s, round), nil); err != nil {
				t.Fatalf("revision %d of shard %d: %v", round, s, err)
			}
			a, err := store.Acquire(t.Context(), key(s), nil)
			if err != nil {
				t.Fatal(err)
			}
			if root := a.Roots()[0]; root != all[s][round].blocks[0].CID {
				t.Errorf("after revision %d of shard %d another is served", round, s)
			}
			a.Close()
		}
		readers.goOn(1)
	}
	reads := readers.stop()

	seen := 0
	for s := range met {
		for round := range met[s] {
			if met[s][round].Load() > 0 {
				seen++
			}
		}
		for _, r := range all[s][:rounds-1] { // nothing is left of the old ones
			for _, old := range r.blocks[:revisedBlocks] {
				if has, err := bs.Has(t.Context(), old.CID); has || err != nil {
					t.Fatalf("a block of an old revision: %v, %v", has, err)
				}
			}
		}
	}
	if seen < shards*rounds/2 {
		t.Errorf("readers have seen %d revisions of %d: too few to prove anything", seen, shards*rounds)
	}
	longtest.Figure(t, "%d replacements under %d readers, who saw %d revisions: %d reads, none failed, none of two revisions",
		shards*(rounds-1), readerCount, seen, reads)
}

// wholly checks that what a holds is one revision, to the last byte, and has no
// block of another of the same shard.
func wholly(ctx context.Context, a *dagstore.Accessor, byRoot map[cid.Cid]revision, all []revision, random *rand.Rand) error {
	r, ok := byRoot[a.Roots()[0]]
	if !ok {
		return errors.New("a root that no revision has")
	}
	bs := a.Blockstore()
	for _, i := range random.Perm(len(r.blocks)) {
		if err := readRight(ctx, bs, r.blocks[i]); err != nil {
			return fmt.Errorf("block %d of the revision that is held: %w", i, err)
		}
	}
	if other := all[random.IntN(len(all))]; other.blocks[0].CID != r.blocks[0].CID {
		for _, b := range other.blocks[:revisedBlocks] {
			if has, err := bs.Has(ctx, b.CID); has || err != nil {
				return fmt.Errorf("a block of another revision: %v, %w", has, err)
			}
		}
	}
	if random.IntN(4) == 0 {
		var whole bytes.Buffer
		if _, err := io.Copy(&whole, a.CAR(ctx)); err != nil {
			return err
		}
		if !bytes.Equal(whole.Bytes(), r.car) {
			return errors.New("the bytes of the CAR are of another revision")
		}
	}
	return nil
}
