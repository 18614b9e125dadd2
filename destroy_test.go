package dagstore

import (
	"errors"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

func TestDestroy(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	shared, n := r.put("b.car", 1, 10) // the same first ten blocks
	r.register("a", m, nil)
	r.register("b", n, nil)
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.has(shared)
	r.lacks(blocks[10:])
	for at, err := range r.store.Find(r.ctx(), blocks[0].CID) {
		if err != nil || at.Shard != "b" {
			t.Errorf("found in %q, %v", at.Shard, err)
		}
	}
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("info: %v", err)
	}
	r.reopen()
	r.lacks(blocks[10:])
	r.has(shared)
	if n := r.files(); n != 1 {
		t.Errorf("%d index files for one shard", n)
	}
}

func TestDestroyWait(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	out := make(chan ShardResult, 2)
	for range 2 {
		if err := r.store.DestroyShard(r.ctx(), "a", out, &DestroyOptions{Held: Wait}); err != nil {
			t.Fatal(err)
		}
	}
	r.await("a", shard.Destroying)
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrDestroying) {
		t.Errorf("acquire: %v", err)
	}
	r.lacks(blocks) // nobody new comes in, through the blockstore either
	if _, err := a.Blockstore().Get(r.ctx(), blocks[0].CID); err != nil {
		t.Errorf("the holder cannot read any more: %v", err)
	}
	select {
	case res := <-out:
		t.Errorf("gone while held: %+v", res)
	default:
	}
	a.Close()
	for range 2 {
		if res := <-out; res.Err != nil || res.Op != shard.OpDestroy {
			t.Errorf("result: %+v", res)
		}
	}
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("info: %v", err)
	}
}

func TestDestroyForce(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Blockstore().Get(r.ctx(), blocks[0].CID); !errors.Is(err, shard.ErrDestroyed) {
		t.Errorf("a read under force: %v", err)
	}
	r.register("a", m, nil)
	b := r.acquire("a")
	a.Close() // must not be the end of b's hold
	if in := r.info("a"); in.Holders != 1 {
		t.Errorf("holders: %d", in.Holders)
	}
	if _, err := b.Blockstore().Get(r.ctx(), blocks[0].CID); err != nil {
		t.Error(err)
	}
	b.Close()
}
