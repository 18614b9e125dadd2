package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A source that is absent, or lets nobody in, is one fact about one copy: those of
// its neighbours are asked for, and go.
func TestAbsentSourceSaysNothingOfItsNeighbours(t *testing.T) {
	for _, why := range []error{fs.ErrNotExist, fs.ErrPermission, mount.ErrNotReady, mount.ErrDenied} {
		t.Run(why.Error(), func(t *testing.T) {
			r := newRig(t)
			far, keys := r.old(3)
			far.set(func() {
				far.stating = func(_ context.Context, url string) error {
					if url == "mem:"+string(keys[0]) {
						return fmt.Errorf("404: %w", why)
					}
					return nil
				}
			})
			if err := r.registerOne("new"); err != nil {
				t.Fatal(err)
			}
			far.set(func() { far.stating = nil })
			r.kept(keys[0], r.info(keys[0]).Bytes)
			r.kept(keys[1], 0)
			for i, key := range keys {
				if in := r.info(key); in.Local.LastCopy != (i == 0) {
					t.Errorf("%q: %+v", key, in.Local)
				}
			}
		})
	}
}

// Nor does a file on this machine that cannot be read say anything of others.
func TestLostFileSaysNothingOfOthers(t *testing.T) {
	r := newRig(t)
	r.cfg.Copies = Copies{Quota: 3 * 8192, High: 1, Low: 1}
	var broken atomic.Bool
	r.mounts(func(m mount.Mount) mount.Mount { return brokenFile{m.(mount.FileOpener), &broken} })
	r.reopen()
	keys := []shard.Key{"a", "b", "c"}
	for i, key := range keys {
		r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	}
	for _, key := range keys {
		r.ages(key)
	}
	broken.Store(true)
	if err := r.registerOne("new"); err != nil {
		t.Fatal(err)
	}
	r.kept("a", r.info("a").Bytes)
	r.kept("b", 0)
}

// A brokenFile is one of the files of this machine, of which "a" cannot be looked at
// while it is on.
type brokenFile struct {
	mount.FileOpener
	on *atomic.Bool
}

func (m brokenFile) Stat(ctx context.Context) (mount.Stat, error) {
	if m.on.Load() && m.URL() == "mem:a" {
		return mount.Stat{}, syscall.EIO
	}
	return m.FileOpener.Stat(ctx)
}

// An index that was adopted is confirmed also if there is no space for a copy of the
// CAR: that takes none, and no other copy goes for it.
func TestConfirmingTakesNoSpace(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	r := newRig(t)
	r.cfg.Copies = Copies{Quota: 8192, High: 1, Low: 1}
	r.elsewhere()
	pinned := r.putBytes("pinned.car", cartest.RandomV1(2, 7, 1000))
	r.register("pinned", pinned, &RegisterOptions{Serve: shard.Copy, Pin: true})
	m := r.putBytes("a.car", payload)
	r.putBytes("a.car.idx", writeIndex(t, recordsOf(t, payload), true))
	index := "mem:a.car.idx"
	r.register("a", m, &RegisterOptions{Serve: shard.Copy, Index: Adopt, IndexURL: index})
	r.confirmed("a")
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("a copy that finds no space: %v", err)
	}
	r.kept("pinned", r.info("pinned").Bytes)
}

// A timelessCAR lies elsewhere, and says nothing of itself.
type timelessCAR struct{ remoteCAR }

func (m timelessCAR) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := m.remoteCAR.Stat(ctx)
	return mount.Stat{Size: st.Size, Ranges: st.Ranges}, err
}

// A source that says nothing of itself, and brings more or fewer bytes than when it
// was indexed, has another CAR by now: that is indexed, and not read by the index of
// the one before.
func TestFetchedSourceOfAnotherLength(t *testing.T) {
	for _, n := range []int{5, 50} {
		r := newRig(t)
		far := r.elsewhere()
		far.unversioned, far.sizeless, far.noRanges = true, true, true
		r.mounts(func(m mount.Mount) mount.Mount { return timelessCAR{m.(remoteCAR)} })
		r.reopen()
		r.register("a", r.putBytes("a.car", cartest.RandomV1(1, 20, 1000)), &RegisterOptions{Serve: shard.Copy})
		if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
			t.Fatal(err)
		}
		r.putBytes("a.car", cartest.RandomV1(2, n, 1000))
		a := r.acquire("a")
		r.holds(a, cartest.Random(2, n, 1000))
		a.Close()
		r.kept("a", r.info("a").Bytes)
	}
}
