package dagstore

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// TestKeysGoOnPastAShardThatIsGone: the keys of the others are all there, and
// the error says of whom some are missing.
func TestKeysGoOnPastAShardThatIsGone(t *testing.T) {
	r := newRig(t)
	want := map[string]bool{}
	names := []string{"a", "b", "c", "d", "e"}
	for i, name := range names {
		blocks, m := r.put(name+".car", uint64(i), 30)
		r.register(shard.Key(name), m, nil)
		if name != "a" && name != "c" {
			for _, b := range blocks {
				want[string(b.CID.Hash())] = true
			}
		}
	}
	r.reopen() // nothing is open
	for _, name := range []string{"a.car", "c.car"} {
		r.cars.Delete(name)
	}
	keys, failed, err := r.store.Blockstore(nil).AllKeysChanWithErr(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	for c := range keys {
		if c.Type() != cid.Raw || c.Version() != 1 || !want[string(c.Hash())] {
			t.Fatalf("%v was sent", c)
		}
		delete(want, string(c.Hash()))
	}
	var about *shard.Error
	if err := failed(); len(want) > 0 || !errors.As(err, &about) || about.Key != "a" || !errors.Is(err, shard.ErrSource) {
		t.Errorf("%d keys are missing, %v", len(want), err)
	}
}

// TestKeysEndWithTheContext: whoever stops taking them leaves no goroutine
// behind, as TestMain sees, once the context has ended.
func TestKeysEndWithTheContext(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 500)
	r.register("a", m, nil)
	ctx, cancel := context.WithCancel(r.ctx())
	keys, failed, err := r.store.Blockstore(nil).AllKeysChanWithErr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-keys
	cancel()
	n := 0
	for range keys {
		n++
	}
	if err := failed(); !errors.Is(err, context.Canceled) || n > 100 {
		t.Errorf("%d keys after the end, %v", n, err)
	}
}

// keysOf is what AllKeysChanWithErr of b gives.
func keysOf(t *testing.T, b *Blockstore) (n int, err error) {
	t.Helper()
	keys, failed, err := b.AllKeysChanWithErr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range keys {
		n++
	}
	return n, failed()
}

// TestKeysAreOfWhatMayBeRead: the options of a blockstore are those of its keys.
func TestKeysAreOfWhatMayBeRead(t *testing.T) {
	r := newRig(t)
	asked := false
	r.mounts(func(m mount.Mount) mount.Mount {
		if m.URL() != "mem:far.car" {
			return m
		}
		return askedFor{m, &asked}
	})
	r.reopen()
	_, near := r.put("near.car", 1, 20)
	r.register("near", near, nil)
	r.cars.Put("far.car", cartest.RandomV1(2, 30, 100))
	far, err := r.cfg.Mounts["mem"]("mem:far.car")
	if err != nil {
		t.Fatal(err)
	}
	r.register("far", far, nil)
	r.reopen() // nothing is open
	asked = false
	n, err := keysOf(t, r.store.Blockstore(&BlockstoreOptions{LocalOnly: true}))
	if n != 20 || !errors.Is(err, shard.ErrRemote) || asked {
		t.Errorf("local only: %d keys, %v; its source was asked: %v", n, err, asked)
	}
	if n, err := keysOf(t, r.store.Blockstore(nil)); n != 50 || err != nil || !asked {
		t.Errorf("all: %d keys, %v", n, err)
	}
	a := r.acquire("near")
	defer a.Close()
	none := a.Blockstore().With(&BlockstoreOptions{Only: func(k shard.Key) bool { return k != "near" }})
	if n, err := keysOf(t, none); n != 0 || err != nil {
		t.Errorf("of an accessor that may not be read: %d keys, %v", n, err)
	}
}

// askedFor is a mount that is not on this machine, and notes that it is asked.
type askedFor struct {
	mount.Mount
	asked *bool
}

func (m askedFor) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return mount.OpenRange(ctx, m.Mount, r)
}

func (m askedFor) Stat(ctx context.Context) (mount.Stat, error) {
	*m.asked = true
	return m.Mount.Stat(ctx)
}

// TestKeysOfAShardThatIsDestroyed meanwhile are not missed.
func TestKeysOfAShardThatIsDestroyed(t *testing.T) {
	r := newRig(t)
	_, a := r.put("a.car", 1, 5000)
	r.register("a", a, nil)
	_, b := r.put("b.car", 2, 20)
	r.register("b", b, nil)
	keys, failed, err := r.store.Blockstore(nil).AllKeysChanWithErr(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	<-keys // a is held
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range keys {
		n++
	}
	if err := failed(); err != nil || n < 20 || n > 4000 {
		t.Errorf("%d more keys, %v", n, err)
	}
}
