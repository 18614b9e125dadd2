package blocks

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestManyCandidatesAreOpenedOneByOne has a block in 200 shards of which only
// the oldest is good: each is tried once, in few passes over the index.
func TestManyCandidatesAreOpenedOneByOne(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	good := s.add(data, false)
	for range 200 {
		s.add(data, false).openErr = errFakeSource
	}
	c := cartest.RandomBlock(1, 1, 50).CID
	if _, err := s.reader().Get(t.Context(), c, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, sh := range s.shards {
		if sh.opens != 1 {
			t.Fatalf("%s was opened %d times", sh.key, sh.opens)
		}
	}
	if s.passes > 4 {
		t.Errorf("%d passes over the inverted index", s.passes)
	}
	if good.opens != 1 {
		t.Fatal("the good one was not read")
	}
}

// TestManyOpenShardsThatFail is the same where all are open, which is what each
// pass would stop at.
func TestManyOpenShardsThatFail(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	block := cartest.RandomBlock(1, 1, 50)
	s.hold(s.add(data, false))
	bad := bytes.Clone(data)
	bad[bytes.Index(bad, block.Data)] ^= 1
	for range 200 {
		s.hold(s.add(bad, false))
	}
	if _, err := s.reader().Get(t.Context(), block.CID, Options{}); err != nil {
		t.Fatal(err)
	}
	if len(s.faults) != 200 {
		t.Errorf("%d faults were told of", len(s.faults))
	}
	if s.passes > 5 {
		t.Errorf("%d passes over the inverted index", s.passes)
	}
}

// TestPreferAsksForEachKeyOnce: keys come from the disk, and a sort compares
// each shard with many.
func TestPreferAsksForEachKeyOnce(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	for range 50 {
		s.add(data, false)
	}
	asked := map[index.ID]int{}
	cfg := s.config()
	owner := cfg.Owner
	cfg.Owner = func(ctx context.Context, id index.ID) (shard.Key, error) {
		asked[id]++
		return owner(ctx, id)
	}
	prefer := Options{Prefer: func(a, b Candidate) int { return strings.Compare(string(a.Shard), string(b.Shard)) }}
	if _, err := New(cfg).Get(t.Context(), cartest.RandomBlock(1, 1, 50).CID, prefer); err != nil {
		t.Fatal(err)
	}
	for id, n := range asked {
		if n != 1 {
			t.Errorf("%d: its key was asked for %d times", id, n)
		}
	}
	if len(asked) != 50 || s.shards[1].opens != 1 {
		t.Errorf("%d keys were asked for, and the preferred shard was opened %d times", len(asked), s.shards[1].opens)
	}
}

// TestIdentityThatIsNone: what has not as many bytes as it says is no multihash,
// and bytes of another length are not those of the CID.
func TestIdentityThatIsNone(t *testing.T) {
	r := newStore(t, 1).reader()
	for _, mh := range []string{"\x00", "\x00\x80", "\x00\x05a", "\x00\x01ab"} {
		c := cid.NewCidV1(cid.Raw, multihash.Multihash(mh))
		if data, err := r.Get(t.Context(), c, Options{}); !format.IsNotFound(err) {
			t.Errorf("%x: Get gives %q, %v", mh, data, err)
		}
		if has, err := r.Has(t.Context(), c, Options{}); has || err != nil {
			t.Errorf("%x: Has gives %v, %v", mh, has, err)
		}
	}
}
