package dagstore

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// While a CAR from elsewhere is read for the first time it is indexed, verified
// and copied, in one pass; from then on the copy is read, also when the source is
// away and after a crash.
func TestCopyInOnePass(t *testing.T) {
	for name, opts := range map[string]RegisterOptions{
		"as it is": {}, "verified": {Verify: true}, "hopped": {Index: Hop}, "lazily": {Lazy: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			far := r.elsewhere()
			data := cartest.RandomV1(1, 100, 1000)
			opts.Serve = shard.Copy
			r.register("a", r.putBytes("a.car", data), &opts)
			r.acquire("a").Close()
			if n := far.bytes.Load(); n != int64(len(data)) {
				t.Errorf("%d bytes of %d were read of the source", n, len(data))
			}
			r.kept("a", int64(len(data)))
			far.set(func() { far.down = errGone })
			for range 2 {
				a, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				r.holds(a, cartest.Random(1, 100, 1000))
				a.Close()
				r.crash(0, 1)
				r.kept("a", int64(len(data)))
			}
			if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			r.until("nothing is left", func() bool { _, files := r.copyBytes(); return files == 0 })
		})
	}
}

// A source that offers no ranges is copied; one whose length nobody knows, too.
func TestCopyOfWhatCannotBeReadInPlace(t *testing.T) {
	for _, sizeless := range []bool{false, true} {
		r := newRig(t)
		far := r.elsewhere()
		far.noRanges, far.sizeless = true, sizeless
		data := cartest.RandomV1(1, 5000, 1000)
		m := r.putBytes("a.car", data)
		r.register("a", m, nil)
		r.kept("a", int64(len(data)))
		a := r.acquire("a")
		r.holds(a, cartest.Random(1, 5000, 1000)[:50])
		a.Close()
		if n := far.streams.Load(); n != 1 {
			t.Errorf("it was opened %d times", n)
		}
		// Without room for copies it cannot be read at all.
		r.cfg.Copies.None = true
		r.reopen()
		r.until("the copy has gone", func() bool { _, files := r.copyBytes(); return files == 0 })
		if in := r.info("a"); in.State != shard.Available || in.Local.Complete {
			t.Errorf("%v, %+v", in.State, in.Local)
		}
		if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrQuota) {
			t.Errorf("no copies are kept: %v", err)
		}
	}
}

// An eviction changes no state. Afterwards the copy is made again by who needs
// it, or the source is read in place.
func TestEvictCopy(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	data := cartest.RandomV1(1, 100, 1000)
	m := r.putBytes("a.car", data)
	r.register("a", m, &RegisterOptions{Serve: shard.Copy, Pin: true})
	a := r.acquire("a")
	if err := r.store.Evict(r.ctx(), "a", nil); !errors.Is(err, shard.ErrHeld) {
		t.Errorf("while it is held: %v", err)
	}
	a.Close()
	r.await("a", shard.Available)
	before := r.info("a")
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.kept("a", 0)
	after := r.info("a")
	if after.State != shard.Available || after.Sections != before.Sections || !after.Local.Pinned {
		t.Errorf("after its eviction: %+v", after)
	}
	if _, err := r.store.Acquire(r.ctx(), "a", &AcquireOptions{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
		t.Errorf("an acquire of what is here: %v", err)
	}
	indices := r.indexFiles()
	for range 3 {
		a := r.acquire("a")
		r.holds(a, cartest.Random(1, 100, 1000))
		a.Close()
	}
	r.kept("a", int64(len(data)))
	if n := far.streams.Load(); n != 2 {
		t.Errorf("the source was read %d times", n)
	}
	if now := r.indexFiles(); len(now) != 1 || now[0] != indices[0] {
		t.Errorf("it was indexed again: %v, %v", indices, now)
	}
	// A fetch that fails fails its caller, and not the shard.
	r.await("a", shard.Available)
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	far.set(func() { far.down = errGone })
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrSource) {
		t.Errorf("its source is away: %v", err)
	}
	if in := r.info("a"); in.State != shard.Available {
		t.Errorf("it is %v", in.State)
	}
	r.kept("a", 0)
}

// A stream that breaks off goes on where it did, and a source that is busy is
// asked again; a version that is another by then is no part of the same copy.
func TestFetchGoesOn(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	data := cartest.RandomV1(1, 300, 1000)
	m := r.putBytes("a.car", data)
	broke := 0
	far.fault = func(at int64) (int, error) {
		if at > int64(60_000*(broke+1)) && broke < 3 {
			broke++
			if broke == 1 {
				return 100, io.EOF // too early (R24)
			}
			return 0, io.ErrUnexpectedEOF
		}
		return 32 << 10, nil
	}
	busy := 0
	far.opening = func(int64) error {
		if busy++; busy%2 == 1 {
			return &mount.BusyError{After: time.Millisecond, Err: errors.New("503")}
		}
		return nil
	}
	r.register("a", m, &RegisterOptions{Serve: shard.Copy, Verify: true})
	if n := far.bytes.Load(); n != int64(len(data)) || broke != 3 {
		t.Errorf("%d bytes of %d came over %d streams", n, len(data), far.streams.Load())
	}
	r.kept("a", int64(len(data)))

	far.set(func() { broke, far.opening = 0, nil })
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 60_000 && broke == 0 {
				broke++
				r.putBytes("b.car", cartest.RandomV1(3, 300, 1000))
				return 0, io.ErrUnexpectedEOF
			}
			return 32 << 10, nil
		}
	})
	err := r.store.Register(r.ctx(), "b", r.putBytes("b.car", cartest.RandomV1(2, 300, 1000)), &RegisterOptions{Serve: shard.Copy})
	if !errors.Is(err, shard.ErrChanged) {
		t.Errorf("it is another CAR from the middle on: %v", err)
	}
	if sum, files := r.copyBytes(); files != 1 {
		t.Errorf("%d files of %d bytes are left", files, sum)
	}
	// R3: that poisons nothing.
	if err := r.store.Recover(r.ctx(), "b", nil); err != nil {
		t.Fatal(err)
	}
	r.kept("b", r.info("b").Bytes)
	a := r.acquire("b")
	r.holds(a, cartest.Random(3, 300, 1000))
	a.Close()
}

// A copy that is not there any more, or not whole, is forgotten and made again.
func TestDamagedCopy(t *testing.T) {
	for name, restart := range map[string]bool{"found on opening": false, "found by a start": true} {
		for _, how := range []string{"gone", "short"} {
			t.Run(name+", "+how, func(t *testing.T) {
				r := newRig(t)
				r.elsewhere()
				data := cartest.RandomV1(1, 100, 1000)
				r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Copy})
				path := r.copyPath("a")
				if how == "short" {
					r.cut(path)
				} else if err := r.disk.Remove(path); err != nil {
					t.Fatal(err)
				}
				found := r.discrepancies(false)
				if len(found) != 1 || found[0].Kind != MissingCopy || found[0].Key != "a" {
					t.Errorf("found %v", found)
				}
				if restart {
					r.reopen()
					r.until("it is forgotten", func() bool { return !r.info("a").Local.Complete })
				}
				a := r.acquire("a")
				r.holds(a, cartest.Random(1, 100, 1000))
				a.Close()
				r.kept("a", int64(len(data)))
				if found := r.discrepancies(false); len(found) > 0 {
					t.Errorf("found %v", found)
				}
			})
		}
	}
}

// The last copy does not go, unless somebody says so.
func TestLastCopy(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	data := cartest.RandomV1(1, 100, 1000)
	r.cfg.Copies.Quota = 128 << 10
	r.reopen()
	r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Copy})
	r.ages("a")
	far.set(func() { far.down = errGone })
	r.kept("a", int64(len(data)))
	if err := r.store.Evict(r.ctx(), "a", nil); !errors.Is(err, shard.ErrLastCopy) {
		t.Errorf("its source does not answer: %v", err)
	}
	if in := r.info("a"); !in.Local.LastCopy || !in.Local.Complete {
		t.Errorf("%+v", in.Local)
	}
	// Nor does it make room, also if it was never asked for.
	r.reopen()
	far.set(func() { far.down = nil })
	m := r.putBytes("b.car", cartest.RandomV1(2, 100, 1000))
	r.cars.Delete("a.car")
	if err := r.store.Register(r.ctx(), "b", m, &RegisterOptions{Serve: shard.Copy}); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("there is no room but that of the last copy: %v", err)
	}
	if st := r.store.Stats(); st.LastCopyBytes != st.CopyBytes || st.Copies != 1 {
		t.Errorf("%+v", st)
	}
	// Once its source is there again it may go.
	r.putBytes("a.car", data)
	r.reopen()
	if err := r.store.Recover(r.ctx(), "b", nil); err != nil {
		t.Errorf("the source has it again: %v", err)
	}
	r.kept("a", 0)
	// Another CAR at the source is not the same bytes.
	r.ages("b")
	r.putBytes("b.car", cartest.RandomV1(3, 100, 1000))
	if err := r.store.Evict(r.ctx(), "b", nil); !errors.Is(err, shard.ErrLastCopy) || !errors.Is(err, shard.ErrChanged) {
		t.Errorf("its source has something else: %v", err)
	}
	a := r.acquire("b") // it is served on
	r.holds(a, cartest.Random(2, 100, 1000))
	a.Close()
	r.await("b", shard.Available)
	if err := r.store.Evict(r.ctx(), "b", &EvictOptions{LastCopy: true}); err != nil {
		t.Errorf("by name: %v", err)
	}
	r.kept("b", 0)
}

// ages makes a copy one of which nothing was heard for two days.
func (r *rig) ages(key shard.Key) {
	r.t.Helper()
	r.await(key, shard.Available)
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	defer r.open()
	r.catalogue(func(c catalog.Catalog) *catalog.Batch {
		old, err := c.Get(r.ctx(), key)
		if err != nil {
			r.t.Fatal(err)
		}
		now := *old
		now.Revision++
		now.Kept.At = now.Kept.At.Add(-48 * time.Hour)
		return &catalog.Batch{Puts: []catalog.Put{{Record: &now, Expect: old.Revision}}}
	})
}

// Least recently used goes first, never what is pinned or held; who asks for too
// much fails, and who asks for what is held waits, under its context.
func TestCopiesMakeRoom(t *testing.T) {
	r := newRig(t)
	r.elsewhere()
	r.cfg.Copies.Quota = 10 * 8192
	var gone []CopyInfo
	r.cfg.Events.Evicted = func(c CopyInfo) { gone = append(gone, c) }
	r.reopen()
	add := func(key shard.Key, seed uint64) error {
		return r.store.Register(r.ctx(), key, r.putBytes(string(key)+".car", cartest.RandomV1(seed, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	}
	keys := []shard.Key{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for i, key := range keys[:9] {
		if err := add(key, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.store.Pin(r.ctx(), "a"); err != nil {
		t.Fatal(err)
	}
	held := r.acquire("b")
	r.acquire("c").Close()
	r.await("c", shard.Available)
	for i := range uint64(2) {
		if err := add(keys[9]+shard.Key(rune('0'+i)), 20+i); err != nil {
			t.Fatal(err)
		}
	}
	r.until("those that were not used for longest have gone", func() bool {
		return !r.info("d").Local.Complete && !r.info("e").Local.Complete
	})
	for _, key := range []shard.Key{"a", "b", "c", "i"} {
		if in := r.info(key); !in.Local.Complete {
			t.Errorf("%q has gone", key)
		}
	}
	if err := r.store.Register(r.ctx(), "large", r.putBytes("l.car", cartest.RandomV1(99, 100, 1000)), &RegisterOptions{Serve: shard.Copy}); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("larger than the quota: %v", err)
	}
	held.Close()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(gone, func(c CopyInfo) bool { return c.Key == "d" && c.Bytes == 8192 }) {
		t.Errorf("the event: %+v", gone)
	}
}
