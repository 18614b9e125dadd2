package dagstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// What is wrong with a configuration of copies is said all at once.
func TestConfigOfCopies(t *testing.T) {
	bad := &Config{Copies: Copies{Quota: -1, High: 0.5, Low: 0.7}}
	err := bad.Validate()
	for _, part := range []string{"Copies.Quota", "Copies.Low"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	if err := (&Config{Copies: Copies{High: 1.5}}).Validate(); err == nil {
		t.Error("more than the quota is a mark")
	}
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if q := s.Stats().Quota; q <= 0 || q > 100<<30 {
		t.Errorf("the default quota is %d", q)
	}
	m := (&memmount.Set{}).Put("a", nil)
	if err := s.Register(t.Context(), "a", m, &RegisterOptions{Serve: 4}); err == nil {
		t.Error("a mode of no meaning is taken")
	}
}

// The configuration orders what goes first.
func TestOrderOfEviction(t *testing.T) {
	r := newRig(t)
	r.elsewhere()
	r.cfg.Copies = Copies{Quota: 5 * 8192, High: 1, Low: 0.8, Evict: func(a, b CopyInfo) int {
		if a.Bytes != 8192 || b.Used.IsZero() {
			t.Errorf("%+v, %+v", a, b)
		}
		return -strings.Compare(string(a.Key), string(b.Key)) // the last by name goes first
	}}
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = registry
	r.reopen()
	for i, key := range []shard.Key{"c", "e", "a", "d", "b", "f"} {
		r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(i), 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	}
	var kept []shard.Key
	for in, err := range r.store.Shards(r.ctx(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if in.Local.Complete {
			kept = append(kept, in.Key)
		}
	}
	if !slices.Equal(kept, []shard.Key{"a", "b", "c", "d", "f"}) {
		t.Errorf("kept are %v", kept)
	}
	r.settledCopies()
	_, values := gather(t, registry)
	for name, want := range map[string]float64{
		"dagstore_copies": 5, "dagstore_copies_bytes": 5 * 8192, "dagstore_copies_quota_bytes": 5 * 8192,
		"dagstore_copies_evicted_total": 1, `dagstore_copies_waiting`: 0,
	} {
		if values[name] != want {
			t.Errorf("%s is %v, not %v", name, values[name], want)
		}
	}
	// A strategy that panics is none.
	r.cfg.Metrics, r.cfg.Copies.Evict = nil, func(CopyInfo, CopyInfo) int { panic("no order") }
	r.reopen()
	for i, key := range []shard.Key{"g", "h"} {
		r.register(key, r.putBytes(string(key), cartest.RandomV1(uint64(10+i), 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	}
}

// settledCopies waits until the figures are those of the disk.
func (r *rig) settledCopies() {
	r.t.Helper()
	r.until("the figures are those of the disk", func() bool {
		sum, files := r.copyBytes()
		st := r.store.Stats()
		return st.CopyBytes == sum && st.Copies == files
	})
}

// A remount keeps the copy, a new revision has one of its own, and who holds the
// old one goes on reading that.
func TestCopiesOfRevisions(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	opts := &RegisterOptions{Serve: shard.Copy}
	data := cartest.RandomV1(1, 100, 1000)
	r.register("a", r.putBytes("a.car", data), opts)
	path := r.copyPath("a")
	if err := r.store.Remount(r.ctx(), "a", r.putBytes("moved.car", data), CompareFull); err != nil {
		t.Fatal(err)
	}
	if now := r.copyPath("a"); now != path {
		t.Errorf("another copy after a remount: %s, %s", path, now)
	}
	held := r.acquire("a")
	if err := r.store.Replace(r.ctx(), "a", r.putBytes("b.car", cartest.RandomV1(2, 100, 1000)), nil); err != nil {
		t.Fatal(err)
	}
	far.set(func() { far.down = errGone })
	a := r.acquire("a")
	r.holds(a, cartest.Random(2, 100, 1000))
	r.holds(held, cartest.Random(1, 100, 1000))
	if st := r.store.Stats(); st.Copies != 1 || st.CopyBytes < int64(2*len(data)) {
		t.Errorf("both are there and count: %+v", st)
	}
	a.Close()
	held.Close()
	r.kept("a", r.info("a").Bytes)

	// The index is made again from the copy, if that is all there is; a copy that
	// is damaged so that it is no CAR makes way for the source.
	for _, c := range []struct {
		damage, down bool
	}{{false, true}, {true, false}} {
		if err := r.disk.Remove(r.indexFiles()[0]); err != nil {
			t.Fatal(err)
		}
		if c.damage {
			r.flip(r.copyPath("a"), 0)
		}
		far.set(func() {
			far.down = nil
			if c.down {
				far.down = errGone
			}
		})
		r.reopen()
		a := r.acquire("a")
		r.holds(a, cartest.Random(2, 100, 1000))
		a.Close()
		r.kept("a", r.info("a").Bytes)
	}
}

// Many who want the same shard have it copied once.
func TestOneFetchForAll(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	r.register("a", r.putBytes("a.car", cartest.RandomV1(1, 100, 1000)), &RegisterOptions{Serve: shard.Copy})
	r.await("a", shard.Available)
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	before := far.streams.Load()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a, err := r.store.Acquire(r.ctx(), "a", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Close()
			b := cartest.RandomBlock(1, 7, 1000)
			if got, err := a.Blockstore().Get(r.ctx(), b.CID); err != nil || !bytes.Equal(got.RawData(), b.Data) {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if n := far.streams.Load() - before; n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
}

// Info tells how far a fetch has come, and the shard stays available meanwhile.
func TestProgressOfFetch(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	data := cartest.RandomV1(1, 100, 1000)
	r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Copy})
	r.await("a", shard.Available)
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 50_000 {
				<-gate
			}
			return 10_000, nil
		}
	})
	out := make(chan ShardResult, 1)
	if err := r.store.AcquireShard(r.ctx(), "a", out, nil); err != nil {
		t.Fatal(err)
	}
	r.until("half of it is here", func() bool {
		p := r.info("a").Progress
		return p != nil && p.Op == shard.OpFetch && p.Done > 50_000 && p.Total == int64(len(data))
	})
	close(gate)
	res := soon(r, "the acquire", out)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	res.Accessor.Close()
}

// Keys name no files (R1), also not those of copies, and a copy of one shard is
// never that of a later one under the same key (R8).
func TestKeysOfCopies(t *testing.T) {
	r := newRig(t)
	r.elsewhere()
	for round := range uint64(2) {
		for i, key := range []shard.Key{"../../escape", "a/b", "data", shard.Key(strings.Repeat("k", 1000))} {
			seed := 10*round + uint64(i)
			r.register(key, r.putBytes(fmt.Sprint(i), cartest.RandomV1(seed, 20, 1000)), &RegisterOptions{Serve: shard.Copy})
			a := r.acquire(key)
			r.holds(a, cartest.Random(seed, 20, 1000))
			a.Close()
			if err := r.store.Destroy(r.ctx(), key, &DestroyOptions{Held: Wait}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.settledCopies()
	if found := r.discrepancies(false); len(found) > 0 {
		t.Errorf("%v", found)
	}
}

// BenchmarkCopyInOnePass copies, hashes and indexes a CAR of 64 MiB in one pass,
// beside the slower of the two that are its limit: a plain download to the same
// disk, synced, and SHA-256 of the same bytes.
func BenchmarkCopyInOnePass(b *testing.B) {
	data := cartest.RandomV1(1, 64, 1<<20)
	var set memmount.Set
	set.Put("a.car", data)
	b.Run("one pass", func(b *testing.B) {
		cfg := &Config{Mounts: mount.Registry{"mem": func(url string) (mount.Mount, error) {
			m, err := set.Open(url)
			return remoteCAR{m.(mount.RangeOpener), &remoteness{}}, err
		}}}
		s, err := Open(b.Context(), b.TempDir(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		m, _ := cfg.Mounts.Open("mem:a.car")
		b.SetBytes(int64(len(data)))
		for i := 0; b.Loop(); i++ {
			key := shard.Key(fmt.Sprint(i))
			err := s.Register(b.Context(), key, m, &RegisterOptions{Serve: shard.Copy, Verify: true})
			b.StopTimer()
			if err = errors.Join(err, s.Destroy(b.Context(), key, nil)); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("plain download", func(b *testing.B) {
		dir := b.TempDir()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			f, err := os.Create(filepath.Join(dir, "a.car"))
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 256<<10))
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SHA-256", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			sha256.Sum256(data)
		}
	})
}
