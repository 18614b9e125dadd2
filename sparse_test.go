package dagstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// Of a sparse shard what was read is kept, over restarts and crashes, and asked of
// the source no more; the rest is still elsewhere.
func TestSparse(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	const n, size = 2000, 1000
	data := cartest.RandomV1(1, n, size)
	blocks := cartest.Random(1, n, size)
	r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Sparse})
	if in := r.info("a"); in.Local.Mode != shard.Sparse || in.Local.Bytes != 0 {
		t.Errorf("%+v", in.Local)
	}
	some := blocks[700:900]
	a := r.acquire("a")
	before := far.bytes.Load()
	r.holds(a, some)
	read := far.bytes.Load() - before
	if read > 600_000 {
		t.Errorf("%d bytes were read for 200,000", read)
	}
	a.Close()
	r.await("a", shard.Available)
	if _, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
		t.Errorf("not all of it is here: %v", err)
	}
	for range 2 {
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		r.disk = r.disk.Crash(0, 1)
		r.open()
		r.censused()
		a := r.acquire("a")
		before := far.bytes.Load()
		r.holds(a, some)
		if n := far.bytes.Load() - before; n > 0 {
			t.Errorf("%d bytes of the source were read for what is here", n)
		}
		if in := r.info("a"); in.Local.Bytes < 200_000 || in.Local.Bytes > 700_000 || in.Local.Complete || in.Local.LastCopy {
			t.Errorf("%+v", in.Local)
		}
		a.Close()
	}
	if found := r.discrepancies(false); len(found) > 0 {
		t.Errorf("%v", found)
	}
	// Another version of the same CAR: what is kept is of the old one.
	r.await("a", shard.Available)
	again := append([]byte(nil), data...)
	again[len(again)-1] ^= 1 // one block of 2,000 is another
	r.putBytes("a.car", again)
	r.reopen()
	for range 2 {
		r.censused()
		a := r.acquire("a")
		r.holds(a, blocks[:100])
		a.Close()
		r.await("a", shard.Available)
		r.reopen()
	}
	r.censused()
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.until("nothing is left", func() bool { _, files := r.copyBytes(); return files == 0 && r.store.Stats().CopyBytes == 0 })
	a = r.acquire("a")
	r.holds(a, some)
	a.Close()
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Wait}); err != nil {
		t.Fatal(err)
	}
	r.until("nothing is left", func() bool { _, files := r.copyBytes(); return files == 0 && r.store.Stats().CopyBytes == 0 })
}

// Sparse copies and complete ones share the quota. A shard for which there is no
// room is read in place.
func TestSparseSharesTheQuota(t *testing.T) {
	r := newRig(t)
	r.elsewhere()
	r.cfg.Copies.Quota = 600 << 10
	r.reopen()
	for round := range 2 {
		r.censused()
		r.until("what a crash brought back has gone", func() bool { return r.copyBytesNow() <= r.cfg.Copies.Quota })
		for i := range uint64(10) {
			key := shard.Key(fmt.Sprint("shard ", i))
			mode := shard.Sparse
			if i%3 == 0 {
				mode = shard.Copy
			}
			if round == 0 {
				r.register(key, r.putBytes(string(key), cartest.RandomV1(i, 300, 1000)), &RegisterOptions{Serve: mode})
			}
			a := r.acquire(key)
			r.holds(a, cartest.Random(i, 300, 1000)[:20])
			r.holds(a, cartest.Random(i, 300, 1000)[200:220])
			a.Close()
			if sum := r.copyBytesNow(); sum > r.cfg.Copies.Quota {
				t.Fatalf("%d bytes are on disk", sum)
			}
		}
		if found := r.discrepancies(false); len(found) > 0 {
			t.Errorf("%v", found)
		}
		r.crash(100*round, 1)
	}
	r.until("the figures are those of the disk", func() bool {
		sum, _ := r.copyBytes()
		return r.store.Stats().CopyBytes == sum
	})
}
