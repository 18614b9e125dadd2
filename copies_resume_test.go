package dagstore

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

const (
	longBlocks = 2500
	longSize   = 1000
)

// errLater is what a source says that wants to be left alone for longer than an
// attempt waits.
var errLater = &mount.BusyError{After: time.Hour, Err: errors.New("503")}

// cutAt has the streams of the sources end at a byte, for good; 0: they do not.
func (r *remoteness) cutAt(end int64) {
	r.set(func() {
		r.fault = func(at int64) (int, error) {
			switch {
			case end > 0 && at >= end:
				return 0, errLater
			case end > 0:
				return int(min(64<<10, end-at)), nil
			}
			return 64 << 10, nil
		}
	})
}

// remnant checks whether anything is left of a copy that did not become complete.
func (r *rig) remnant(want bool) {
	r.t.Helper()
	r.until(fmt.Sprintf("something is left of a copy: %v", want), func() bool {
		n, left := 0, false
		for _, f := range r.copyFiles() {
			n++
			left = left || strings.HasSuffix(f, "/progress")
		}
		return left == want && (want || n == r.store.Stats().Copies)
	})
	r.until("the figures are those of the disk", func() bool {
		sum, _ := r.copyBytes()
		return sum == r.store.Stats().CopyBytes
	})
}

// copyFiles are the files in the folder of the copies.
func (r *rig) copyFiles() (names []string) {
	var walk func(dir string)
	walk = func(dir string) {
		list, err := r.disk.List(dir)
		if err != nil {
			return
		}
		for _, name := range list {
			path := r.disk.PathJoin(dir, name)
			if info, err := r.disk.Stat(path); err == nil && info.IsDir() {
				walk(path)
			} else if err == nil {
				names = append(names, path)
			}
		}
	}
	walk("store/copies")
	return names
}

// An attempt goes on where the one before it was cut off, be it to index the CAR or to
// copy it again, and also if the process ended in between, or the machine.
func TestFetchGoesOnInAnotherAttempt(t *testing.T) {
	data := cartest.RandomV1(1, longBlocks, longSize)
	all := int64(len(data))
	for name, between := range map[string]func(r *rig){
		"at once": func(*rig) {}, "after a restart": (*rig).reopen,
		"after a crash": func(r *rig) { r.crash(0, 1) }, "after a kill": func(r *rig) { r.crash(100, 1) },
	} {
		for _, opts := range []RegisterOptions{{}, {Verify: true}} {
			t.Run(fmt.Sprintf("%s, verify %v", name, opts.Verify), func(t *testing.T) {
				r := newRig(t)
				far := r.elsewhere()
				opts.Serve = shard.Copy
				far.cutAt(1<<20 + 1)
				if err := r.store.Register(r.ctx(), "a", r.putBytes("a.car", data), &opts); !errors.Is(err, mount.ErrBusy) {
					t.Fatal(err)
				}
				for cut := int64(1<<20 + 100_000); cut < all; cut += 300_000 {
					r.remnant(true)
					between(r)
					far.cutAt(cut)
					if err := r.store.Recover(r.ctx(), "a", nil); !errors.Is(err, mount.ErrBusy) {
						t.Fatalf("cut at %d: %v", cut, err)
					}
				}
				between(r)
				far.cutAt(0)
				if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
					t.Fatal(err)
				}
				if n := far.bytes.Load(); n != all {
					t.Errorf("%d bytes of %d came", n, all)
				}
				r.kept("a", all)
				r.remnant(false)
				// The same for a copy of what is indexed.
				r.await("a", shard.Available)
				if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
					t.Fatal(err)
				}
				for _, cut := range []int64{1<<20 + 1, all - 1} {
					far.cutAt(cut)
					if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, mount.ErrBusy) {
						t.Fatal(err)
					}
					r.remnant(true)
					between(r)
				}
				far.cutAt(0)
				a := r.acquire("a")
				r.holds(a, cartest.Random(1, longBlocks, longSize))
				a.Close()
				if n := far.bytes.Load(); n != 2*all {
					t.Errorf("%d bytes of %d came", n, 2*all)
				}
				r.kept("a", all)
				if found := r.discrepancies(false); len(found) > 0 {
					t.Errorf("found %v", found)
				}
			})
		}
	}
}

// A bit that flips in what was fetched is no fault of the CAR: all of it is fetched
// again, and nothing of it is lost or thrown away.
func TestDamagedRemnant(t *testing.T) {
	data := cartest.RandomV1(1, longBlocks, longSize)
	head := longSize + 38 // varint and CID
	for name, at := range map[string]int{"in a block": 1<<20 + 500, "in a length": len(data) - (longBlocks-1000)*head} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			far := r.elsewhere()
			far.cutAt(2 << 20)
			opts := RegisterOptions{Serve: shard.Copy, Verify: true, Discard: true}
			if err := r.store.Register(r.ctx(), "a", r.putBytes("a.car", data), &opts); !errors.Is(err, mount.ErrBusy) {
				t.Fatal(err)
			}
			r.remnant(true)
			var path string
			for _, f := range r.copyFiles() {
				if strings.HasSuffix(f, "/partial") {
					path = f
				}
			}
			r.flip(path, at)
			far.cutAt(0)
			far.bytes.Store(0)
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			if n := far.bytes.Load(); n < int64(len(data)) {
				t.Errorf("only %d bytes of %d came", n, len(data))
			}
			if in := r.info("a"); in.Faults != 0 || in.Sections != longBlocks {
				t.Errorf("%d blocks, %d of them bad", in.Sections, in.Faults)
			}
			a := r.acquire("a")
			r.holds(a, cartest.Random(1, longBlocks, longSize))
			a.Close()
			r.remnant(false)
		})
	}
}

// What was fetched is of no use for another version; without versions it is not kept.
func TestFetchBeginsAnew(t *testing.T) {
	for name, unversioned := range map[string]bool{"another version": false, "no version": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			far := r.elsewhere()
			far.unversioned = unversioned
			far.cutAt(2 << 20)
			old := cartest.RandomV1(1, longBlocks, longSize)
			err := r.store.Register(r.ctx(), "a", r.putBytes("a.car", old), &RegisterOptions{Serve: shard.Copy, Verify: true})
			if !errors.Is(err, mount.ErrBusy) {
				t.Fatal(err)
			}
			r.remnant(!unversioned)
			now := cartest.RandomV1(2, longBlocks, longSize)
			r.putBytes("a.car", now)
			far.cutAt(0)
			far.bytes.Store(0)
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			if n := far.bytes.Load(); n != int64(len(now)) {
				t.Errorf("%d bytes of %d came", n, len(now))
			}
			r.kept("a", int64(len(now)))
			r.remnant(false)
			a := r.acquire("a")
			r.holds(a, cartest.Random(2, longBlocks, longSize))
			a.Close()
		})
	}
}

// What was fetched of a copy goes with its shard, with another source or revision, when
// something else needs the space, and when somebody asks for that.
func TestRemnantGoes(t *testing.T) {
	data := cartest.RandomV1(1, longBlocks, longSize)
	other := cartest.RandomV1(2, longBlocks, longSize)
	for name, goes := range map[string]func(r *rig) error{
		"destroyed": func(r *rig) error { return r.store.Destroy(r.ctx(), "a", nil) },
		"evicted":   func(r *rig) error { return r.store.Evict(r.ctx(), "a", nil) },
		"collected, as its shard has gone behind our back": func(r *rig) error {
			r.stop()
			r.catalogue(func(c catalog.Catalog) *catalog.Batch {
				old, err := c.Get(r.ctx(), "a")
				if err != nil {
					r.t.Fatal(err)
				}
				return &catalog.Batch{Deletes: []catalog.Delete{{Key: "a", Expect: old.Revision}}}
			})
			r.open() // which may collect it already
			_, err := r.store.GC(r.ctx())
			return err
		},
		"replaced": func(r *rig) error {
			return r.store.Replace(r.ctx(), "a", r.putBytes("b.car", other), nil)
		},
		"remounted": func(r *rig) error {
			return r.store.Remount(r.ctx(), "a", r.putBytes("b.car", data), CompareSample)
		},
		"for another copy": func(r *rig) error {
			return r.store.Register(r.ctx(), "b", r.putBytes("b.car", other), &RegisterOptions{Serve: shard.Copy})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.cfg.Copies.Quota = 4 << 20
			far := r.elsewhere()
			r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Copy})
			r.await("a", shard.Available)
			if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			far.cutAt(2 << 20)
			if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, mount.ErrBusy) {
				t.Fatal(err)
			}
			r.remnant(true)
			far.cutAt(0)
			if err := goes(r); err != nil {
				t.Fatal(err)
			}
			r.remnant(false)
			if found := r.discrepancies(false); len(found) > 0 {
				t.Errorf("found %v", found)
			}
		})
	}
}

// Copies that are broken off and gone on with, of more shards than there is room for:
// the quota is never exceeded, no byte is wrong and nobody is stuck, also after crashes.
func TestQuotaChurnOfRemnants(t *testing.T) {
	const shards, room = 12, 4
	seed := longtest.Seed()
	c := newChurn(t, seed)
	data := func(i int) []byte { return cartest.RandomV1(uint64(i), longBlocks/2, longSize) }
	c.cfg.Copies.Quota = room * (int64(len(data(0))) + 8<<10)
	c.reopen()
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 7))
	c.far.set(func() {
		c.far.fault = func(at int64) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			switch n := rng.IntN(60); {
			case n == 0 && at > 1<<20:
				return 100, errLater
			case n == 1:
				return 10, io.ErrUnexpectedEOF
			}
			return 64 << 10, nil
		}
	})
	for i := range shards {
		if err := c.store.RegisterShard(c.ctx(), churnKey(i), c.putBytes(fmt.Sprint(i), data(i)), nil, &RegisterOptions{Serve: shard.Copy, Lazy: true}); err != nil {
			t.Fatal(err)
		}
	}
	c.shards, c.blocks = shards, longBlocks/2
	lives := longtest.Runs(3, 20)
	for life := range lives {
		c.watch()
		c.run(seed+uint64(life), longtest.Runs(6, 100))
		c.faults.Disarm()
		c.crash([]int{0, 50, 100}[life%3], seed+uint64(life))
	}
	c.until("the figures are those of the disk", func() bool {
		sum, _ := c.copyBytes()
		return sum == c.store.Stats().CopyBytes && sum <= c.cfg.Copies.Quota
	})
	if n := c.over.Load(); n > 0 {
		t.Errorf("%d times more was on disk than may be", n)
	}
	longtest.Figure(t, "%d shards over room for %d copies from seed %d: %d crashes, %d blocks read and right, %d calls failed as they may; %.1f times the bytes of a CAR came for each stream from its beginning",
		shards, room, seed, lives, c.reads.Load(), c.fails.Load(), float64(c.far.bytes.Load())/float64(len(data(0)))/float64(max(1, c.far.begun.Load())))
}
