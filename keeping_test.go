package dagstore

import (
	"errors"
	"io"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

func TestPinSurvives(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	before := r.info("a")
	if err := r.store.Pin(r.ctx(), "a"); err != nil {
		t.Fatal(err)
	}
	in := r.info("a")
	if !in.Local.Pinned || in.State != shard.Available || !in.Changed.After(before.Changed) {
		t.Errorf("after Pin: %+v", in)
	}
	r.crash(0, 1)
	if !r.info("a").Local.Pinned {
		t.Error("a crash has lost the pin")
	}
	if err := r.store.Unpin(r.ctx(), "a"); err != nil {
		t.Fatal(err)
	}
	r.crash(0, 1)
	if r.info("a").Local.Pinned {
		t.Error("a crash has brought the pin back")
	}
	r.has(blocks)
}

// What is so already is answered without a write.
func TestPinTwiceWritesOnce(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"pin", func() error { return r.store.Pin(r.ctx(), "a") }},
		{"unpin", func() error { return r.store.Unpin(r.ctx(), "a") }},
	} {
		if err := c.call(); err != nil {
			t.Fatal(c.name, err)
		}
		was := r.info("a").Changed
		if err := c.call(); err != nil {
			t.Fatal(c.name, err)
		}
		if now := r.info("a").Changed; !now.Equal(was) {
			t.Errorf("the second %s wrote the record: %v, %v", c.name, was, now)
		}
	}
}

// A pin comes at any time: to a held shard, to a lazy one, to one that failed,
// and to one that is being indexed, which it does not disturb.
func TestPinInEveryState(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("held", m, nil)
	a := r.acquire("held")
	defer a.Close()
	_, lazy := r.put("b.car", 2, 20)
	r.register("lazy", lazy, &RegisterOptions{Lazy: true})
	if err := r.store.Register(r.ctx(), "bad", r.putBytes("bad.car", []byte("no CAR")), nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	r.gate = make(chan struct{})
	out := make(chan ShardResult, 1)
	_, slow := r.put("c.car", 3, 20)
	if err := r.store.RegisterShard(r.ctx(), "slow", slow, out, nil); err != nil {
		t.Fatal(err)
	}
	r.await("slow", shard.Initializing)
	for key, state := range map[shard.Key]shard.State{
		"held": shard.Serving, "lazy": shard.Registered, "bad": shard.Errored, "slow": shard.Initializing,
	} {
		if err := r.store.Pin(r.ctx(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if in := r.info(key); !in.Local.Pinned || in.State != state {
			t.Errorf("%s: pinned %v, %v", key, in.Local.Pinned, in.State)
		}
	}
	close(r.gate)
	if got := soon(r, "the registration", out); got.Err != nil {
		t.Error(got.Err)
	}
	if in := r.info("slow"); !in.Local.Pinned || in.State != shard.Available {
		t.Errorf("once indexed: pinned %v, %v", in.Local.Pinned, in.State)
	}
	if got, err := a.Blockstore().Get(r.ctx(), blocks[0].CID); err != nil || string(got.RawData()) != string(blocks[0].Data) {
		t.Errorf("the holder reads %v", err)
	}
}

// A pin of a lazy shard that is being indexed without an intent gives it none:
// after a crash it is as lazy as before.
func TestPinMakesNoIntent(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, &RegisterOptions{Lazy: true})
	r.gate = make(chan struct{})
	out := make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Initializing)
	if err := r.store.Pin(r.ctx(), "a"); err != nil {
		t.Fatal(err)
	}
	r.crash(0, 1)
	if in := r.info("a"); in.State != shard.Registered || !in.Local.Pinned {
		t.Errorf("after a crash: %v, pinned %v", in.State, in.Local.Pinned)
	}
}

func TestPinRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	out := make(chan ShardResult, 1)
	if err := r.store.DestroyShard(r.ctx(), "a", out, &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Destroying)
	for name, call := range map[string]func(shard.Key) error{
		"pin":   func(k shard.Key) error { return r.store.Pin(r.ctx(), k) },
		"unpin": func(k shard.Key) error { return r.store.Unpin(r.ctx(), k) },
		"evict": func(k shard.Key) error { return r.store.Evict(r.ctx(), k, nil) },
	} {
		var about *shard.Error
		if err := call("none"); !errors.Is(err, shard.ErrUnknown) || !errors.As(err, &about) || string(about.Op) != name {
			t.Errorf("%s of no shard: %v", name, err)
		}
		if err := call("a"); !errors.Is(err, shard.ErrDestroying) {
			t.Errorf("%s of one that is going: %v", name, err)
		}
	}
	a.Close()
	if got := soon(r, "the end", out); got.Err != nil {
		t.Error(got.Err)
	}
}

// A pin that the disk refuses is not believed, and takes nobody's hold away.
func TestPinCommitFails(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	defer a.Close()
	under, release := r.holdCommit(io.ErrShortWrite)
	done := make(chan error, 1)
	go func() { done <- r.store.Pin(r.ctx(), "a") }()
	soon(r, "the commit", under)
	release()
	if err := soon(r, "the pin", done); !errors.Is(err, ErrReadOnly) {
		t.Errorf("pin: %v", err)
	}
	if in := r.info("a"); in.Local.Pinned || in.State != shard.Serving || in.Holders != 1 {
		t.Errorf("after it: %+v", in)
	}
	if _, err := a.Blockstore().Get(r.ctx(), blocks[3].CID); err != nil {
		t.Errorf("the holder: %v", err)
	}
	if b, err := r.store.Acquire(r.ctx(), "a", nil); err != nil {
		t.Errorf("another: %v", err)
	} else {
		b.Close()
	}
}

func TestEvict(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	was := r.info("a").Changed
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Errorf("without a copy: %v", err)
	}
	if in := r.info("a"); in.State != shard.Available || !in.Changed.Equal(was) {
		t.Errorf("%v, changed %v after %v", in.State, in.Changed, was)
	}
	a := r.acquire("a")
	if err := r.store.Evict(r.ctx(), "a", nil); !errors.Is(err, shard.ErrHeld) {
		t.Errorf("while held: %v", err)
	}
	a.Close()
	r.await("a", shard.Available)
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Errorf("after the hold: %v", err)
	}
	r.has(blocks)
	r.gate = make(chan struct{})
	_, n := r.put("b.car", 2, 20)
	if err := r.store.RegisterShard(r.ctx(), "b", n, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.await("b", shard.Initializing)
	if err := r.store.Evict(r.ctx(), "b", nil); !errors.Is(err, shard.ErrBusy) {
		t.Errorf("while it is indexed: %v", err)
	}
	close(r.gate)
	r.await("b", shard.Available)
}
