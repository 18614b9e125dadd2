package dagstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// old makes copies of so many shards in a store that has room for no more, of whose
// sources nothing was heard for two days. The first was not used for longest.
func (r *rig) old(n int) (far *remoteness, keys []shard.Key) {
	r.t.Helper()
	r.cfg.Copies.Quota = int64(n) * 8192
	r.cfg.Copies.High, r.cfg.Copies.Low = 1, 1
	far = r.elsewhere()
	for i := range n {
		key := churnKey(i)
		r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000)), &RegisterOptions{Serve: shard.Copy})
		keys = append(keys, key)
	}
	for _, key := range keys {
		r.ages(key)
	}
	return far, keys
}

func (r *rig) registerOne(key shard.Key) error {
	ctx, cancel := context.WithTimeout(r.ctx(), 2*time.Minute)
	defer cancel()
	return r.store.Register(ctx, key, r.putBytes(string(key), cartest.RandomV1(99, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
}

// A source that takes its time to say whether it still has what is in a copy holds up
// no other copy, and when it has said so that one stays, as nothing needs its room.
func TestSlowSourceHoldsUpNoOtherCopy(t *testing.T) {
	r := newRig(t)
	far, keys := r.old(3)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	far.set(func() {
		far.stating = func(ctx context.Context, url string) error {
			if url != "mem:"+string(keys[0]) {
				return nil
			}
			asked <- struct{}{}
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	if err := r.registerOne("new"); err != nil {
		t.Fatal(err)
	}
	<-asked
	r.kept(keys[1], 0)
	close(answer)
	far.set(func() { far.stating = nil })
	r.kept(keys[0], r.info(keys[0]).Bytes)
	r.kept(keys[2], r.info(keys[2]).Bytes)
	if err := r.registerOne("newer"); err != nil { // and it can be asked again
		t.Fatal(err)
	}
}

// A source that is too busy to say whether it still has what is in a copy is asked
// again when it wants to be: that copy is no last one.
func TestBusySourceOfACopy(t *testing.T) {
	r := newRig(t)
	far, keys := r.old(1)
	busy := 0
	far.set(func() {
		far.stating = func(_ context.Context, url string) error {
			if url != "mem:"+string(keys[0]) {
				return nil
			}
			if busy++; busy == 1 {
				return &mount.BusyError{After: time.Millisecond, Err: errors.New("429")}
			}
			return nil
		}
	})
	if err := r.registerOne("new"); err != nil || busy != 2 {
		t.Errorf("it was asked %d times: %v", busy, err)
	}
	r.kept(keys[0], 0)
}

// A shard whose source has too much to do is tried again when that wants to be asked.
func TestBusyShardIsTriedAgain(t *testing.T) {
	r := newRig(t)
	r.cfg.Retry = Retry{When: OnOpen, First: time.Millisecond, Longest: time.Millisecond}
	far := r.elsewhere()
	far.set(func() { far.down = &mount.BusyError{After: time.Millisecond, Err: errors.New("503")} })
	err := r.store.Register(r.ctx(), "a", r.putBytes("a.car", cartest.RandomV1(1, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	if !errors.Is(err, mount.ErrBusy) {
		t.Fatal(err)
	}
	far.set(func() { far.down = nil })
	r.await("a", shard.Available)
	r.kept("a", r.info("a").Bytes)
}
