package dagstore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An ill is a mount that gives an error for as long as it is ill.
type ill struct {
	on    atomic.Bool
	asks  atomic.Int64
	pause atomic.Int64 // before it answers, as a time.Duration
}

var errIll = errors.New("ill today")

type illMount struct {
	mount.FileOpener
	i *ill
}

func (m illMount) Stat(ctx context.Context) (mount.Stat, error) {
	m.i.asks.Add(1)
	time.Sleep(time.Duration(m.i.pause.Load()))
	if m.i.on.Load() {
		return mount.Stat{}, errIll
	}
	return m.FileOpener.Stat(ctx)
}

// illness gives the rig mounts that are ill, and starts the store again.
func (r *rig) illness() *ill {
	i := &ill{}
	i.on.Store(true)
	r.mounts(func(m mount.Mount) mount.Mount { return illMount{m.(mount.FileOpener), i} })
	r.reopen()
	return i
}

// tried acquires a shard, and reports whether that tried its source.
func (i *ill) tried(r *rig, key shard.Key) (bool, error) {
	before := i.asks.Load()
	a, err := r.store.Acquire(r.t.Context(), key, nil)
	if err == nil {
		a.Close()
	}
	return i.asks.Load() > before, err
}

// Waits double, and survive restarts; after the last attempt only Recover
// tries, and the error says so; a success begins anew.
func TestRetryOnAcquire(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Retry = Retry{Attempts: 4, First: 10 * time.Second, Longest: 25 * time.Second}
		i := r.illness()
		blocks, m := r.put("a.car", 1, 20)
		if err := r.store.Register(t.Context(), "a", m, nil); !errors.Is(err, errIll) {
			t.Fatalf("register: %v", err)
		}
		for n, wait := range []time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second} {
			time.Sleep(wait - time.Millisecond)
			if n == 1 {
				r.reopen()
			}
			if was, err := i.tried(r, "a"); was || !errors.Is(err, shard.ErrFailed) || strings.Contains(err.Error(), "only Recover") {
				t.Fatalf("%v after failure %d: tried %v: %v", wait, n+1, was, err)
			}
			time.Sleep(time.Millisecond)
			if was, err := i.tried(r, "a"); !was || !errors.Is(err, errIll) {
				t.Fatalf("%v after failure %d: tried %v: %v", wait, n+1, was, err)
			}
			if f := r.info("a").Failure; f.Attempts != n+2 {
				t.Fatalf("%d attempts, want %d", f.Attempts, n+2)
			}
		}
		r.reopen()
		time.Sleep(24 * time.Hour)
		was, err := i.tried(r, "a")
		if was || !errors.Is(err, shard.ErrFailed) || !strings.Contains(err.Error(), "only Recover tries again") {
			t.Errorf("after the last attempt: tried %v: %v", was, err)
		}
		if err := r.store.Recover(t.Context(), "a", nil); !errors.Is(err, errIll) {
			t.Errorf("recover: %v", err)
		}
		i.on.Store(false)
		if err := r.store.Recover(t.Context(), "a", nil); err != nil {
			t.Errorf("recover: %v", err)
		}
		r.has(blocks)
		if f := r.info("a").Failure; f != nil {
			t.Errorf("after a success: %v", f)
		}
	})
}

func TestRetryNever(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Retry.When = Never
		i := r.illness()
		_, m := r.put("a.car", 1, 20)
		if err := r.store.Register(t.Context(), "a", m, nil); !errors.Is(err, errIll) {
			t.Fatalf("register: %v", err)
		}
		time.Sleep(24 * time.Hour)
		r.reopen()
		if was, err := i.tried(r, "a"); was || !errors.Is(err, shard.ErrFailed) {
			t.Errorf("tried %v: %v", was, err)
		}
		i.on.Store(false)
		if err := r.store.Recover(t.Context(), "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// Without a bound on attempts there is always another.
func TestRetryUnlimited(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Retry.Attempts = Unlimited
		i := r.illness()
		_, m := r.put("a.car", 1, 20)
		if err := r.store.Register(t.Context(), "a", m, nil); !errors.Is(err, errIll) {
			t.Fatalf("register: %v", err)
		}
		for range 30 {
			time.Sleep(time.Hour)
			if was, err := i.tried(r, "a"); !was {
				t.Fatalf("not tried: %v", err)
			}
		}
	})
}

// Whoever waits for an attempt gets the error of that attempt.
func TestParkedCallersGetTheLastError(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		i := r.illness()
		_, m := r.put("a.car", 1, 20)
		r.register("a", m, &RegisterOptions{Lazy: true})
		i.pause.Store(int64(time.Second))
		out := make(chan ShardResult, 10)
		for range 10 {
			if err := r.store.AcquireShard(t.Context(), "a", out, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for range 10 {
			if res := <-out; !errors.Is(res.Err, errIll) {
				t.Error(res.Err)
			}
		}
		if n := i.asks.Load(); n != 1 {
			t.Errorf("%d attempts for ten who wait together", n)
		}
	})
}

// At start, too, no more than Attempts are made in a row; and a shard that is
// only tried on request is left alone.
func TestRetryOnOpenEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Retry = Retry{When: OnOpen, Attempts: 3}
		i := r.illness()
		_, m := r.put("a.car", 1, 20)
		if err := r.store.Register(t.Context(), "a", m, nil); !errors.Is(err, errIll) {
			t.Fatalf("register: %v", err)
		}
		for want := int64(2); want < 6; want++ {
			time.Sleep(time.Hour)
			r.reopen()
			time.Sleep(time.Minute)
			if n := i.asks.Load(); n != min(want, 3) {
				t.Fatalf("%d attempts, want %d", n, min(want, 3))
			}
		}
		if f := r.info("a").Failure; f.Attempts != 3 {
			t.Errorf("%d attempts", f.Attempts)
		}
		r.cfg.Retry = Retry{Attempts: Unlimited}
		r.reopen()
		time.Sleep(time.Minute)
		if n := i.asks.Load(); n != 3 {
			t.Errorf("OnAcquire tried at start")
		}
	})
}

func TestConfigOfWork(t *testing.T) {
	bad := &Config{
		Work:  Work{Fetches: -2, Waits: -1, Stall: time.Microsecond},
		Retry: Retry{When: 7, Attempts: -3, First: -time.Second, Longest: 1},
	}
	err := bad.Validate()
	for _, name := range []string{"Work.Fetches", "Work.Waits", "Work.Stall", "Retry.When", "Retry.Attempts", "Retry.First", "Retry.Longest"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
	c, err := (&Config{Work: Work{Stall: Unlimited}, Retry: Retry{Attempts: Unlimited}}).withDefaults()
	if err != nil || c.Work.Stall < 100*365*24*time.Hour || c.Retry.Attempts < 1<<30 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = (*Config)(nil).withDefaults()
	if err != nil || c.Work.Fetches != 8 || c.Work.Waits != 2 || c.Work.Stall != 30*time.Second ||
		c.Retry != (Retry{OnAcquire, 5, time.Second, time.Hour}) {
		t.Errorf("%+v, %v", c, err)
	}
}
