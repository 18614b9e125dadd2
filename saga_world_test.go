package dagstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// The CARs of a saga: what lies at each place, and which of them is bad.
const (
	sagaKeys   = 4
	sagaPlaces = 6
	sagaCARs   = 5
	badCAR     = sagaCARs - 1
	badPlace   = 4 // where it lies, and stays
)

// firstCARs is what lies at each place at first: two have the same.
var firstCARs = [sagaPlaces]int{0, 0, 1, 2, badCAR, 3}

// firstIndices is what lies beside them.
var firstIndices = [sagaPlaces]int{layHonest, layHonest, layNothing, layOmits, layNothing, laySized}

// sagaPatience is how long a call of a saga may take: far longer than any does.
const sagaPatience = time.Minute

var errDown = errors.New("the source is down")

// carData are the bytes of each CAR, and its blocks.
type carData struct {
	bytes  [sagaCARs][]byte
	blocks [sagaCARs][]cartest.Block

	indices [sagaCARs][numLays][]byte
}

func newCARData(t *testing.T) *carData {
	t.Helper()
	var d carData
	for i := range badCAR {
		d.bytes[i] = cartest.RandomV1(uint64(i+1), 3+i, 50)
		d.blocks[i] = cartest.Random(uint64(i+1), 3+i, 50)
	}
	d.bytes[badCAR] = []byte("this is no CAR")
	for c := range badCAR {
		recs := recordsOf(t, d.bytes[c])
		d.indices[c] = [numLays][]byte{layHonest: writeIndex(t, recs, true), laySized: writeIndex(t, recs, false)}
		d.indices[c][layOmits] = writeIndex(t, recs[:1], true)
		d.indices[c][layGarbage] = []byte("this is no index")
		for i := range recs {
			recs[i].Offset = recs[(i+1)%len(recs)].Offset
		}
		d.indices[c][layElsewhere] = writeIndex(t, recs, true)
	}
	d.indices[badCAR] = d.indices[0]
	return &d
}

// What may lie beside a CAR as its index.
const (
	layNothing = iota
	layHonest
	laySized // an honest one that has sizes, too
	layOmits
	layElsewhere // it leads to the middle of nowhere
	layGarbage
	numLays
)

// lay lays an index beside a CAR, or takes it away.
func (w *saga) lay(place, which int) {
	name := placeName(place) + ".idx"
	w.laid[place] = which
	if which == layNothing {
		w.places.Delete(name)
		return
	}
	w.doubted[place] = w.doubted[place] || which > laySized || w.lies[place] == badCAR
	w.places.Put(name, w.cars.indices[w.lies[place]][which])
}

// doubtful says that the index of a shard may be a lie, unless it is no claim.
func (w *saga) doubtful(k known) bool { return k.believes() && (k.doubt || w.doubted[k.place]) }

// A saga is one store on a disk that can crash, over sources that can be
// down, with those who hold its shards. One goroutine uses it.
type saga struct {
	cars    *carData
	places  memmount.Set
	lies    [sagaPlaces]int         // which CAR lies where
	down    [sagaPlaces]atomic.Bool // sources that cannot be opened
	shy     [sagaPlaces]atomic.Bool // and those elsewhere that cannot be read as a whole
	laid    [sagaPlaces]int         // which index lies beside each
	doubted [sagaPlaces]bool        // an index that lies lay there once
	disk    *vfstest.Disk
	faults  *vfstest.Faults
	cfg     Config
	store   *Store
	lie     func(*vfstest.Disk) *vfstest.Disk // if not nil, what a restart finds instead

	known [sagaKeys]known
	setting
	tallies
	clock
	holders []*holder
	waits   [sagaKeys][]chan ShardResult // of those who wait for the end
}

// A holder holds one shard.
type holder struct {
	a       *Accessor
	key     int
	car     int
	severed bool
	doubt   bool // the index may be a lie
}

func newSaga(cars *carData, how setting) (*saga, error) {
	w := &saga{cars: cars, setting: how, disk: vfstest.NewDisk(), lies: firstCARs}
	for p, c := range w.lies {
		w.places.Put(placeName(p), cars.bytes[c])
		w.lay(p, firstIndices[p])
	}
	w.shy[1].Store(true)
	w.cfg = Config{
		Mounts: mount.Registry{"mem": w.mount},
		Retry:  Retry{When: Never},
		Copies: Copies{Quota: w.quota},
		Events: Events{Evicted: func(CopyInfo) { w.evicted.Add(1) }},
		Work:   Work{Indexings: 2, Opens: 2, Memory: 1 << 20, Handles: 2},
	}
	if w.ordered {
		w.cfg.Copies.Evict = func(a, b CopyInfo) int { return a.Used.Compare(b.Used) }
	}
	return w, w.open()
}

func (w *saga) open() (err error) {
	w.faults = vfstest.Wrap(w.disk)
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	w.store, err = open(ctx, w.faults, "store", &w.cfg, bounds{
		window: usual.window, inline: 300, // CARs of 3 and 4 blocks in records
		least: 1, now: w.clock.now,
	})
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	return nil
}

// reopen closes the store, on whatever disk it was, and opens it on disk. All
// that was true of the process only is gone.
func (w *saga) reopen(disk *vfstest.Disk) error {
	w.faults.Disarm()
	w.store.Close() // complains if it was broken
	w.disk = disk
	if w.lie != nil {
		w.disk = w.lie(disk)
	}
	for _, h := range w.holders {
		h.a.Close()
	}
	w.holders = nil
	for i := range w.known {
		w.waits[i] = nil
		if w.known[i].destroying {
			w.known[i] = known{}
		}
	}
	return w.open()
}

func placeName(p int) string { return fmt.Sprintf("p%d", p) }

func placeURL(p int) string { return "mem:" + placeName(p) }

func keyOf(i int) shard.Key { return shard.Key('a' + rune(i)) }

// mount is the opener of the registry.
func (w *saga) mount(url string) (mount.Mount, error) {
	m, err := w.places.Open(url)
	if err != nil {
		return nil, err
	}
	for p := range w.down {
		if placeURL(p) == url {
			return w.fragile(m, p), nil
		}
	}
	return nil, errDown
}

// held counts who holds a shard.
func (w *saga) held(key int) (n int) {
	for _, h := range w.holders {
		if h.key == key && !h.severed {
			n++
		}
	}
	return n
}

// settled returns what Info says once no work is under way for the shard.
func (w *saga) settled(key int) (*shard.Info, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	idle := false
	for {
		busy := w.barrier(ctx, key)
		in, err := w.store.Info(ctx, keyOf(key))
		seen := idle
		idle = err == nil && in.State == shard.Registered
		switch {
		case idle && !seen: // or its first indexing, which is no intent, has ended and is about to be told of
		case errors.Is(err, shard.ErrUnknown):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("info %v: %w", keyOf(key), err)
		case errors.Is(busy, shard.ErrBusy), in.State == shard.Initializing, in.State == shard.Recovering:
			// Joins the work. What came of it is told by the next Info.
			ctx, cancel := w.untilRoom()
			_ = w.store.Recover(ctx, keyOf(key), nil)
			cancel()
		case in.State == shard.Destroying && w.held(key) == 0: // by the last process
		default:
			return &in, nil
		}
	}
}

// barrier changes nothing, and is answered behind all that was written about the
// shard so far. It is refused while work is under way.
func (w *saga) barrier(ctx context.Context, key int) error {
	in, err := w.store.Info(ctx, keyOf(key))
	if err != nil { // it may be about to be registered; then it has no copy yet that would go
		return w.store.Evict(ctx, keyOf(key), nil)
	}
	pin := w.store.Unpin
	if in.Local.Pinned {
		pin = w.store.Pin
	}
	return pin(ctx, keyOf(key))
}

// looks holds a shard against all that it may be, and believes what it is.
func (w *saga) looks(key int, may []known) error {
	in, err := w.settled(key)
	if err != nil {
		return err
	}
	sets, err := w.setsOf(key, in)
	if err != nil {
		return err
	}
	for _, k := range may {
		for _, v := range w.variants(k) {
			if w.matches(key, v, in) && sameSets(v.sets, sets) {
				v.doubt = in != nil && in.Claimed && w.doubtful(v)
				if v.state == shard.Available {
					v.had |= 1 << v.car
				}
				w.known[key] = v
				return nil
			}
		}
	}
	if in == nil {
		return fmt.Errorf("%v is unknown, and may be %+v", keyOf(key), may)
	}
	return fmt.Errorf("%v is %v with %d holders at %s, pinned %v, claimed %v, roots %v, manifests %x; it may be %+v, held by %d",
		keyOf(key), in.State, in.Holders, in.URL, in.Local.Pinned, in.Claimed, in.Roots, sets, may, w.held(key))
}

// check holds everything against what is known.
func (w *saga) check() error {
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.withinQuota(); err != nil {
		return err
	}
	for _, h := range w.holders {
		if err := w.reads(h); err != nil {
			return fmt.Errorf("a holder of %v: %w", keyOf(h.key), err)
		}
	}
	bs := w.store.Blockstore(nil)
	for c := range badCAR {
		ctx, cancel := w.untilRoom()
		defer cancel()
		want, sure := w.present(c)
		b := w.cars.blocks[c][0]
		has, err := bs.Has(ctx, b.CID)
		if w.noRoom(ctx, err) {
			continue
		}
		if err != nil && errors.Is(err, shard.ErrSource) && !w.reachable(c) {
			continue // it had to open a shard, and could not
		}
		if errors.Is(err, shard.ErrFailed) && !want {
			continue // a shard had it before it failed
		}
		if err != nil || sure && has != want {
			return fmt.Errorf("Has of CAR %d: %v, %w; want %v", c, has, err, want)
		}
		if !sure {
			if got, err := bs.Get(ctx, b.CID); err == nil && string(got.RawData()) != string(b.Data) {
				return fmt.Errorf("Get of CAR %d: other bytes", c)
			}
			continue
		}
		if !want || !w.reachable(c) {
			continue
		}
		got, err := bs.Get(ctx, b.CID)
		if w.noRoom(ctx, err) {
			continue
		}
		if err != nil || string(got.RawData()) != string(b.Data) {
			return fmt.Errorf("Get of CAR %d: %w", c, err)
		}
	}
	return nil
}

// reads has a holder read its shard.
func (w *saga) reads(h *holder) error {
	b := w.cars.blocks[h.car][1]
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	got, err := h.a.Blockstore().Get(ctx, b.CID)
	switch {
	case h.severed && errors.Is(err, shard.ErrDestroyed):
		return nil
	case h.severed:
		return fmt.Errorf("after a forced destroy: %w", err)
	case err != nil && h.doubt:
		return nil
	case err != nil:
		return err
	case string(got.RawData()) != string(b.Data):
		return errors.New("other bytes")
	}
	return nil
}

// present says whether the blocks of a CAR are there, if that is sure.
func (w *saga) present(c int) (is, sure bool) {
	sure = true
	maybe := false
	for key, k := range w.known {
		switch {
		case k.stale() && (k.car == c || k.touched&(1<<c) != 0), k.destroying && w.carsHeld(key, c):
			sure = false
		case k.doubt: // whatever it has or not
			maybe = true
		case k.state == shard.Available && !k.destroying && k.car == c:
			is = true
		}
	}
	return is, sure && (is || !maybe)
}

// carsHeld reports whether somebody holds c under key.
func (w *saga) carsHeld(key, c int) bool {
	k := w.known[key]
	if k.car == c {
		return true
	}
	for _, h := range w.holders {
		if h.key == key && h.car == c {
			return true
		}
	}
	return false
}

// reachable reports whether c can be read in some shard that has it.
func (w *saga) reachable(c int) bool {
	for _, k := range w.known {
		if k.state == shard.Available && !k.stale() && !k.doubt && !k.destroying && k.car == c && !w.down[k.place].Load() && !(k.copies() && w.shy[k.place].Load()) {
			return true
		}
	}
	return false
}
