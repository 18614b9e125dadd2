package dagstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// discrepancies are all that Reconcile yields.
func (r *rig) discrepancies(mend bool) (all []Discrepancy) {
	r.t.Helper()
	for d, err := range r.store.Reconcile(r.ctx(), mend) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// agree checks that nothing is yielded.
func (r *rig) agree() {
	r.t.Helper()
	if all := r.discrepancies(false); len(all) > 0 {
		r.t.Errorf("does not agree: %+v", all)
	}
}

// change changes the catalogue while the store is open, behind its back.
func (r *rig) change(b *catalog.Batch) {
	r.t.Helper()
	if err := r.store.parts.catalog.Apply(r.ctx(), b); err != nil {
		r.t.Fatal(err)
	}
}

// A harm is one kind of damage, made on the disk of a store of the shards a and b.
type harm struct {
	kind   DiscrepancyKind
	key    shard.Key
	closed bool // is made while the store is closed
	make   func(r *rig, a index.ID)
	lost   bool // the shard a with its record
	stays  bool // nobody can mend it
}

var harms = []harm{
	{kind: MissingIndex, key: "a", make: func(r *rig, a index.ID) {
		if err := r.disk.Remove(r.indexPath(a)); err != nil {
			r.t.Fatal(err)
		}
	}},
	{kind: DamagedIndex, key: "a", make: func(r *rig, a index.ID) { r.flip(r.indexPath(a), 100) }},
	{kind: DamagedIndex, key: "a", make: func(r *rig, a index.ID) { r.flip(r.indexPath(a), -1) }},
	{kind: DamagedIndex, key: "a", make: func(r *rig, a index.ID) {
		r.write("cut", "index", fmt.Sprintf("%02x", a&0xff), fmt.Sprintf("%08x.idx", uint32(a)))
	}},
	{kind: IncompleteIndex, key: "a", closed: true, make: func(r *rig, _ index.ID) {
		r.catalogue(func(c catalog.Catalog) *catalog.Batch {
			layers, err := c.Layers(r.ctx())
			if err != nil || len(layers) != 1 {
				r.t.Fatalf("%v, %v", layers, err)
			}
			return &catalog.Batch{DelLayers: []uint32{layers[0].N}}
		})
	}},
	{kind: DeadIndex, key: "a", closed: true, make: func(r *rig, a index.ID) {
		r.catalogue(func(catalog.Catalog) *catalog.Batch { return &catalog.Batch{AddDead: []index.ID{a}} })
	}},
	{kind: MissingLayer, make: func(r *rig, _ index.ID) {
		if err := r.disk.Remove(r.layerFiles()[0]); err != nil {
			r.t.Fatal(err)
		}
	}},
	{kind: DamagedLayer, make: func(r *rig, _ index.ID) { r.flip(r.layerFiles()[0], 5) }},
	{kind: DamagedLayer, make: func(r *rig, _ index.ID) { r.flip(r.layerFiles()[0], -1) }},
	{kind: StrayEntries, lost: true, make: func(r *rig, a index.ID) {
		r.change(&catalog.Batch{Deletes: []catalog.Delete{{Key: "a", Expect: catalog.AnyRevision}}})
		if err := r.disk.Remove(r.indexPath(a)); err != nil {
			r.t.Fatal(err)
		}
	}},
	{kind: StrayPending, make: func(r *rig, _ index.ID) {
		r.change(&catalog.Batch{AddPending: []index.ID{0x3e7e7}})
	}},
	{kind: StrayFile, make: func(r *rig, _ index.ID) { r.write("x", "index", "e7", "0003e7e7.idx") }},
	{kind: StrayFile, make: func(r *rig, _ index.ID) { r.write("x", "top", "0003e7e7.layer") }},
	{kind: StrayFile, make: func(r *rig, _ index.ID) { r.write("x", "copies", "e7", "0003e7e7", "data") }},
	{kind: MissingCopy, key: "b", make: func(r *rig, _ index.ID) {
		if err := r.disk.Remove(r.copyPath("b")); err != nil {
			r.t.Fatal(err)
		}
	}},
	{kind: MissingCopy, key: "b", make: func(r *rig, _ index.ID) { r.cut(r.copyPath("b")) }},
	{kind: ForeignFile, stays: true, make: func(r *rig, _ index.ID) { r.write("x", "copies", "e7", "0003e7e7", "notes") }},
	{kind: ForeignFile, stays: true, make: func(r *rig, _ index.ID) { r.write("x", "top", "notes.txt") }},
	{kind: DamagedManifest, key: "a", stays: true, make: func(r *rig, _ index.ID) {
		r.putManifest("a", "n", cartest.Random(1, 20, 100))
		r.flip(r.setFiles()[0], 300)
	}},
	{kind: DamagedRecord, key: "a", lost: true, stays: true, closed: true, make: func(r *rig, _ index.ID) { r.damage("mem:a.car") }},
}

func (r *rig) indexPath(id index.ID) string {
	return r.disk.PathJoin("store", "index", fmt.Sprintf("%02x", id&0xff), fmt.Sprintf("%08x.idx", uint32(id)))
}

// Each kind of damage is told of, mended if that can be, and gone at the next
// run and after a restart.
func TestReconcile(t *testing.T) {
	for i, h := range harms {
		t.Run(fmt.Sprintf("%d %v", i, h.kind), func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			more, n := r.put("b.car", 2, 20)
			r.register("a", m, nil)
			r.register("b", n, &RegisterOptions{Serve: shard.Copy})
			for i := range uint64(3) { // a layer of which much is dead would be rewritten
				_, o := r.put(fmt.Sprint(i), 10+i, 5)
				r.register(shard.Key(fmt.Sprint(i)), o, nil)
			}
			r.reopen()
			r.agree()
			a := r.record("a").Index.ID
			if h.closed {
				if err := r.store.Close(); err != nil {
					t.Fatal(err)
				}
				h.make(r, a)
				r.open()
			} else {
				h.make(r, a)
			}
			r.toldOf(h)
			switch {
			case h.kind == DamagedRecord: // who asks for it is told
			case h.lost:
				r.lacks(blocks)
			default:
				r.has(blocks)
			}
			r.has(more)
			if !h.stays {
				r.agree()
				r.reopen()
				r.agree()
			}
		})
	}
}

// toldOf checks that a harm is told of, and mended when that is asked for.
func (r *rig) toldOf(h harm) {
	r.t.Helper()
	for _, mend := range []bool{false, false, true} {
		all := r.discrepancies(mend)
		if h.kind == IncompleteIndex { // the layer held all shards
			all = slices.DeleteFunc(all, func(d Discrepancy) bool { return d.Key != "a" && d.Kind == h.kind })
		}
		if len(all) != 1 || all[0].Kind != h.kind || all[0].Key != h.key || all[0].What == "" {
			r.t.Fatalf("mend %v: %+v", mend, all)
		}
		if want := mend && !h.stays; all[0].Mended != want {
			r.t.Fatalf("mend %v: %+v", mend, all[0])
		}
	}
}

// Every kind has a harm, and a name.
func TestEveryDiscrepancyIsTested(t *testing.T) {
	names := map[string]bool{}
	for k := DamagedRecord; k <= MissingCopy; k++ {
		if !slices.ContainsFunc(harms, func(h harm) bool { return h.kind == k }) {
			t.Errorf("%v has no test", k)
		}
		names[k.String()] = true
	}
	if len(names) != int(MissingCopy) {
		t.Errorf("names: %v", names)
	}
	if got := (MissingCopy + 1).String(); got != "discrepancy(14)" {
		t.Errorf("%q", got)
	}
}

// An index whose source is away is not given up: what is good of it is served
// still, and Reconcile says why it is not mended.
func TestReconcileKeepsWhatItCannotMake(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.reopen()
	a := r.acquire("a")
	defer a.Close()
	path := r.indexPath(r.record("a").Index.ID)
	r.flip(path, 100)
	r.cars.Delete("a.car")
	all := r.discrepancies(true)
	if len(all) != 1 || all[0].Kind != DamagedIndex || all[0].Mended {
		t.Fatalf("%+v", all)
	}
	if in := r.info("a"); in.State != shard.Serving || !r.exists(path) {
		t.Errorf("it was given up: %+v", in)
	}
	if _, err := a.Blockstore().Get(r.ctx(), blocks[3].CID); err != nil {
		t.Errorf("a holder reads no more: %v", err)
	}
}

// Whoever looks meanwhile at what changes all the time is told nothing false.
func TestReconcileBesideChanges(t *testing.T) {
	r := newRig(t)
	for i := range uint64(8) {
		_, m := r.put(fmt.Sprint(i), i, 30)
		r.register(shard.Key(fmt.Sprint(i)), m, nil)
	}
	ctx, cancel := context.WithTimeout(r.ctx(), 500*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		for i := uint64(0); ctx.Err() == nil; i++ {
			key := shard.Key(fmt.Sprint(i % 8))
			m := r.putBytes(string(key), cartest.RandomV1(i%8, 30, 100))
			err := r.store.Destroy(r.ctx(), key, nil)
			if err == nil {
				err = r.store.Register(r.ctx(), key, m, nil)
			}
			if err == nil {
				err = r.store.Replace(r.ctx(), key, m, nil)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	runs := 0
	for mend := false; ctx.Err() == nil; mend = !mend {
		runs++
		for d, err := range r.store.Reconcile(r.ctx(), mend) {
			t.Errorf("told of %+v, %v", d, err)
		}
		if _, err := r.store.GC(r.ctx()); err != nil {
			t.Error(err)
		}
	}
	if err := soon(r, "the changes", done); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs", runs)
	r.agree()
}

func TestReconcileEnds(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.gc()
	for i := range 3 {
		r.write("x", "index", "e7", fmt.Sprintf("0003e%de7.idx", i))
	}
	n := 0
	for _, err := range r.store.Reconcile(r.ctx(), true) {
		n++
		if err != nil || n > 1 {
			t.Errorf("%d: %v", n, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(r.ctx())
	defer cancel()
	var last error
	for _, err := range r.store.Reconcile(ctx, false) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("under a context that has ended: %v", last)
	}
	for _, err := range r.store.Reconcile(r.ctx(), false) { // closed from within
		last = err
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	}
	if !errors.Is(last, ErrClosed) {
		t.Errorf("when the store was closed: %v", last)
	}
}

// Each operation on the disk fails while all that can be mended at once is
// mended, and then the power goes: no record is lost, and another run mends.
func TestReconcileFailsAnywhere(t *testing.T) {
	for n, more := 0, true; more; n += 1 + n/8 {
		r := newRig(t)
		var all [][]cartest.Block
		for i := range uint64(4) {
			key := shard.Key(fmt.Sprint(i))
			blocks, m := r.put(string(key), 10+i, 10)
			r.register(key, m, nil)
			all = append(all, blocks)
		}
		r.reopen()
		r.gc()
		r.flip(r.indexPath(r.record("0").Index.ID), 50)
		if err := r.disk.Remove(r.indexPath(r.record("1").Index.ID)); err != nil {
			t.Fatal(err)
		}
		r.flip(r.layerFiles()[0], 5)
		r.write("x", "index", "e7", "0003e7e7.idx")
		r.faults.FailAt(n, n%2 == 1, vfstest.Op.Changes, syscall.EIO)
		mended := 0
		for d, err := range r.store.Reconcile(r.ctx(), true) {
			if err != nil && d != (Discrepancy{}) {
				t.Errorf("operation %d: %+v with %v", n, d, err)
			}
			if d.Mended {
				mended++
			}
		}
		more = r.faults.Disarm() > n
		if !more && mended != 4 {
			t.Errorf("%d mended without a fault", mended)
		}
		r.crash([]int{0, 50, 100}[n%3], uint64(n))
		for d, err := range r.store.Reconcile(r.ctx(), true) {
			if err != nil || !d.Mended {
				t.Errorf("operation %d: then %+v, %v", n, d, err)
			}
		}
		for i, blocks := range all {
			// Joins what is under way; while the disk failed, an attempt may have failed, too.
			if err := r.store.Recover(r.ctx(), shard.Key(fmt.Sprint(i)), nil); err != nil {
				t.Fatal(err)
			}
			// A layer that somebody found to be damaged before the second run is made anew in the background.
			r.until("what is made anew is found", func() bool {
				_, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[0].CID)
				return !errors.Is(err, index.ErrDamaged)
			})
			r.has(blocks)
		}
		r.agree()
		r.store.Close()
		if !more && n < 10 {
			t.Errorf("%d operations", n)
		}
	}
}
