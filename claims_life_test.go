package dagstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// hugeClaims are CARs of 99 bytes without a block, whose index of 30 bytes claims
// to have as much as that; or 8 fewer where it does not say of which hash.
func hugeClaims(t *testing.T) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for name, claim := range map[string]uint64{"8 TiB": 8 << 40, "2^62": 1 << 62} {
		ix := headOf(0x12, 40, claim)
		le := binary.LittleEndian
		old := le.AppendUint64(le.AppendUint32(le.AppendUint32([]byte{0x80, 0x08}, 1), 40), claim)
		all[name] = cartest.V2(cartest.V1(nil, nil), cartest.Container{Index: ix})
		all[name+" of IndexSorted"] = cartest.V2(cartest.V1(nil, nil), cartest.Container{Index: append(old, make([]byte, len(ix)-len(old))...)})
	}
	for name, data := range all {
		if len(data) != 99 {
			t.Fatalf("%s: %d bytes", name, len(data))
		}
	}
	return all
}

// costs runs f, which returns how long it took, and checks that this is under
// 100 ms and that it allocates at most so many bytes. Every run allocates alike, so
// that none of them may be over it; but a machine with other work holds up
// many runs, so that one of them is fast must do.
func costs(t *testing.T, name string, bytes uint64, f func() time.Duration) {
	t.Helper()
	var took time.Duration
	for range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		took = f()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > bytes {
			t.Errorf("%s: %d bytes are allocated", name, n)
			return
		}
		if took < 100*time.Millisecond {
			return
		}
	}
	t.Errorf("%s: it took %v", name, took)
}

// B27: 99 bytes that claim 8 TiB, or 2^62. What is wrong is told at once and
// costs nothing; the CAR has no blocks, and is served as that.
func TestB27HugeClaimInASmallFile(t *testing.T) {
	for name, data := range hugeClaims(t) {
		for policy, used := range map[IndexPolicy]bool{AutoIndex: false, Scan: false, Hop: false, Check: true, Sample: true, Adopt: true} {
			r := newRig(t)
			lies := r.faultsOf(shard.BadEntry)
			r.reaches(false)
			m := r.putBytes("a.car", data)
			costs(t, fmt.Sprintf("%s, policy %d", name, policy), 4<<20, func() time.Duration {
				begun, told := time.Now(), lies()
				r.register("a", m, &RegisterOptions{Index: policy})
				if used {
					r.until("it is told", func() bool { return lies() > told })
				}
				took := time.Since(begun)
				if in := r.info("a"); in.Sections != 0 || in.Version != 2 || in.Claimed {
					t.Errorf("%s, policy %d: %+v", name, policy, in)
				}
				if took >= 100*time.Millisecond { // for the next try
					if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
						t.Fatal(err)
					}
				}
				return took
			})
			r.store.Close()
		}
	}
}

// The same, of who reads the CAR and of who opens the index.
func TestB27HugeClaimIsParsed(t *testing.T) {
	for name, data := range hugeClaims(t) {
		costs(t, name+", the CAR", 4<<20, func() time.Duration {
			begun := time.Now()
			res, err := car.Scan(t.Context(), bytes.NewReader(data), car.Options{Verify: true, Size: 99}, func(*car.Section) error { return nil })
			if err != nil || res.Sections != 0 || res.IndexOffset != 69 {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
			return time.Since(begun)
		})
		ix := bytes.NewReader(data[69:])
		costs(t, name+", the index", 64<<10, func() time.Duration {
			begun := time.Now()
			if _, err := index.NewFile(ix, 30); !errors.Is(err, index.ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := index.NewDigests(ix, 30); !errors.Is(err, index.ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			return time.Since(begun)
		})
	}
}

// A sample of the index of a large CAR elsewhere takes a few ranges, however
// large the CAR is.
func TestSampleIsAFewRanges(t *testing.T) {
	const blocks, size = 5000, 900
	payload := cartest.RandomV1(5, blocks, size)
	for _, at := range []placing{inside, beside, named} {
		r := newRig(t)
		n := r.reaches(true)
		m, opts := r.place(at, payload, writeIndex(t, recordsOf(t, payload), true), RegisterOptions{})
		r.register("a", m, opts)
		ix := int64(blocks * 40)
		if at != inside {
			ix = 0
		}
		if n.ranges.Load()+n.indices.Load()+n.stats.Load() > 20 || n.whole.Load() > 0 || n.bytes.Load()-ix > 64<<10 {
			t.Errorf("%s: %d ranges, %d indices, %d stats, %d bytes", at, n.ranges.Load(), n.indices.Load(), n.stats.Load(), n.bytes.Load()-ix)
		}
		if in := r.info("a"); !in.Claimed || in.Sections != blocks {
			t.Errorf("%s: %+v", at, in)
		}
		r.has(cartest.Random(5, 50, size))
	}
}

// shy is a CAR elsewhere that can be read by ranges alone while it is shy.
type shy struct {
	reached
	on *atomic.Bool
}

var errShy = errors.New("not now")

func (m shy) Open(ctx context.Context) (io.ReadCloser, error) {
	if m.on.Load() && !m.isIndex() {
		return nil, errShy
	}
	return m.reached.Open(ctx)
}

func (m shy) OpenRange(ctx context.Context, at mount.Range) (io.ReadCloser, error) {
	if ofAll(at) {
		return m.Open(ctx)
	}
	return m.reached.OpenRange(ctx, at)
}

// adopted is a rig with a shard "a" whose index was adopted, and which cannot
// be confirmed while the CAR is shy.
func adopted(t *testing.T, payload, ix []byte) (*rig, *atomic.Bool, mount.Mount) {
	t.Helper()
	r := newRig(t)
	on := new(atomic.Bool)
	on.Store(true)
	n := new(reach)
	r.mounts(func(m mount.Mount) mount.Mount {
		return shy{reached{m.(watched).FileOpener.(mount.RangeOpener), n}, on}
	})
	r.reopen()
	m, opts := r.place(beside, payload, ix, RegisterOptions{Index: Adopt})
	r.register("a", m, opts)
	if in := r.info("a"); !in.Claimed {
		t.Fatalf("%+v", in)
	}
	return r, on, m
}

// What could not be confirmed is, after the next start.
func TestAdoptedIsConfirmedAfterAStart(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	r, on, _ := adopted(t, payload, writeIndex(t, recordsOf(t, payload), true))
	r.has(cartest.Random(1, 80, 200)) // by ranges
	r.reopen()
	if in := r.info("a"); !in.Claimed || in.State != shard.Available {
		t.Errorf("%+v", in)
	}
	r.crash(0, 1)
	on.Store(false)
	r.reopen()
	r.confirmed("a")
	r.has(cartest.Random(1, 80, 200))
	for at, err := range r.store.Find(r.ctx(), cartest.Random(1, 1, 200)[0].CID) {
		if err != nil || at.Size != 200 {
			t.Errorf("%+v, %v", at, err) // it has sizes now
		}
	}
}

// An adopted shard lives like any other.
func TestAdoptedShardLives(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	blocks := cartest.Random(1, 80, 200)
	ix := writeIndex(t, recordsOf(t, payload), true)
	t.Run("GC and Reconcile", func(t *testing.T) {
		r, _, _ := adopted(t, payload, ix)
		if _, err := r.store.GC(r.ctx()); err != nil {
			t.Error(err)
		}
		for f, err := range r.store.Reconcile(r.ctx(), false) {
			t.Errorf("%+v, %v", f, err)
		}
		r.has(blocks)
	})
	t.Run("its index is lost", func(t *testing.T) {
		r, on, _ := adopted(t, payload, ix)
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		for _, path := range r.indexFiles() {
			if err := r.disk.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		r.has(blocks) // it is adopted again
		on.Store(false)
		r.reopen()
		r.confirmed("a")
		r.has(blocks)
	})
	t.Run("a full comparison confirms it", func(t *testing.T) {
		r, on, _ := adopted(t, payload, ix)
		on.Store(false)
		if err := r.store.Remount(r.ctx(), "a", r.putBytes("b.car", payload), CompareFull); err != nil {
			t.Fatal(err)
		}
		if in := r.info("a"); in.Claimed || in.Verified != shard.Full {
			t.Errorf("%+v", in)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		r, on, _ := adopted(t, payload, ix)
		on.Store(false)
		next := cartest.RandomV1(2, 60, 200)
		if err := r.store.Replace(r.ctx(), "a", r.putBytes("b.car", next), &RegisterOptions{Index: Scan}); err != nil {
			t.Fatal(err)
		}
		if in := r.info("a"); in.Claimed || in.Sections != 60 {
			t.Errorf("%+v", in)
		}
		r.has(cartest.Random(2, 60, 200))
		r.lacks(blocks)
	})
	t.Run("replaced by one whose index lies", func(t *testing.T) {
		r, on, _ := adopted(t, payload, ix)
		lies := r.faultsOf(shard.BadEntry)
		r.reopen()
		next, recs := cartest.RandomV1(2, 60, 200), recordsOf(t, cartest.RandomV1(2, 60, 200))
		r.cars.Put("b.car.idx", writeIndex(t, recs[:30], true))
		if err := r.store.Replace(r.ctx(), "a", r.putBytes("b.car", next), &RegisterOptions{Index: Adopt}); err != nil {
			t.Fatal(err)
		}
		if in := r.info("a"); !in.Claimed { // it cannot be read as a whole
			t.Errorf("%+v", in)
		}
		on.Store(false)
		r.reopen()
		r.confirmed("a")
		r.has(cartest.Random(2, 60, 200))
		r.until("the lie is told", func() bool { return lies() > 0 })
	})
	t.Run("destroyed while it is confirmed", func(t *testing.T) {
		r, on, _ := adopted(t, payload, ix)
		on.Store(false)
		r.reopen()
		if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
			t.Fatal(err)
		}
		r.lacks(blocks)
	})
}

// An index can hide that a CAR is bad. Once that is found out nothing of it is
// served, and the index is not adopted again.
func TestAdoptedBadCAR(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	recs := recordsOf(t, payload)
	bad := payload[:len(payload)-20] // its last block is cut
	r, on, _ := adopted(t, bad, writeIndex(t, recs[:70], true))
	r.has(cartest.Random(1, 70, 200))
	on.Store(false)
	r.reopen()
	r.await("a", shard.Errored)
	r.reopen()
	if err := r.store.Recover(r.ctx(), "a", nil); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("recover: %v", err)
	}
	if in := r.info("a"); in.State != shard.Errored || in.Claimed {
		t.Errorf("%+v", in)
	}
}

// A read that meets an entry that is wrong misses the block, tells of it, and
// has the index made anew; the next read finds it.
func TestReadMeetsALie(t *testing.T) {
	const n = 3000
	payload := cartest.RandomV1(1, n, 100)
	blocks := cartest.Random(1, n, 100)
	recs := recordsOf(t, payload)
	recs[17].Offset, recs[18].Offset = recs[18].Offset, recs[17].Offset
	for range 10 { // a sample meets it once in a hundred times
		r := newRig(t)
		lies := r.faultsOf(shard.BadEntry)
		r.reaches(true)
		m, opts := r.place(beside, payload, writeIndex(t, recs, true), RegisterOptions{Index: Sample})
		r.register("a", m, opts)
		if !r.info("a").Claimed { // it was met, of which events tell later
			continue
		}
		hold := r.acquire("a")
		defer hold.Close()
		if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[17].CID); !errors.Is(err, shard.ErrIndex) {
			t.Fatalf("a lie that is read: %v", err)
		}
		r.until("it is told", func() bool { return lies() > 0 })
		r.confirmed("a")
		r.has(blocks[:40])
		if _, err := hold.Blockstore().Get(r.ctx(), blocks[16].CID); err != nil {
			t.Errorf("who held it goes on: %v", err)
		}
		return
	}
	t.Error("the sample has always met it")
}

// An index at a URL that cannot be opened is refused when the shard is registered.
func TestIndexURLRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	for url, want := range map[string]error{"tape:a.idx": mount.ErrScheme, "no URL": mount.ErrURL, "mem:%": mount.ErrURL} {
		if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{IndexURL: url}); !errors.Is(err, want) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A source that fails while its index is read is a source that fails, and no lie.
func TestIndexCannotBeReached(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	r := newRig(t)
	lies := r.faultsOf(shard.BadEntry)
	var broken atomic.Bool
	n := new(reach)
	r.mounts(func(m mount.Mount) mount.Mount {
		return mute{reached{m.(watched).FileOpener.(mount.RangeOpener), n}, &broken}
	})
	r.reopen()
	broken.Store(true)
	m, opts := r.place(named, payload, writeIndex(t, recordsOf(t, payload), true), RegisterOptions{Index: Sample})
	if err := r.store.Register(r.ctx(), "a", m, opts); !errors.Is(err, shard.ErrSource) {
		t.Fatalf("an index that cannot be reached: %v", err)
	}
	broken.Store(false)
	if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if in := r.info("a"); !in.Claimed || lies() > 0 {
		t.Errorf("%+v, %d lies", in, lies())
	}
}

// A mute mount is one whose indices break off while broken is set.
type mute struct {
	reached
	broken *atomic.Bool
}

func (m mute) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := m.reached.Open(ctx)
	if err == nil && m.isIndex() && m.broken.Load() {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r, 100), deadReader{}), r}, nil
	}
	return r, err
}

type deadReader struct{}

func (deadReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
