package blocks

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

func shuffled(blocks []cartest.Block) []cid.Cid {
	out := make([]cid.Cid, len(blocks))
	for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(len(blocks)) {
		out[i] = blocks[j].CID
	}
	return out
}

// TestManyInTheOrderInWhichTheyLie reads from far away, where requests can be counted.
func TestManyInTheOrderInWhichTheyLie(t *testing.T) {
	blocks := cartest.Random(1, 1000, 200)
	data := cartest.V1(nil, blocks)
	var set memmount.Set
	far := &rangeMount{Mount: set.Put("far", data)}
	s := newStore(t, 10)
	s.addMount(far, data, false)
	i := 0
	for b, err := range s.reader().Many(t.Context(), shuffled(blocks), Options{}) {
		if err != nil || !b.CID.Equals(blocks[i].CID) || !bytes.Equal(b.Data, blocks[i].Data) {
			t.Fatalf("block %d: %v, %v", i, b.CID, err)
		}
		i++
	}
	if i != len(blocks) || far.requests.Load() != 1 {
		t.Fatalf("%d blocks with %d requests", i, far.requests.Load())
	}
}

func TestManyRunsAreBounded(t *testing.T) {
	var blocks []cartest.Block
	var ask []cid.Cid
	for i, size := range []int{1000, runGap - 100, 1000, runGap + 100, 1000, 3 << 20, 2 << 20, 10, 5 << 20, 10} {
		blocks = append(blocks, cartest.RandomBlock(3, i, size))
		if size != runGap-100 && size != runGap+100 {
			ask = append(ask, blocks[i].CID)
		}
	}
	data := cartest.V1(nil, blocks)
	var set memmount.Set
	far := &rangeMount{Mount: set.Put("far", data)}
	s := newStore(t, 10)
	s.addMount(far, data, false)
	n := 0
	for b, err := range s.reader().Many(t.Context(), ask, Options{}) {
		if err != nil || !b.CID.Equals(ask[n]) {
			t.Fatalf("%v, %v", b.CID, err)
		}
		n++
	}
	// 1000 + 1000 | 1000 + 3 MiB | 2 MiB + 10 | 5 MiB | 10
	if n != len(ask) || far.requests.Load() != 5 {
		t.Fatalf("%d blocks with %d requests", n, far.requests.Load())
	}
}

// TestManyOfEverything mixes shards, forms, what is absent, what is damaged
// and what was asked for twice, over several batches.
func TestManyOfEverything(t *testing.T) {
	s := newStore(t, 10)
	want := map[cid.Cid]cartest.Block{}
	var ask []cid.Cid
	for i := range 3 {
		blocks := cartest.Random(uint64(i), 900, 64)
		s.add(cartest.V1(nil, blocks), i == 1)
		for _, b := range blocks {
			want[b.CID] = b
			ask = append(ask, b.CID)
		}
	}
	damaged := cartest.Random(77, 20, 64)
	data := cartest.V1(nil, damaged)
	sh := s.add(data, false)
	bad := damaged[7].CID
	p := sh.index.pos[string(bad.Hash())][0]
	data[p.Offset+int64(p.Head)] ^= 1
	for _, b := range damaged {
		want[b.CID] = b
		ask = append(ask, b.CID)
	}
	me := cartest.Identity([]byte("me"))
	want[me.CID] = me
	absent := cartest.RandomBlock(99, 0, 10).CID
	ask = append(ask, me.CID, absent)
	ask = append(ask, ask...)

	got := map[cid.Cid]int{}
	for b, err := range s.reader().Many(t.Context(), ask, Options{}) {
		got[b.CID]++
		switch {
		case b.CID.Equals(absent):
			if !format.IsNotFound(err) {
				t.Errorf("absent: %v", err)
			}
		case b.CID.Equals(bad):
			wantFault(t, err, sh.key, shard.BadHash, p.Offset)
		case err != nil || !bytes.Equal(b.Data, want[b.CID].Data):
			t.Fatalf("%v: %x, %v", b.CID, b.Data, err)
		}
	}
	if len(got) != len(want)+1 {
		t.Fatalf("%d blocks, want %d", len(got), len(want)+1)
	}
	for c, n := range got {
		if n != 1 {
			t.Fatalf("%v came %d times", c, n)
		}
	}
	if len(s.faults) != 1 {
		t.Errorf("told %d times of one fault", len(s.faults))
	}
}

func TestManyDataIsTheCallersOwn(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 50, 100)
	s.add(cartest.V1(nil, blocks), false)
	var kept []Block
	for range 2 {
		for b, err := range s.reader().Many(t.Context(), shuffled(blocks), Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, b)
		}
	}
	for i, b := range kept {
		if !bytes.Equal(b.Data, blocks[i%50].Data) {
			t.Fatalf("block %d was overwritten by a later one", i)
		}
		b.Data = append(b.Data, make([]byte, 100)...)
	}
}

func TestManyStops(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 50, 100)
	s.add(cartest.V1(nil, blocks), false)
	n := 0
	for range s.reader().Many(t.Context(), shuffled(blocks), Options{}) {
		if n++; n == 7 {
			break
		}
	}
	if n != 7 {
		t.Fatal(n)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs []error
	for _, err := range s.reader().Many(ctx, shuffled(blocks), Options{}) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Fatalf("a context that has ended: %v", errs)
	}
}

// TestManyGoesOnWhenAShardGoesAway has the first shard severed in the middle
// of a loop over blocks that lie far apart in it: the second one takes over.
func TestManyGoesOnWhenAShardGoesAway(t *testing.T) {
	var blocks []cartest.Block
	var ask []cid.Cid
	for i := range 10 {
		b := cartest.RandomBlock(1, 2*i, 100)
		blocks = append(blocks, b, cartest.RandomBlock(1, 2*i+1, 2*runGap))
		ask = append(ask, b.CID)
	}
	s := newStore(t, 10)
	s.add(cartest.V1(nil, blocks), false)
	first := s.add(cartest.V1(nil, blocks), false)
	n := 0
	for b, err := range s.reader().Many(t.Context(), ask, Options{}) {
		if err != nil || !slices.Contains(ask, b.CID) {
			t.Fatalf("block %d: %v", n, err)
		}
		if n++; n == 3 {
			s.cache.Sever(first.id)
			s.mu.Lock()
			delete(s.shards, first.id)
			s.mu.Unlock()
		}
	}
	if n != len(ask) {
		t.Fatalf("%d blocks", n)
	}
}
