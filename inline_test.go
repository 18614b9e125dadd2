package dagstore

import (
	"testing"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// newUsualRig is a rig with the bounds that a store of a user has.
func newUsualRig(t *testing.T) *rig {
	r := newRig(t)
	r.bounds = usual
	r.reopen()
	return r
}

// inRecord tells whether the index of a shard lies in its record.
func (r *rig) inRecord(key shard.Key) bool {
	r.t.Helper()
	ref := r.record(key).Index
	if ref.Data != nil && int64(len(ref.Data)) != ref.Length {
		r.t.Errorf("index of %d bytes, %d in the record of %q", ref.Length, len(ref.Data), key)
	}
	return ref.Data != nil
}

// A small shard has no file, whatever becomes of it.
func TestSmallIndexLiesInItsRecord(t *testing.T) {
	r := newUsualRig(t)
	blocks, m := r.put("a", 1, 4)
	r.register("a", m, nil)
	r.has(blocks)
	if !r.inRecord("a") || r.files() != 0 {
		t.Errorf("in the record: %v, %d files", r.inRecord("a"), r.files())
	}
	r.until("all is counted", func() bool { return !r.store.Stats().Counting })
	if n := r.store.Stats().IndexBytes; n != r.record("a").Index.Length {
		t.Errorf("%d bytes of indices", n)
	}
	r.crash(0, 1) // no layer holds it: it is added again from the record
	r.has(blocks)
	r.agree()
	r.reopen() // a layer holds it
	r.has(blocks)
	if err := r.store.Pin(r.ctx(), "a"); err != nil {
		t.Fatal(err)
	}
	r.crash(0, 2)
	if !r.inRecord("a") || !r.info("a").Local.Pinned {
		t.Errorf("pinned %v, in the record %v", r.info("a").Local.Pinned, r.inRecord("a"))
	}
	r.has(blocks)
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.lacks(blocks)
	r.gc()
	if dead := r.dead(); len(dead) != 0 || r.files() != 0 {
		t.Errorf("dead: %v, %d files", dead, r.files())
	}
	r.agree()
}

// Up to 4,096 bytes it is small.
func TestLargestSmallIndex(t *testing.T) {
	r := newUsualRig(t)
	last := int64(0)
	for n, small := 88, true; small; n++ {
		key := shard.Key(string(rune('a' + n - 88)))
		blocks, m := r.put(string(key), uint64(n), n)
		r.register(key, m, nil)
		r.has(blocks)
		length := r.record(key).Index.Length
		if small = r.inRecord(key); small != (length <= 4096) {
			t.Errorf("an index of %d bytes lies in its record: %v", length, small)
		}
		if !small && (r.files() != 1 || last == 0) {
			t.Errorf("%d files, %d bytes before", r.files(), last)
		}
		last = length
	}
	r.agree()
}

// A revision may be of the other form: who holds the former goes on with it,
// and its file goes with the last of them.
func TestIndexChangesForm(t *testing.T) {
	r := newUsualRig(t)
	small, m := r.put("small", 1, 4)
	large, n := r.put("large", 2, 200)
	r.register("a", m, nil)
	for range 2 {
		a := r.acquire("a")
		if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
			t.Fatal(err)
		}
		r.holds(a, small)
		// A crash may have brought the one of before back, for the start to remove.
		r.until("there is one file", func() bool { return r.files() == 1 })
		if r.inRecord("a") {
			t.Error("it lies in the record")
		}
		a.Close()
		r.has(large)
		r.lacks(small)
		r.crash(0, 1)
		r.has(large)

		a = r.acquire("a")
		if err := r.store.Replace(r.ctx(), "a", m, nil); err != nil {
			t.Fatal(err)
		}
		r.until("there is one file", func() bool { return r.files() == 1 })
		r.holds(a, large)
		if !r.inRecord("a") {
			t.Error("it lies in a file")
		}
		a.Close()
		r.until("the file goes", func() bool { return r.files() == 0 })
		r.has(small)
		r.lacks(large)
		r.crash(0, 2)
	}
	r.agree()
}

// A store whose small indices are files goes on, and the other way round.
func TestBothFormsAreRead(t *testing.T) {
	r := newRig(t)
	first, m := r.put("a", 1, 4)
	r.register("a", m, nil)
	r.bounds = usual
	r.crash(0, 1)
	second, n := r.put("b", 2, 4)
	r.register("b", n, nil)
	if r.inRecord("a") || !r.inRecord("b") || r.files() != 1 {
		t.Errorf("in records: %v, %v; %d files", r.inRecord("a"), r.inRecord("b"), r.files())
	}
	r.bounds = inFiles
	r.crash(0, 2)
	r.has(first)
	r.has(second)
	r.agree()
	// Its file is lost: it is indexed again, in the form of today.
	r.bounds = usual
	r.reopen()
	if err := r.disk.Remove(r.indexFiles()[0]); err != nil {
		t.Fatal(err)
	}
	r.acquire("a").Close()
	if !r.inRecord("a") || r.files() != 0 {
		t.Errorf("in the record: %v, %d files", r.inRecord("a"), r.files())
	}
	r.has(first)
	r.agree()
}

// What the records hold is enough to make lost layers anew.
func TestLayersFromRecords(t *testing.T) {
	r := newUsualRig(t)
	all := r.spoil()
	r.open()
	r.found(all)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range r.layerFiles() {
		if err := r.disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	r.disk = r.disk.Crash(100, 1)
	r.open()
	r.has(all)
	r.agree()
}

// A record whose bytes are good and whose index is not the one that it names
// is no wrong answer: the shard is indexed again.
func TestWrongIndexInARecord(t *testing.T) {
	for name, spoil := range map[string]func(r *catalog.IndexRef){
		"another":   func(r *catalog.IndexRef) { r.CRC ^= 1 },
		"damaged":   func(r *catalog.IndexRef) { r.Data[len(r.Data)-1] ^= 1 },
		"shortened": func(r *catalog.IndexRef) { r.Data = r.Data[:40]; r.Length = 40 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newUsualRig(t)
			blocks, m := r.put("a", 1, 4)
			r.register("a", m, nil)
			before := r.record("a").Index.ID
			if err := r.store.Close(); err != nil {
				t.Fatal(err)
			}
			r.catalogue(func(c catalog.Catalog) *catalog.Batch {
				old, err := c.Get(r.ctx(), "a")
				if err != nil {
					t.Fatal(err)
				}
				bad := *old
				bad.Revision++
				bad.Index.Data = append([]byte(nil), bad.Index.Data...)
				spoil(&bad.Index)
				return &catalog.Batch{Puts: []catalog.Put{{Record: &bad, Expect: old.Revision}}}
			})
			r.open()
			found := false
			for d, err := range r.store.Reconcile(r.ctx(), true) {
				if err != nil {
					t.Error(err)
				}
				found = found || d.Kind == DamagedIndex && d.Mended
			}
			if !found || r.record("a").Index.ID == before || !r.inRecord("a") {
				t.Errorf("told of: %v; index %d after %d", found, r.record("a").Index.ID, before)
			}
			r.has(blocks)
			r.agree()
		})
	}
}
