package dagstore

import (
	"testing"

	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestBlockstoreWith: other options over the same shards, and the shards of an
// accessor stay its own.
func TestBlockstoreWith(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	bad := cartest.RandomV1(2, 20, 100)
	n := r.putBytes("b.car", bad)
	r.register("b", n, nil)
	a := r.acquire("a")
	defer a.Close()
	b := r.acquire("b")
	defer b.Close()

	other := cartest.RandomBlock(2, 19, 100).CID
	if _, err := a.Blockstore().With(nil).Get(r.ctx(), other); !format.IsNotFound(err) {
		t.Errorf("a block of b in a: %v", err)
	}
	bad[len(bad)-1] ^= 1 // the last byte of the last block
	r.putBytes("b.car", bad)
	if _, err := b.Blockstore().Get(r.ctx(), other); err == nil {
		t.Error("damage was not seen")
	}
	unchecked := b.Blockstore().With(&BlockstoreOptions{Unchecked: true})
	if got, err := unchecked.Get(r.ctx(), other); err != nil || got.RawData()[99] != bad[len(bad)-1] {
		t.Errorf("unchecked: %v", err)
	}
	if _, err := unchecked.With(nil).Get(r.ctx(), other); err == nil {
		t.Error("the options of the blockstore before are still there")
	}
	none := r.store.Blockstore(nil).With(&BlockstoreOptions{Only: func(shard.Key) bool { return false }})
	if has, err := none.Has(r.ctx(), blocks[0].CID); has || err != nil {
		t.Errorf("none: %v, %v", has, err)
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unchecked.Get(r.ctx(), other); err == nil {
		t.Error("it outlives the store")
	}
}
