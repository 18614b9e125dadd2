package dagstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// closeBehindACommit closes the store while a commit is on its way to the
// disk, so that the loop still hears how the work ends that Close cuts off.
func (r *rig) closeBehindACommit(h *hang) {
	r.t.Helper()
	_, m := r.put("late.car", 97, 3)
	under, release := r.holdCommit(nil)
	if err := r.store.RegisterShard(r.t.Context(), "late", m, nil, &RegisterOptions{Lazy: true}); err != nil {
		r.t.Fatal(err)
	}
	soon(r, "commit", under)
	closed := make(chan error, 1)
	go func() { closed <- r.store.Close() }()
	soon(r, "end of the work", h.left)
	time.Sleep(10 * time.Millisecond) // it has still to get to the loop, which nothing tells
	release()
	if err := soon(r, "close", closed); err != nil {
		r.t.Error(err)
	}
}

// Who waits when the store is closed hears that, and not how the work ended.
func TestCloseIsTheAnswer(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	_, o := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", o, &RegisterOptions{Lazy: true})
	r.stop()
	h := newHang(func(url string) bool { return url == m.URL() || url == o.URL() })
	r.mounts(h.wrap)
	r.open()
	out := make(chan ShardResult, 10)
	got := make(chan error, 2)
	for _, key := range []shard.Key{"a", "b"} { // one waits for the opening, one for the index
		if err := r.store.AcquireShard(t.Context(), key, out, nil); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := r.store.Acquire(context.Background(), key, nil)
			got <- err
		}()
		soon(r, "work", h.entered)
		r.until("both wait", func() bool { return r.info(key).Waiting == 2 })
	}
	r.closeBehindACommit(h)
	for range 2 {
		if err := soon(r, "acquire", got); !errors.Is(err, ErrClosed) {
			t.Errorf("acquire: %v", err)
		}
		if res := soon(r, "result", out); !errors.Is(res.Err, ErrClosed) {
			t.Errorf("result: %+v", res)
		}
	}
}

// A listing that Close comes into ends with ErrClosed.
func TestListingEndsWithClose(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	const n = 600 // more than two pages
	out := make(chan ShardResult, n)
	for i := range n {
		if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprintf("%04d", i)), m, out, &RegisterOptions{Lazy: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if res := soon(r, "result", out); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	seen := 0
	var last error
	for _, err := range r.store.Shards(r.ctx(), nil) {
		if last != nil {
			t.Errorf("something after the end: %v", err)
		}
		if last = err; err == nil {
			seen++
		}
		if seen == 1 {
			r.stop()
		}
	}
	if !errors.Is(last, ErrClosed) || seen == n {
		t.Errorf("%d of %d, then: %v", seen, n, last)
	}
}
