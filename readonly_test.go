package dagstore

import (
	"errors"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// breaks makes the store read-only by a commit that fails.
func (r *rig) breaks() {
	r.t.Helper()
	r.faults.FailAt(0, true, commits, syscall.EIO)
	_, m := r.put("broken.car", 98, 3)
	if err := r.store.Register(r.ctx(), "broken", m, &RegisterOptions{Lazy: true}); !errors.Is(err, ErrReadOnly) {
		r.t.Fatalf("register: %v", err)
	}
}

// restart stops a store that is read-only, which Close may complain of, and
// starts it again on a sound disk.
func (r *rig) restart() {
	r.t.Helper()
	r.store.Close()
	r.open()
}

// A shard that proves to be lost when nothing may be written any more cannot
// be indexed again: who asks for it hears so, and does not wait for ever.
func TestLostAfterFailedCommit(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	fresh, _ := r.put("a.car", 2, 30) // is another one now
	r.open()
	r.breaks()
	for range 2 { // the first leaves nothing behind that would stop the second
		_, err := r.store.Acquire(r.ctx(), "a", nil)
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, shard.ErrChanged) {
			t.Fatalf("acquire: %v", err)
		}
	}
	out := make(chan ShardResult, 2)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	if res := soon(r, "result of an acquire", out); !errors.Is(res.Err, ErrReadOnly) {
		t.Errorf("result: %+v", res)
	}
	if in := r.info("a"); in.State != shard.Available || in.Holders != 0 || in.Waiting != 0 {
		t.Errorf("on disk it is available still: %+v", in)
	}
	r.restart()
	r.acquire("a").Close()
	r.has(fresh)
}

// An index whose commit was refused is not there: who waited for it gets the
// error, and nobody after that gets at it.
func TestRefusedIndexIsNotServed(t *testing.T) {
	r := newRig(t)
	_, first := r.put("first.car", 9, 3)
	r.register("first", first, nil)
	r.gate = make(chan struct{})
	blocks, m := r.put("a.car", 1, 20)
	if err := r.store.RegisterShard(r.ctx(), "a", m, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Initializing)
	out := make(chan ShardResult, 2)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	r.until("the acquire waits", func() bool { return r.info("a").Waiting == 1 })
	under, release := r.holdCommit(syscall.EIO)
	close(r.gate)
	soon(r, "commit of the index", under)
	release()
	if res := soon(r, "result of the acquire", out); !errors.Is(res.Err, ErrReadOnly) || res.Accessor != nil {
		t.Errorf("result: %+v", res)
	}
	if a, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("acquire after that: %v, %v", a, err)
	}
	// Its intent is on disk, and is not taken up while nothing can be written.
	if in := r.info("a"); in.State != shard.Initializing && in.State != shard.Registered || in.Sections != 0 || in.Holders != 0 {
		t.Errorf("the refused batch is believed: %+v", in)
	}
	if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[0].CID); err == nil {
		t.Error("a block of the refused index is served")
	}
	r.restart()
	r.await("a", shard.Available)
	r.has(blocks)
}

// The same for a shard that is to go when its holders let go: who waits for its
// opening does not wait for ever.
func TestRefusedIndexOfAShardThatGoes(t *testing.T) {
	r := newRig(t)
	r.stop()
	h := newHang(func(string) bool { return r.files() > 1 }) // in the opening, not in the indexing
	r.mounts(h.wrap)
	r.open()
	_, first := r.put("first.car", 9, 3)
	r.register("first", first, nil)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, &RegisterOptions{Lazy: true})
	under, release := r.holdCommit(syscall.EIO)
	acquired, destroyed := make(chan ShardResult, 1), make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), "a", acquired, nil); err != nil {
		t.Fatal(err)
	}
	soon(r, "the opening", h.entered)
	soon(r, "commit of the index", under)
	if err := r.store.DestroyShard(r.ctx(), "a", destroyed, &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.Waiting != 1 { // and the loop has seen the destroy
		t.Fatalf("nobody waits for the opening: %+v", in)
	}
	release()
	h.on.Store(false)
	if res := soon(r, "result of the acquire", acquired); !errors.Is(res.Err, ErrReadOnly) || res.Accessor != nil {
		t.Errorf("acquire: %+v", res)
	}
	if res := soon(r, "result of the destroy", destroyed); !errors.Is(res.Err, ErrReadOnly) {
		t.Errorf("destroy: %+v", res)
	}
	r.restart()
	r.acquire("a").Close()
}

// Info shows what is committed, and not what may still be refused.
func TestInfoIsNotAheadOfTheDisk(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	blocks, o := r.put("b.car", 2, 20)

	t.Run("first record", func(t *testing.T) {
		under, release := r.holdCommit(nil)
		if err := r.store.RegisterShard(r.ctx(), "b", o, nil, &RegisterOptions{Lazy: true}); err != nil {
			t.Fatal(err)
		}
		soon(r, "commit of the record", under)
		if in, err := r.store.Info(r.ctx(), "b"); !errors.Is(err, shard.ErrUnknown) {
			t.Errorf("before it is on disk: %v, %v", in.State, err)
		}
		release()
		r.await("b", shard.Registered)
	})
	t.Run("index", func(t *testing.T) {
		r.gate = make(chan struct{})
		if err := r.store.AcquireShard(r.ctx(), "b", nil, nil); err != nil {
			t.Fatal(err)
		}
		r.await("b", shard.Initializing)
		under, release := r.holdCommit(syscall.EIO)
		close(r.gate)
		soon(r, "commit of the index", under)
		if in := r.info("b"); in.State != shard.Registered {
			t.Errorf("before it is on disk: %v", in.State)
		}
		release()
		r.until("the store is read-only", func() bool {
			return errors.Is(r.store.Recover(r.ctx(), "b", nil), ErrReadOnly)
		})
		if in := r.info("b"); in.State != shard.Registered {
			t.Errorf("after it was refused: %v", in.State)
		}
		if _, err := r.store.Acquire(r.ctx(), "b", nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("acquire: %v", err)
		}
		r.lacks(blocks)
	})
}

// In a store that is read-only too everybody gets one answer, who still waits
// gets it from Close: none may depend on a batch that is never written.
func TestCloseAnswersAfterFailedCommit(t *testing.T) {
	r := newRig(t)
	_, m := r.put("hung.car", 1, 20)
	_, o := r.put("lost.car", 2, 20)
	r.register("hung", m, nil)
	r.register("lost", o, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.put("lost.car", 3, 30)
	h := newHang(func(url string) bool { return url == m.URL() })
	r.mounts(h.wrap)
	r.open()
	r.breaks()
	const each = 10
	out := make(chan ShardResult, 4*each)
	for range each {
		for _, key := range []shard.Key{"broken", "lost", "hung"} {
			if err := r.store.AcquireShard(t.Context(), key, out, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	soon(r, "opening", h.entered)
	r.until("all wait", func() bool { return r.info("hung").Waiting == each })
	r.until("the others are answered", func() bool { return len(out) == 2*each })
	r.store.Close()
	for range 3 * each {
		res := soon(r, "result", out)
		want := ErrReadOnly
		if res.Key == "hung" {
			want = ErrClosed
		}
		if !errors.Is(res.Err, want) || res.Accessor != nil {
			t.Errorf("result: %+v", res)
		}
	}
	select {
	case res := <-out:
		t.Errorf("one too many: %+v", res)
	default:
	}
}
