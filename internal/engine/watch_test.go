package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// A watchRig is an engine on a disk in memory, and what its watcher was told.
type watchRig struct {
	t      testing.TB
	disk   *vfstest.Disk
	faults *vfstest.Faults
	cars   memmount.Set
	cfg    Config
	e      *Engine
	close  func()
	gate   *gatedCatalog // around the catalogue, from the next opening on; nil: none

	mu    sync.Mutex
	moves []string
	work  []Work
	calls []string
	saw   map[string]int
}

var (
	errShut   = errors.New("shut")
	errBroken = errors.New("broken")
)

func newWatchRig(t testing.TB, watch bool) *watchRig {
	r := &watchRig{t: t, disk: vfstest.NewDisk(), saw: map[string]int{}}
	r.cfg = Config{
		Mounts: mount.Registry{"mem": r.cars.Open}, Limits: car.Limits{},
		Indexings: 2, Opens: 2, Memory: 64 << 20, Queue: 64, Handles: 8, Window: 16, Stall: time.Minute,
		Closed: errShut, ReadOnly: errBroken, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	if watch {
		r.cfg.Watch = r.watcher()
	}
	r.open()
	t.Cleanup(func() { r.close() })
	return r
}

func (r *watchRig) watcher() Watcher {
	count := func(what string) {
		r.mu.Lock()
		r.saw[what]++
		r.mu.Unlock()
	}
	return Watcher{
		Transition: func(key shard.Key, from, to shard.State, why *shard.Error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			text := fmt.Sprintf("%s %v>%v", key, from, to)
			if why != nil {
				text += " " + string(why.Op)
			}
			r.moves = append(r.moves, text)
		},
		Work: func(w Work) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.work = append(r.work, w)
		},
		Call: func(op shard.Op, took time.Duration, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if took < 0 || took > time.Minute {
				r.t.Errorf("a call took %v", took)
			}
			r.calls = append(r.calls, fmt.Sprint(op, " ", err == nil))
		},
		Opening: func(shard.Key, time.Duration, error) { count("opening") },
		Fault:   func(shard.Key, shard.Fault) { count("fault") },
		Commit: func(changes int, _ time.Duration, err error) {
			count(fmt.Sprintf("commit %t", err == nil))
		},
		Trouble: func(error) { count("trouble") },
	}
}

func (r *watchRig) open() {
	r.t.Helper()
	r.faults = vfstest.Wrap(r.disk)
	ctx := context.Background()
	c, err := catalog.Open(ctx, catalog.Config{FS: r.faults, Dir: "catalog", Logger: r.cfg.Log})
	if err != nil {
		r.t.Fatal(err)
	}
	segments, err := segment.NewFolder(r.faults, "segments")
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Catalog, cfg.Segments = c, segments
	if r.gate != nil {
		r.gate.Catalog = c
		cfg.Catalog = r.gate
	}
	if r.e, err = New(ctx, cfg); err != nil {
		r.t.Fatal(err)
	}
	e := r.e
	r.close = sync.OnceFunc(func() {
		_ = e.Close(ctx) // a test that has broken the disk closes with an error
		_ = segments.Close(ctx)
		_ = c.Close(ctx)
	})
}

func (r *watchRig) reopen() {
	r.close()
	r.open()
}

func (r *watchRig) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s", what)
		}
	}
}

func (r *watchRig) register(key shard.Key, url string, lazy bool) error {
	_, err := r.e.Wait(NewRegister(context.Background(), &catalog.Record{Key: key, URL: url}, lazy, nil))
	return err
}

func (r *watchRig) destroy(key shard.Key, manner lifecycle.Event) error {
	_, err := r.e.Wait(NewDestroy(context.Background(), key, manner, nil))
	return err
}

// heard takes what was told of transitions so far.
func (r *watchRig) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	moves := r.moves
	r.moves = nil
	return moves
}

func (r *watchRig) hears(want ...string) {
	r.t.Helper()
	if have := r.heard(); !slices.Equal(have, want) {
		r.t.Errorf("the watcher heard %q, not %q", have, want)
	}
}

// listed counts the shards as a listing shows them, and in the last place the
// bytes of their indices.
func (r *watchRig) listed() (by [shard.Gone + 1]int64) {
	r.t.Helper()
	for s, err := range r.e.Shards(context.Background(), catalog.Filter{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		by[s.State]++
		by[shard.Gone] += s.Record.Index.Length
	}
	return by
}

// agrees waits until all shards are counted, and holds the counts against a
// listing. Nothing must be under way.
func (r *watchRig) agrees() {
	r.t.Helper()
	r.until("every shard is counted", func() bool { return !r.e.Stats().Counting })
	var have, want [shard.Gone + 1]int64
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		// A release is on its way after its caller has gone on.
		stats := r.e.Stats()
		have, want = stats.Shards, r.listed()
		if have[shard.Gone] = stats.IndexBytes; have == want {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("counted %v, listed %v", have, want)
		}
	}
}

func TestWatcherHearsALife(t *testing.T) {
	r := newWatchRig(t, true)
	m := r.cars.Put("a.car", cartest.RandomV1(1, 10, 100))
	if err := r.register("a", m.URL(), false); err != nil {
		t.Fatal(err)
	}
	r.hears("a gone>initializing", "a initializing>available")
	hold, err := r.e.Acquire(t.Context(), "a", AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.hears("a available>serving")
	hold.Close()
	r.agrees()
	r.hears("a serving>available")
	if err := r.register("lazy", m.URL(), true); err != nil {
		t.Fatal(err)
	}
	r.hears("lazy gone>registered")
	bad := r.cars.Put("bad.car", []byte("no CAR"))
	if err := r.register("bad", bad.URL(), false); err == nil {
		t.Fatal("no CAR is a CAR")
	}
	r.hears("bad gone>initializing", "bad initializing>errored index")
	r.agrees()
	for _, key := range []shard.Key{"a", "bad", "lazy"} {
		if err := r.destroy(key, lifecycle.DestroyRefuse); err != nil {
			t.Fatal(err)
		}
	}
	r.hears("a available>gone", "bad errored>gone", "lazy registered>gone")
	if by := r.e.Stats().Shards; by != [shard.Gone + 1]int64{} {
		t.Errorf("of no shards %v are counted", by)
	}
	r.close()
	wantCalls := []string{"register true", "acquire true", "register true", "register false", "destroy true", "destroy true", "destroy true"}
	if !slices.Equal(r.calls, wantCalls) {
		t.Errorf("calls: %q", r.calls)
	}
	if len(r.work) != 4 || r.work[0].Phase != Began || r.work[1].Phase != Ended || r.work[1].Err != nil || r.work[1].Progress.Done == 0 || r.work[3].Err == nil {
		t.Errorf("work: %+v", r.work)
	}
	if r.saw["opening"] != 1 || r.saw["commit true"] < 5 || r.saw["commit false"] != 0 || r.saw["trouble"] != 0 {
		t.Errorf("heard of: %v", r.saw)
	}
}

// What is not on disk is told to nobody, and what the disk refuses never is.
func TestTransitionsComeAfterTheDisk(t *testing.T) {
	r := newWatchRig(t, true)
	m := r.cars.Put("a.car", cartest.RandomV1(1, 10, 100))
	if err := r.register("a", m.URL(), false); err != nil {
		t.Fatal(err)
	}
	r.agrees()
	r.heard()
	there, gate := make(chan struct{}), make(chan struct{})
	r.faults.Arm(func(op vfstest.Op) bool { return op.Syncs() && op.Touches(".log") }, func(n int, _ vfstest.Op) error {
		if n == 0 {
			close(there)
			<-gate
		}
		return errors.New("refused")
	})
	gone := make(chan error, 1)
	go func() { gone <- r.destroy("a", lifecycle.DestroyRefuse) }()
	<-there
	r.hears()
	if by := r.e.Stats().Shards; by[shard.Available] != 1 {
		t.Errorf("counted %v before the disk has it", by)
	}
	close(gate)
	if err := <-gone; !errors.Is(err, errBroken) {
		t.Errorf("destroyed: %v", err)
	}
	r.hears()
	if by := r.e.Stats().Shards; by[shard.Available] != 1 {
		t.Errorf("counted %v after the disk has refused", by)
	}
	hold, err := r.e.Acquire(t.Context(), "a", AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.hears("a available>serving")
	hold.Close()
	r.agrees()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.saw["commit false"] != 1 || r.saw["trouble"] != 1 {
		t.Errorf("heard of: %v", r.saw)
	}
}

// The counts are those of a listing after any history, and were begun in the
// middle of one: stores are reopened with calls at their heels.
func TestCountsAreThoseOfAListing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newWatchRig(t, seed%2 == 0)
			good := r.cars.Put("good.car", cartest.RandomV1(1, 3, 50)).URL()
			bad := r.cars.Put("bad.car", []byte("no CAR")).URL()
			for range 3 {
				var wg sync.WaitGroup
				for w := range uint64(4) {
					rnd := rand.New(rand.NewPCG(seed, w))
					wg.Go(func() { r.wander(rnd, good, bad) })
				}
				wg.Wait()
				r.agrees()
				r.reopen()
			}
			r.agrees()
		})
	}
}

// wander makes random calls about a few shards among many.
func (r *watchRig) wander(rnd *rand.Rand, good, bad string) {
	urls := []string{good, good, good, bad}
	for range 300 {
		key := shard.Key(fmt.Sprint(rnd.IntN(2000)))
		if rnd.IntN(2) == 0 {
			key = shard.Key(fmt.Sprint("hot", rnd.IntN(5)))
		}
		switch rnd.IntN(6) {
		case 0, 1, 2:
			_ = r.register(key, urls[rnd.IntN(len(urls))], rnd.IntN(4) > 0) // refused if it is there
		case 3:
			if hold, err := r.e.Acquire(context.Background(), key, AcquireOptions{}); err == nil {
				hold.Close()
			}
		case 4:
			_, _ = r.e.Wait(NewRecover(context.Background(), key, nil)) // refused if it is not there
		case 5:
			_ = r.destroy(key, lifecycle.DestroyForce) // likewise
		}
	}
}

// A page of the catalogue is counted as it is told, whatever is on its way:
// of each shard there is one count, in the state that was told last.
func TestTallyBesideMoves(t *testing.T) {
	newEntry := func(key shard.Key, told shard.State, bytes int64) *entry {
		en := &entry{key: key, told: told}
		if told != shard.Gone {
			en.durable = &catalog.Record{Index: catalog.IndexRef{Length: bytes}, Facts: catalog.Facts{Sections: bytes / 10, Bytes: 2 * bytes}}
		}
		return en
	}
	e := &Engine{}
	e.loop.entries = map[shard.Key]*entry{}
	page := func(upto shard.Key, last bool, pairs ...any) *tally {
		p := &tally{upto: upto, last: last, ready: make(chan struct{})}
		for i := 0; i < len(pairs); i += 2 {
			p.keys = append(p.keys, shard.Key(pairs[i].(string)))
			p.rest = append(p.rest, pairs[i+1].(shard.State))
			p.sizes = append(p.sizes, sizes{10, 1, 20})
		}
		return p
	}
	e.counts.move("early", shard.Gone, shard.Registered) // before the counting: on disk
	page("", false).finish(e)
	e.counts.move("b", shard.Registered, shard.Available) // while the page is read
	e.counts.move("new", shard.Gone, shard.Registered)    // beyond the page
	e.counts.move("bb", shard.Gone, shard.Errored)        // within it, and not in it yet
	e.counts.resize("b", sizes{}, sizes{30, 3, 60})
	e.counts.resize("c", sizes{10, 1, 20}, sizes{})
	e.counts.move("c", shard.Available, shard.Gone) // in it, and gone meanwhile
	going := newEntry("d", shard.Destroying, 100)   // gone from the disk, not told
	coming := newEntry("e", shard.Gone, 0)          // on disk, not told
	e.loop.entries["d"], e.loop.entries["e"] = going, coming
	e.loop.flight = &batch{dirty: []*entry{going, coming}}
	page("e", false, "a", shard.Errored, "b", shard.Registered, "c", shard.Available, "e", shard.Registered).finish(e)
	check := func(bytes, blocks int64, want map[shard.State]int64) {
		t.Helper()
		if have := (sizes{e.counts.index.Load(), e.counts.blocks.Load(), e.counts.cars.Load()}); have != (sizes{bytes, blocks, 2 * bytes}) {
			t.Errorf("the sizes are %v, not %v", have, sizes{bytes, blocks, 2 * bytes})
		}
		for s := shard.Registered; s <= shard.Gone; s++ {
			if have := e.counts.by[s].Load(); have != want[s] {
				t.Errorf("%d are %v, not %d", have, s, want[s])
			}
		}
	}
	check(10+30+100, 1+3+10, map[shard.State]int64{shard.Errored: 2, shard.Available: 1, shard.Destroying: 1})
	e.counts.resize("d", sizes{100, 10, 200}, sizes{})
	e.counts.resize("e", sizes{}, sizes{7, 7, 14})
	e.counts.move("d", shard.Destroying, shard.Gone)
	e.counts.move("e", shard.Gone, shard.Registered)
	e.loop.flight = nil
	page("new", true, "early", shard.Registered, "new", shard.Registered).finish(e)
	e.counts.move("z", shard.Gone, shard.Registered)
	check(10+30+7+20, 1+3+7+2, map[shard.State]int64{shard.Errored: 2, shard.Available: 1, shard.Registered: 4})
}

// An acquire of an open shard allocates nothing for who watches it.
func TestWatchingAllocatesNothing(t *testing.T) {
	measure := func(watch Watcher) float64 {
		r := newWatchRig(t, false)
		r.cfg.Watch = watch
		r.reopen()
		if err := r.register("a", r.cars.Put("a.car", cartest.RandomV1(1, 3, 50)).URL(), false); err != nil {
			t.Fatal(err)
		}
		r.agrees()
		return testing.AllocsPerRun(2000, func() {
			hold, err := r.e.Acquire(context.Background(), "a", AcquireOptions{})
			if err != nil {
				t.Fatal(err)
			}
			hold.Close()
		})
	}
	var moves, calls atomic.Int64
	without := measure(Watcher{})
	with := measure(Watcher{
		Transition: func(shard.Key, shard.State, shard.State, *shard.Error) { moves.Add(1) },
		Call:       func(shard.Op, time.Duration, error) { calls.Add(1) },
	})
	// Under the race detector pools drop some of what is put into them, so that
	// one more may come by chance. A watcher that costs any is told of three things.
	if with > without+1 || moves.Load() < 3999 || calls.Load() < 2000 { // the last release may be on its way
		t.Errorf("%v allocations watched, %v not; %d moves and %d calls were told", with, without, moves.Load(), calls.Load())
	}
}
