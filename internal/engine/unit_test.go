package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStackKeepsOrderAndLosesNothing(t *testing.T) {
	var s stack
	const writers, each = 8, 10_000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s.push(&node{of: [2]int{w, i}})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var last [writers]int
	for i := range last {
		last[i] = -1
	}
	n := 0
	take := func() {
		for m := s.drain(); m != nil; m = m.next {
			of := m.of.([2]int)
			if of[1] != last[of[0]]+1 {
				t.Fatalf("writer %d: %d after %d", of[0], of[1], last[of[0]])
			}
			last[of[0]] = of[1]
			n++
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			runtime.Gosched()
		}
		take()
	}
	if n != writers*each {
		t.Errorf("%d of %d arrived", n, writers*each)
	}
}

// A test of waking: no message may be slept over.
func TestMailboxWakes(t *testing.T) {
	m := newMailbox()
	const n = 100_000
	go func() {
		for i := range n {
			m.call(&node{})
			if i%7 == 0 {
				runtime.Gosched()
			}
		}
	}()
	deadline := time.After(time.Minute)
	for have := 0; have < n; {
		for x := m.calls.drain(); x != nil; x = x.next {
			have++
		}
		if have < n && m.doze() {
			select {
			case <-m.wake:
			case <-deadline:
				t.Fatalf("asleep with %d of %d", have, n)
			}
		}
	}
}

// tray is a sink that tests read.
type tray chan Outcome

func (s tray) Try(o Outcome) bool { return once(s).Try(o) }
func (s tray) Send(o Outcome, left, stop <-chan struct{}) bool {
	return once(s).Send(o, left, stop)
}

func outcome(i int) Outcome { return Outcome{Key: shard.Key(fmt.Sprint(i))} }

func TestOutletsOneGoroutineForEachFullChannel(t *testing.T) {
	s := newOutlets()
	slow, quick := make(tray), make(tray, 10_000)
	before := runtime.NumGoroutine()
	for i := range 10_000 {
		s.deliver(context.Background(), slow, outcome(i))
		s.deliver(context.Background(), quick, outcome(i))
	}
	s.mu.Lock()
	full := len(s.full)
	s.mu.Unlock()
	// One of another test may have ended meanwhile, so there may be none more.
	if n := runtime.NumGoroutine() - before; n > 1 || full != 1 {
		t.Errorf("%d goroutines more, %d outlets, for one full channel", n, full)
	}
	if len(quick) != 10_000 {
		t.Errorf("the other channel got %d of 10,000: it was held up", len(quick))
	}
	for i := range 10_000 {
		if o := <-slow; o.Key != outcome(i).Key {
			t.Fatalf("%v came in place of %d", o.Key, i)
		}
	}
	s.close()
	if n := len(s.full); n != 0 {
		t.Errorf("%d outlets are left", n)
	}
}

func TestOutletsTakeBackWhenTheContextEnds(t *testing.T) {
	e := &Engine{box: newMailbox(), results: newOutlets()}
	s := &e.results
	slow := make(tray)
	ctx, cancel := context.WithCancel(context.Background())
	holds := make([]*Hold, 100)
	for i := range holds {
		holds[i] = &Hold{e: e}
		s.deliver(ctx, slow, Outcome{Hold: holds[i]})
	}
	kept := &Hold{e: e}
	s.deliver(context.Background(), slow, Outcome{Key: "kept", Hold: kept})
	cancel()
	for _, h := range holds { // each is taken back without anybody reading
		for !h.Closed() {
			runtime.Gosched()
		}
	}
	if o := <-slow; o.Key != "kept" {
		t.Errorf("%q was sent after its context had ended", o.Key)
	}
	s.close()
	n := 0
	for late := time.After(time.Minute); n < len(holds); runtime.Gosched() {
		for range e.box.calls.drain().all() { // each marks itself closed, then tells the loop
			n++
		}
		select {
		case <-late:
			t.Fatalf("%d of %d holds were given back", n, len(holds))
		default:
		}
	}
	if kept.Closed() || n != len(holds) {
		t.Errorf("%d holds were given back, want %d; the delivered one: %v", n, len(holds), kept.Closed())
	}
}

func (n *node) all() func(func(*node) bool) {
	return func(yield func(*node) bool) {
		for ; n != nil && yield(n); n = n.next {
		}
	}
}

func TestOutletsCloseTakesBack(t *testing.T) {
	e := &Engine{box: newMailbox(), results: newOutlets()}
	hold := &Hold{e: e}
	e.results.deliver(context.Background(), make(tray), Outcome{Hold: hold})
	e.results.close()
	if !hold.Closed() {
		t.Error("what was not delivered is still held after close")
	}
}

func TestFilter(t *testing.T) {
	var f filter
	if !f.may("any") {
		t.Fatal("a filter that has seen nothing says no")
	}
	const n = 200_000
	for i := range 5 * n { // what comes and goes and comes again takes no more room
		f.add(shard.Key(fmt.Sprint("key", i%n)))
	}
	f.ready.Store(true)
	for i := range n {
		if !f.may(shard.Key(fmt.Sprint("key", i))) {
			t.Fatalf("key %d exists, and the filter says no", i)
		}
	}
	wrong := 0
	for i := range n {
		if f.may(shard.Key(fmt.Sprint("other", i))) {
			wrong++
		}
	}
	if wrong > n/50 {
		t.Errorf("%d of %d keys that do not exist may exist", wrong, n)
	}
	bytes := 0
	for _, p := range f.parts {
		bytes += len(p.blocks) * 64
	}
	if bytes > 4*n+1<<14 {
		t.Errorf("%d bytes for %d keys", bytes, n)
	}
}

func TestIDsAreGivenOnce(t *testing.T) {
	var next uint32 = 1
	fails := errors.New("no")
	var failing bool
	s := ids{reserve: func(_ context.Context, n uint32) (uint32, error) {
		if failing {
			return 0, fails
		}
		first := next
		next += n
		return first, nil
	}}
	seen := map[uint32]bool{}
	for i := range 3 * idRange {
		failing = i%idRange == 0 && i > 0
		id, err := s.next(t.Context())
		if failing {
			if !errors.Is(err, fails) {
				t.Fatalf("a range that was not reserved is used: %d, %v", id, err)
			}
			failing = false
			id, err = s.next(t.Context())
		}
		if err != nil || seen[id] || id == 0 {
			t.Fatalf("id %d: %v, seen %v", id, err, seen[id])
		}
		seen[id] = true
	}
}

func TestIdleList(t *testing.T) {
	var l idleList
	entries := make([]*entry, 5)
	for i := range entries {
		entries[i] = &entry{}
		l.touch(entries[i])
	}
	l.touch(entries[0])
	l.remove(entries[2])
	l.remove(entries[2])
	var order []int
	for en := l.oldest; en != nil; en = en.newer {
		for i := range entries {
			if entries[i] == en {
				order = append(order, i)
			}
		}
	}
	if fmt.Sprint(order) != "[1 3 4 0]" || l.n != 4 {
		t.Errorf("order %v, n %d", order, l.n)
	}
	for _, en := range entries {
		l.remove(en)
	}
	if l.n != 0 || l.oldest != nil || l.newest != nil {
		t.Errorf("not empty: %+v", l)
	}
}

func TestCallList(t *testing.T) {
	en := &entry{}
	calls := []*Call{{}, {}, {}, {}}
	for _, c := range calls {
		en.add(c, inParked)
	}
	en.drop(calls[1])
	en.drop(calls[3])
	if en.next(inParked) != calls[0] || en.next(inParked) != calls[2] || en.next(inParked) != nil || en.called() {
		t.Error("the list does not hold what is left in order")
	}
}
