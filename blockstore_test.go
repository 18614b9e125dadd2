package dagstore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

var (
	_ blockstore.Blockstore           = (*Blockstore)(nil)
	_ blockstore.Viewer               = (*Blockstore)(nil)
	_ blockstore.AllKeysChanWithErrer = (*Blockstore)(nil)
)

func TestBlockstore(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 50)
	more, n := r.put("b.car", 2, 50)
	r.register("a", m, nil)
	r.register("b", n, nil)
	bs := r.store.Blockstore(nil)
	absent := cartest.RandomBlock(9, 0, 10).CID
	if _, err := bs.Get(r.ctx(), absent); !format.IsNotFound(err) {
		t.Errorf("absent: %v", err)
	}
	if n, err := bs.GetSize(r.ctx(), blocks[3].CID); n != 100 || err != nil {
		t.Errorf("size: %d, %v", n, err)
	}
	own := cartest.Identity([]byte("own bytes"))
	if got, err := bs.Get(r.ctx(), own.CID); err != nil || string(got.RawData()) != "own bytes" {
		t.Errorf("identity: %v, %v", got, err)
	}
	want := map[cid.Cid]string{}
	ask := []cid.Cid{absent}
	for _, b := range append(blocks, more...) {
		want[b.CID] = string(b.Data)
		ask = append(ask, b.CID, b.CID)
	}
	missing := 0
	for b, err := range bs.GetMany(r.ctx(), ask) {
		var about *BlockError
		if errors.As(err, &about) && about.CID == absent && format.IsNotFound(err) {
			missing++
			continue
		}
		if err != nil || want[b.Cid()] != string(b.RawData()) {
			t.Fatalf("%v: %v", b, err)
		}
		delete(want, b.Cid())
	}
	if len(want) != 0 || missing != 1 {
		t.Errorf("%d blocks did not come, %d were missing", len(want), missing)
	}
	keys, failed, err := bs.AllKeysChanWithErr(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for c := range keys {
		seen[string(c.Hash())] = true
	}
	if len(seen) != 100 || failed() != nil {
		t.Errorf("%d keys, %v", len(seen), failed())
	}
	only := r.store.Blockstore(&BlockstoreOptions{Only: func(k shard.Key) bool { return k == "b" }})
	if has, err := only.Has(r.ctx(), blocks[0].CID); has || err != nil {
		t.Errorf("only b has a block of a: %v", err)
	}
	var asked []shard.Key
	shared := r.putBytes("c.car", cartest.RandomV1(1, 50, 100))
	r.register("c", shared, nil)
	prefer := r.store.Blockstore(&BlockstoreOptions{Prefer: func(a, b Candidate) int {
		asked = append(asked, a.Shard, b.Shard)
		return strings.Compare(string(a.Shard), string(b.Shard))
	}})
	if _, err := prefer.Get(r.ctx(), blocks[0].CID); err != nil || len(asked) == 0 {
		t.Errorf("prefer: %v, asked %v", err, asked)
	}
	if err := bs.Put(r.ctx(), nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("put: %v", err)
	}
	err = bs.View(r.ctx(), blocks[1].CID, func(b []byte) error {
		if string(b) != string(blocks[1].Data) {
			return errors.New("other bytes")
		}
		return nil
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

// TestKeysEndWithTheStore: whoever reads on after Close gets the rest of what was
// sent, then the reason.
func TestKeysEndWithTheStore(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 500)
	r.register("a", m, nil)
	ctx, cancel := context.WithCancel(r.ctx())
	defer cancel()
	keys, failed, err := r.store.Blockstore(nil).AllKeysChanWithErr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-keys
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range keys {
		n++
	}
	if err := failed(); !errors.Is(err, ErrClosed) || n > 100 {
		t.Errorf("%d keys after Close, %v", n, err)
	}
}
