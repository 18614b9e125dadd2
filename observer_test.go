package dagstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A diary is what callbacks have heard.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// events writes all that happens into d.
func (d *diary) events() Events {
	return Events{
		Transition: func(t Transition) { d.add("%s %v>%v", t.Key, t.From, t.To) },
		Work:       func(w WorkEvent) { d.add("%s %s %v err=%t", w.Key, w.Op, w.Phase, w.Err != nil) },
		Fault:      func(f FaultEvent) { d.add("%s %v", f.Key, f.Kind) },
		Trouble:    func(err error) { d.add("trouble %v", err) },
		Dropped:    func(n int64) { d.add("dropped %d", n) },
	}
}

func TestEventsOfALife(t *testing.T) {
	r := newRig(t)
	r.stop()
	var d diary
	r.cfg.Events = d.events()
	r.open()
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	r.has(blocks)
	a.Close()
	r.await("a", shard.Available)
	bad := r.putBytes("bad.car", []byte("no CAR"))
	if err := r.store.Register(r.ctx(), "bad", bad, nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	r.until("the shards are counted", func() bool { return !r.store.Stats().Counting })
	s := r.store.Stats()
	if s.Shards[shard.Errored] != 1 || s.Shards[shard.Available] != 0 || s.Reads != 20 || s.Hits != 20 || s.Misses != 0 {
		t.Errorf("stats: %+v", s)
	}
	r.stop() // tells what waits
	want := []string{
		"a gone>initializing", "a index began err=false", "a index ended err=false", "a initializing>available",
		"a available>serving", "a serving>available",
		"bad gone>initializing", "bad index began err=false", "bad index ended err=true", "bad initializing>errored",
		"a available>gone",
	}
	// Work begins when its intent is on its way to the disk, not after.
	got := d.read()
	for _, key := range []string{"a", "bad"} {
		i := slices.Index(got, key+" gone>initializing")
		j := slices.Index(got, key+" index began err=false")
		if i < 0 || j < 0 {
			t.Fatalf("heard: %q", got)
		}
		if j < i {
			got[i], got[j] = got[j], got[i]
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("heard:\n%s\nnot:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEventsOfDamageAndTrouble(t *testing.T) {
	r := newRig(t)
	r.stop()
	var d diary
	r.cfg.Events = d.events()
	r.open()
	blocks := cartest.Random(7, 3, 100)
	data := cartest.RandomV1(7, 3, 100)
	data[len(data)-1] ^= 1 // of the last block
	m := r.putBytes("worn.car", data)
	r.register("worn", m, nil)
	for range 3 {
		if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[2].CID); !errors.Is(err, shard.ErrBlock) {
			t.Fatal(err)
		}
	}
	_, release := r.holdCommit(errors.New("no disk"))
	release()
	if err := r.store.Register(r.ctx(), "b", m, &RegisterOptions{Lazy: true}); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
	s := r.store.Stats()
	if s.Faults != 1 || s.Reads != 0 || s.Shards[shard.Registered] != 0 {
		t.Errorf("stats: %+v", s)
	}
	r.store.Close()
	got := strings.Join(d.read(), "\n")
	if strings.Count(got, "worn wrong hash") != 1 || strings.Count(got, "trouble a commit failed") != 1 || strings.Contains(got, "b gone>") {
		t.Errorf("heard:\n%s", got)
	}
}

// Callbacks may call the store.
func TestEventsMayCallTheStore(t *testing.T) {
	r := newRig(t)
	r.stop()
	_, m := r.put("a.car", 1, 20)
	states := make(chan shard.State, 10)
	r.cfg.Events.Transition = func(tr Transition) {
		if tr.To != shard.Available || tr.From == shard.Serving {
			return
		}
		in, err := r.store.Info(r.ctx(), tr.Key)
		if err != nil {
			t.Error(err)
		}
		a, err := r.store.Acquire(r.ctx(), tr.Key, nil)
		if err != nil {
			t.Error(err)
			return
		}
		a.Close()
		states <- in.State
	}
	r.open()
	r.register("a", m, nil)
	if s := soon(r, "event", states); s != shard.Available {
		t.Errorf("told of Available, and it is %v", s)
	}
}

// tell sends transitions whose keys are their numbers.
func tellNumbers(o *observer, from, to int) {
	for i := from; i < to; i++ {
		o.tell(happening{transition: Transition{Key: shard.Key(fmt.Sprint(i)), To: shard.Available}})
	}
}

// A slow callback loses events, in one place that is told of, and holds up
// nobody.
func TestSlowObserver(t *testing.T) {
	var d diary
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	o := newObserver(Events{
		Transition: func(tr Transition) {
			select {
			case entered <- struct{}{}:
				<-gate
			default:
			}
			d.add("%s", tr.Key)
		},
		Dropped: func(n int64) { d.add("dropped %d", n) },
	}, slog.New(slog.DiscardHandler))
	tellNumbers(o, 0, 1)
	for len(entered) == 0 {
		time.Sleep(time.Millisecond)
	}
	tellNumbers(o, 1, 1+eventRing+100) // the last 100 find no room
	if n := o.dropped.Load(); n != 100 {
		t.Errorf("%d were dropped, not 100", n)
	}
	close(gate)
	for len(d.read()) < 1+eventRing { // all that is queued
		time.Sleep(time.Millisecond)
	}
	tellNumbers(o, 10_000, 10_002)
	o.close(time.Minute)
	want := make([]string, 0, eventRing+4)
	for i := range 1 + eventRing {
		want = append(want, fmt.Sprint(i))
	}
	want = append(want, "dropped 100", "10000", "10001")
	if got := d.read(); !slices.Equal(got, want) {
		t.Errorf("%d events, not %d; the last are %q", len(got), len(want), got[max(0, len(got)-5):])
	}
	tellNumbers(o, 0, 1) // after the end: to nobody
}

func TestObserverSurvivesPanics(t *testing.T) {
	var log bytes.Buffer
	var d diary
	o := newObserver(Tee(
		Events{Transition: func(tr Transition) {
			if tr.Key == "1" {
				panic("no good")
			}
		}},
		d.events(),
	), slog.New(slog.NewTextHandler(&log, nil)))
	tellNumbers(o, 0, 3)
	o.close(time.Minute)
	if got := d.read(); len(got) != 2 {
		t.Errorf("heard: %q", got)
	}
	if n := strings.Count(log.String(), "no good"); n != 1 {
		t.Errorf("the log has the panic %d times", n)
	}
}

// Close waits for a callback that hangs no longer than it says, and tells
// nothing after it.
func TestObserverCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		calls := 0
		o := newObserver(Events{Transition: func(Transition) { calls++; <-gate }}, slog.New(slog.DiscardHandler))
		tellNumbers(o, 0, 3)
		begun := time.Now()
		o.close(eventGrace)
		if took := time.Since(begun); took != eventGrace {
			t.Errorf("closing took %v", took)
		}
		close(gate)
		<-o.done
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}

func TestTee(t *testing.T) {
	var a, b diary
	both := Tee(a.events(), b.events())
	for _, e := range []Events{both, Tee(a.events(), Events{}), Tee(Events{}, b.events())} {
		e.Transition(Transition{Key: "k", From: shard.Gone, To: shard.Registered})
		e.Work(WorkEvent{Key: "k", Phase: Moved})
		e.Fault(FaultEvent{Key: "k", Fault: shard.Fault{Kind: shard.BadHash}})
		e.Trouble(errors.New("some"))
		e.Dropped(3)
	}
	want := []string{"k gone>registered", "k  moved err=false", "k wrong hash", "trouble some", "dropped 3"}
	want = append(want, want...)
	if !slices.Equal(a.read(), want) || !slices.Equal(b.read(), want) {
		t.Errorf("a heard %q, b heard %q", a.read(), b.read())
	}
	if none := Tee(Events{}, Events{}); none.Transition != nil || newObserver(none, nil) != nil {
		t.Error("who wants to hear of nothing costs something")
	}
}

// After a start the counts become those of the catalogue.
func TestStatsAfterAStart(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	for i := range 50 {
		r.register(shard.Key(fmt.Sprint(i)), m, &RegisterOptions{Lazy: i%2 == 0})
	}
	r.reopen()
	r.until("all are counted", func() bool { return !r.store.Stats().Counting })
	s := r.store.Stats()
	if s.Shards[shard.Registered] != 25 || s.Shards[shard.Available] != 25 || s.IndexBytes == 0 || s.Handles != 0 {
		t.Errorf("stats: %+v", s)
	}
	if in := r.info("1"); s.Blocks != 25*20 || s.CARBytes != 25*in.Bytes || in.Bytes == 0 {
		t.Errorf("%d blocks in %d bytes, want 25 times 20 in %d", s.Blocks, s.CARBytes, in.Bytes)
	}
	a := r.acquire("1")
	if s := r.store.Stats(); s.Shards[shard.Serving] != 1 || s.Shards[shard.Available] != 24 || s.Handles != 1 {
		t.Errorf("while one is held: %+v", s)
	}
	a.Close()
}
