package dagstore

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

func inCopies(op vfstest.Op) bool { return strings.Contains(op.Path, "copies") }

// A folder of copies that takes nothing fails who needs a copy, with a reason,
// and nobody else; what is there is read on, and it ends by itself.
func TestCopiesFolderFails(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		selects func(vfstest.Op) bool
		want    error
	}{
		"full":               {syscall.ENOSPC, vfstest.Op.Writes, ErrNoSpace},
		"full for folders":   {syscall.ENOSPC, vfstest.Op.Changes, ErrNoSpace},
		"over quota":         {syscall.EDQUOT, vfstest.Op.Writes, ErrNoSpace},
		"read-only":          {syscall.EROFS, vfstest.Op.Changes, syscall.EROFS},
		"no descriptors":     {syscall.EMFILE, vfstest.Op.Opens, syscall.EMFILE},
		"nothing gets there": {syscall.EIO, vfstest.Op.Syncs, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.elsewhere()
			opts := &RegisterOptions{Serve: shard.Copy}
			r.register("kept", r.putBytes("kept.car", cartest.RandomV1(1, 20, 1000)), opts)
			held := r.acquire("kept")
			defer held.Close()
			r.faults.Arm(func(op vfstest.Op) bool { return inCopies(op) && c.selects(op) }, func(int, vfstest.Op) error { return c.err })
			m := r.putBytes("a.car", cartest.RandomV1(2, 20, 1000))
			if err := r.store.Register(r.ctx(), "a", m, opts); !errors.Is(err, c.want) {
				t.Errorf("a copy: %v", err)
			}
			if c.want == ErrNoSpace {
				if f := r.info("a").Failure; f == nil || f.Attempts != 0 {
					t.Errorf("that is no attempt: %+v", f)
				}
			}
			r.holds(held, cartest.Random(1, 20, 1000))
			r.register("in place", r.putBytes("b.car", cartest.RandomV1(3, 20, 1000)), nil)
			r.acquire("in place").Close()
			r.faults.Disarm()
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
				t.Errorf("once that is over: %v", err)
			}
			a := r.acquire("a")
			r.holds(a, cartest.Random(2, 20, 1000))
			a.Close()
			r.gc() // what could not be removed then
			r.kept("a", r.info("a").Bytes)
			r.agree()
		})
	}
}

// An eviction whose file cannot be removed does not free its space before it is,
// and the shard is served without it.
func TestCopyThatCannotBeRemoved(t *testing.T) {
	r := newRig(t)
	r.elsewhere()
	r.register("a", r.putBytes("a.car", cartest.RandomV1(1, 20, 1000)), &RegisterOptions{Serve: shard.Copy})
	before := r.store.Stats().CopyBytes
	r.faults.Arm(func(op vfstest.Op) bool { return inCopies(op) && op.Changes() }, func(int, vfstest.Op) error { return syscall.EIO })
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); in.Local.Complete {
		t.Errorf("%+v", in.Local)
	}
	if st := r.store.Stats(); st.CopyBytes != before {
		t.Errorf("%d bytes count, %d are there", st.CopyBytes, before)
	}
	r.faults.Disarm()
	r.until("GC has removed it", func() bool {
		r.gc()
		_, files := r.copyBytes()
		return files == 0 && r.store.Stats().CopyBytes == 0
	})
}

// Sources that hang while they are copied hold up no other shard, neither one
// that is copied nor one that is read in place (R15).
func TestHungCopies(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Work.Fetches = 2
		far := r.elsewhere()
		opts := &RegisterOptions{Serve: shard.Copy}
		for _, key := range []shard.Key{"a", "b", "c"} {
			r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(key[0]), 20, 1000)), opts)
			r.await(key, shard.Available)
			if err := r.store.Evict(r.ctx(), key, nil); err != nil {
				t.Fatal(err)
			}
		}
		release := make(chan struct{})
		defer close(release)
		var hung atomic.Int64
		far.set(func() {
			far.fault = func(at int64) (int, error) {
				if at > 0 && hung.Add(1) <= 2 { // in the midst of the first two, for ever
					<-release
				}
				return -1, nil
			}
		})
		stuck := make(chan error, 2)
		for _, key := range []shard.Key{"a", "b"} {
			go func() {
				_, err := r.store.Acquire(r.ctx(), key, nil)
				stuck <- err
			}()
		}
		for range 2 {
			if err := soon(r, "the end of a fetch that hangs", stuck); !errors.Is(err, shard.ErrStalled) {
				t.Errorf("a source that hangs: %v", err)
			}
		}
		r.acquire("c").Close()
		if sum, files := r.copyBytes(); files != 1 {
			t.Errorf("%d files of %d bytes", files, sum)
		}
		if err := r.store.Close(); err != nil { // it does not wait for them either
			t.Fatal(err)
		}
	})
}

// Copies that somebody holds hold up those who need their space, under their
// context, and nobody else; and not for ever.
func TestHeldCopiesHoldUpNobodyElse(t *testing.T) {
	r := newRig(t)
	r.cfg.Copies.Quota = 2 * 8192
	r.cfg.Work.Fetches = 1
	r.elsewhere()
	opts := &RegisterOptions{Serve: shard.Copy}
	var holds []*Accessor
	for i, key := range []shard.Key{"a", "b"} {
		r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000)), opts)
		holds = append(holds, r.acquire(key))
	}
	ctx, cancel := context.WithCancel(r.ctx())
	out := make(chan ShardResult, 4)
	for i, key := range []shard.Key{"c", "d", "e"} {
		m := r.putBytes(string(key), cartest.RandomV1(uint64(10+i), 7, 1000))
		if err := r.store.RegisterShard(r.ctx(), key, m, nil, &RegisterOptions{Serve: shard.Copy, Lazy: true}); err != nil {
			t.Fatal(err)
		}
		if err := r.store.AcquireShard(ctx, key, out, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.register("in place", r.putBytes("p", cartest.RandomV1(20, 7, 1000)), nil) // though there is one place
	if n := len(out); n > 0 {
		t.Errorf("%d have a copy that there is no room for", n)
	}
	// One whose shard is destroyed meanwhile, and one whose caller leaves.
	if err := r.store.Destroy(r.ctx(), "d", &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	if res := soon(r, "d", out); res.Key != "d" || !errors.Is(res.Err, shard.ErrDestroying) {
		t.Errorf("%+v", res)
	}
	holds[0].Close()
	res := soon(r, "the first in line", out)
	if res.Err != nil || res.Key != "c" {
		t.Fatalf("%+v", res)
	}
	cancel()
	holds[1].Close()
	r.await("e", shard.Available) // the work goes on without its caller
	res.Accessor.Close()
	r.until("nobody waits", func() bool { return r.store.engine.Stats().Copies.Waiting == 0 })
	if n := len(out); n > 0 {
		t.Errorf("%d results too many: %+v", n, <-out)
	}
}

// A source that says that it ends where it does not is never taken for complete
// (R24), nor one that goes on behind its end, or cannot be resumed.
func TestShortFetchIsNoCopy(t *testing.T) {
	for name, fault := range map[string]func(at int64) (int, error){
		"an end that comes early": func(at int64) (int, error) {
			if at > 10_000 {
				return 0, io.EOF
			}
			return 4096, nil
		},
		"a stream that breaks off": func(at int64) (int, error) {
			if at > 10_000 {
				return 0, io.ErrUnexpectedEOF
			}
			return 4096, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			far := r.elsewhere()
			far.noRanges = true
			m := r.putBytes("a.car", cartest.RandomV1(1, 20, 1000))
			r.register("a", m, &RegisterOptions{Serve: shard.Copy})
			r.await("a", shard.Available)
			if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			far.set(func() { far.fault = fault })
			if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrSource) {
				t.Errorf("a fetch: %v", err)
			}
			if err := r.store.Register(r.ctx(), "b", m, &RegisterOptions{Serve: shard.Copy}); !errors.Is(err, shard.ErrSource) {
				t.Errorf("an indexing: %v", err)
			}
			r.until("nothing is left of it", func() bool { _, files := r.copyBytes(); return files == 0 })
			far.set(func() { far.fault = nil })
			r.acquire("a").Close()
			r.kept("a", r.info("a").Bytes)
		})
	}
}

// A busy source is asked again, and not for ever.
func TestBusySource(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	far.opening = func(int64) error { return &mount.BusyError{After: time.Millisecond, Err: errors.New("503")} }
	m := r.putBytes("a.car", cartest.RandomV1(1, 20, 1000))
	if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Serve: shard.Copy}); !errors.Is(err, mount.ErrBusy) || !errors.Is(err, shard.ErrSource) {
		t.Errorf("%v", err)
	}
	if sum, files := r.copyBytes(); files > 0 {
		t.Errorf("%d bytes are left", sum)
	}
}
