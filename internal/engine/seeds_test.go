package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/shard"
)

// The engine among sources that hang, crawl, fail, panic, end too early and
// tell lies, in virtual time. Each seed is a life of its own: who calls what
// and when, and what goes wrong. A bubble does not end while a goroutine of it
// is left.
func TestFaultySources(t *testing.T) {
	first := longtest.Seed()
	n := longtest.Runs(150, 5000)
	var sum sums
	for i := range uint64(n) {
		seed := first + i
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, seed)
			b.live()
			sum.add(&b.sums)
		})
		if t.Failed() {
			t.Fatalf("seed %d; DAGSTORE_SEED=%d repeats it first", seed, seed)
		}
	}
	longtest.Figure(t, "%d lives among faulty sources from seed %d: %d calls, %d answered, %d of them with an error (%d stalled), %d taken back; %d faults in the scripts",
		n, first, sum.calls, sum.answers, sum.failed, sum.stalled, sum.left, sum.faults)
	if sum.answers == 0 || sum.left == 0 || sum.stalled == 0 || sum.faults == 0 {
		t.Error("something never happened")
	}
}

// A sums counts what happened.
type sums struct{ calls, answers, left, failed, stalled, faults int64 }

func (t *sums) add(o *sums) {
	t.calls += o.calls
	t.answers += o.answers
	t.left += o.left
	t.failed += o.failed
	t.stalled += o.stalled
	t.faults += o.faults
}

const (
	bubbleKeys  = 4
	bubbleCalls = 12 // for each client
	bubbleStall = 5 * time.Second
)

// A bubble is an engine with its sources and callers.
type bubble struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	set    memmount.Set
	engine *Engine
	close  func()
	lies   atomic.Bool // a source told something else than it holds

	mu   sync.Mutex
	sums sums
}

func newBubble(t *testing.T, seed uint64) *bubble {
	b := &bubble{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0))}
	disk := vfstest.NewDisk()
	c, err := catalog.Open(t.Context(), catalog.Config{FS: disk, Dir: "catalog"})
	if err != nil {
		t.Fatal(err)
	}
	place, err := segment.NewFolder(disk, ".")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Catalog: c, Segments: place,
		Limits:    car.Limits{Header: 1 << 20, Section: 1 << 20, Roots: 1000},
		Indexings: 2, Fetches: 2, Waits: 1, Opens: 2, Memory: 1 << 20, Queue: 8, Handles: 2, Window: 8, Inline: 600, // of 10 and 11 blocks, not of 12 and 13
		Stall:  bubbleStall,
		Retry:  Retry{OnAcquire: true, Attempts: 3, First: time.Second, Longest: 10 * time.Second},
		Closed: errClosed, ReadOnly: errReadOnly,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	mounts := map[string]mount.Mount{}
	for i := range bubbleKeys {
		name := fmt.Sprint(i)
		mounts["mem:"+name] = b.faulty(b.set.Put(name, cartest.RandomV1(seed*100+uint64(i), 10+i, 50)))
	}
	cfg.Mounts = mount.Registry{"mem": func(url string) (mount.Mount, error) { return mounts[url], nil }}
	if b.engine, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	b.close = func() {
		if err := errors.Join(b.engine.Close(context.Background()), place.Close(context.Background()), c.Close(context.Background())); err != nil {
			t.Errorf("seed %d: close: %v", seed, err)
		}
	}
	return b
}

var (
	errClosed   = errors.New("closed")
	errReadOnly = errors.New("read-only")
)

// faulty puts a script of faults around m.
func (b *bubble) faulty(m mount.Mount) mount.Mount {
	var script []mounttest.Fault
	for range b.rng.IntN(8) {
		f := mounttest.Fault{
			At:    b.rng.Int64N(900) - 1,
			Do:    mounttest.Misdeed(b.rng.IntN(int(mounttest.Panic) + 1)),
			Delay: time.Duration(b.rng.Int64N(int64(2 * bubbleStall))),
		}
		if f.Do == mounttest.Flip || f.Do == mounttest.Short {
			b.lies.Store(true)
		}
		if f.Do != mounttest.None {
			b.sums.faults++
		}
		script = append(script, f)
	}
	if b.rng.IntN(2) == 0 { // one that is read over the network
		return mounttest.Faulty(struct{ mount.RangeOpener }{m.(mount.RangeOpener)}, script...)
	}
	return mounttest.Faulty(m, script...)
}

// live lets the callers call, ends all trouble, and looks at what is left.
func (b *bubble) live() {
	var wg sync.WaitGroup
	owners := make([]owner, bubbleKeys)
	for i := range owners {
		o := &owners[i]
		*o = owner{bubble: b, key: shard.Key(fmt.Sprint(i)), url: fmt.Sprint("mem:", i), rng: rand.New(rand.NewPCG(b.seed, uint64(i+1)))}
		wg.Go(o.live)
		guest := rand.New(rand.NewPCG(b.seed, uint64(i+100)))
		wg.Go(func() { b.visit(guest) })
	}
	wg.Wait()
	time.Sleep(time.Minute) // all that stalls has been given up, all that waits is due
	synctest.Wait()
	for i := range owners {
		owners[i].hold()
	}
	b.close()
}

// call makes a call under a context that may end, and returns its error and
// whether the caller left before the answer.
func (b *bubble) call(rng *rand.Rand, c func(context.Context, Sink) *Call) (left bool, err error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	if patience := []time.Duration{0, 0, 2 * time.Second, 3 * bubbleStall}[rng.IntN(4)]; patience > 0 {
		ctx, cancel = context.WithTimeout(b.t.Context(), time.Duration(rng.Int64N(int64(patience))))
	}
	defer cancel()
	out := make(tray, rng.IntN(2)) // with and without room
	b.count(func(t *sums) { t.calls++ })
	if err := b.engine.Submit(c(ctx, out)); err != nil {
		b.count(func(t *sums) { t.left++ })
		return true, err
	}
	hour := time.NewTimer(time.Hour)
	defer hour.Stop()
	select {
	case o := <-out:
		b.count(func(t *sums) {
			t.answers++
			if o.Err != nil {
				t.failed++
			}
			if errors.Is(o.Err, shard.ErrStalled) {
				t.stalled++
			}
		})
		if o.Hold != nil {
			time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
			o.Hold.Close()
		}
		err = o.Err
	case <-ctx.Done():
		b.count(func(t *sums) { t.left++ })
		err, left = ctx.Err(), true
		time.Sleep(time.Millisecond) // the answer may have crossed
		select {
		case o := <-out:
			if o.Hold != nil {
				o.Hold.Close()
			}
		default:
		}
	case <-hour.C:
		b.t.Errorf("seed %d: a call was not answered in an hour", b.seed)
	}
	cancel()
	time.Sleep(time.Millisecond) // of virtual time: all else that can be done is done
	select {
	case o := <-out:
		b.t.Errorf("seed %d: a second answer, or one after its caller had left: %+v", b.seed, o)
	default:
	}
	return left, err
}

func (b *bubble) count(f func(*sums)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.sums)
}

// visit acquires, recovers and pins any shard.
func (b *bubble) visit(rng *rand.Rand) {
	for range bubbleCalls {
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
		key := shard.Key(fmt.Sprint(rng.IntN(bubbleKeys)))
		left, err := b.call(rng, func(ctx context.Context, s Sink) *Call {
			switch rng.IntN(5) {
			case 0:
				return NewRecover(ctx, key, s)
			case 1:
				return NewPin(ctx, key, rng.IntN(2) == 0, s)
			case 2:
				return NewAcquire(ctx, key, AcquireOptions{Background: true}, s)
			default:
				return NewAcquire(ctx, key, AcquireOptions{}, s)
			}
		})
		var about *shard.Error
		if err != nil && !left && (!errors.As(err, &about) || about.Key != key) {
			b.t.Errorf("seed %d: %v is not typed", b.seed, err)
		}
	}
}

// An owner registers, destroys and replaces one shard: nobody else does.
type owner struct {
	*bubble
	key shard.Key
	url string
	rng *rand.Rand
	may []bool // whether it may be there, each of these; nil: it is not
}

func (o *owner) live() {
	for range bubbleCalls {
		time.Sleep(time.Duration(o.rng.Int64N(int64(2 * time.Second))))
		there := o.rng.IntN(3) > 0
		left, err := o.call(o.rng, func(ctx context.Context, s Sink) *Call {
			if there {
				r := &catalog.Record{Key: o.key, URL: o.url, Verify: o.rng.IntN(3) == 0}
				return NewRegister(ctx, r, o.rng.IntN(3) == 0, s)
			}
			manner := []lifecycle.Event{lifecycle.DestroyRefuse, lifecycle.DestroyWait, lifecycle.DestroyForce}[o.rng.IntN(3)]
			return NewDestroy(ctx, o.key, manner, s)
		})
		o.learn(there, err, left)
	}
}

// learn takes in what an answer says about the shard being there.
func (o *owner) learn(there bool, err error, left bool) {
	switch {
	case left:
		o.may = append(o.may, there)
		if len(o.may) == 1 {
			o.may = append(o.may, false)
		}
	case err == nil:
		o.may = []bool{there}
	case errors.Is(err, shard.ErrExists), errors.Is(err, shard.ErrHeld):
		o.must(true, err)
	case errors.Is(err, shard.ErrUnknown):
		o.must(false, err)
	case errors.Is(err, shard.ErrDestroying), errors.Is(err, shard.ErrBusy): // as it was
	default: // it is there, and has failed
		o.may = []bool{there}
	}
}

// must checks that a refusal fits to what was answered before.
func (o *owner) must(there bool, err error) {
	if len(o.may) > 0 && !slices.Contains(o.may, there) || len(o.may) == 0 && there {
		o.t.Errorf("seed %d: %q: %v, but it may be there: %v", o.seed, o.key, err, o.may)
	}
}

// hold checks that a shard is as the answers say, at rest and held by nobody.
func (o *owner) hold() {
	s, err := o.engine.Info(o.t.Context(), o.key)
	there := err == nil
	if err != nil && !errors.Is(err, shard.ErrUnknown) {
		o.t.Errorf("seed %d: info %q: %v", o.seed, o.key, err)
		return
	}
	o.must(there, err)
	if !there {
		return
	}
	if s.Holders != 0 || s.Waiting != 0 || s.Progress != nil {
		o.t.Errorf("seed %d: %q has %d holders, %d wait, at work %v", o.seed, o.key, s.Holders, s.Waiting, s.Progress != nil)
	}
	switch s.State {
	case shard.Registered, shard.Errored:
	case shard.Available:
		if !o.lies.Load() && s.Record.Sections != int64(10+int(o.key[0]-'0')) {
			o.t.Errorf("seed %d: %q has %d sections", o.seed, o.key, s.Record.Sections)
		}
	default:
		o.t.Errorf("seed %d: %q is not at rest: %v, %s", o.seed, o.key, s.State, strings.TrimSpace(fmt.Sprint(s.Record.Failure)))
	}
}
