package dagstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

const (
	linearClients = 8
	linearKeys    = 3
	linearPhases  = 3 // between two restarts
	linearCalls   = 7 // of each client in half a phase
)

// A concurrent history is played by clients over one saga, whose model is not
// used.
type linear struct {
	*saga
	begun time.Time
	lost  atomic.Bool // the image is taken: what is answered from now on is not in it
	over  atomic.Bool // the store is read-only
	lie   func(linearInput, *linearOutput, *rand.Rand)

	mu   sync.Mutex
	ops  [linearKeys][]porcupine.Operation
	open [linearKeys][]int // indices of those whose end is not known
}

func (l *linear) now() int64 { return int64(time.Since(l.begun)) }

// note adds a call to the history. One whose caller cannot know what came of
// it ends, at the latest, with the process.
func (l *linear) note(key int, in linearInput, call int64, out linearOutput) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if out.answer == uncertain {
		l.open[key] = append(l.open[key], len(l.ops[key]))
	}
	l.ops[key] = append(l.ops[key], porcupine.Operation{ClientId: in.client, Input: in, Call: call, Output: out, Return: l.now()})
}

// classify turns an error into an answer.
func classify(err error) answer {
	for _, c := range []struct {
		err error
		is  answer
	}{
		// A caller who has left, and a store that is broken, know nothing.
		{context.Canceled, uncertain}, {context.DeadlineExceeded, uncertain}, {ErrReadOnly, uncertain},
		{ErrClosed, uncertain}, {syscall.EIO, uncertain},
		{shard.ErrUnknown, unknown}, {shard.ErrExists, exists}, {shard.ErrKeyUsed, keyUsed}, {shard.ErrHeld, isHeld},
		{shard.ErrDestroying, going}, {shard.ErrSource, noSource}, {shard.ErrFailed, noSource},
	} {
		if errors.Is(err, c.err) {
			return c.is
		}
	}
	if err == nil {
		return done
	}
	return 255 // which nothing explains
}

// A client calls, one call after the other.
type client struct {
	*linear
	id   int
	rng  *rand.Rand
	mine [linearKeys]*Accessor

	waits bool // may wait for the end of a shard: everybody lets go some time
	alone bool // nobody else calls
}

// run makes the calls of half a phase. It ends early when nothing is certain any more: such calls would prove nothing, and
// there are too many orders of them.
func (c *client) run() {
	for range linearCalls {
		if c.lost.Load() || c.over.Load() {
			break
		}
		c.step()
	}
	if c.waits {
		c.releaseAll()
	}
}

func (c *client) step() {
	key := c.rng.IntN(linearKeys)
	if c.mine[key] != nil && c.rng.IntN(3) == 0 {
		c.release(key)
		return
	}
	switch n := c.rng.IntN(100); {
	case n < 24:
		c.call(key, linearInput{op: linRegister, client: c.id, place: c.rng.IntN(3)})
	case n < 50:
		if c.mine[key] == nil {
			c.call(key, linearInput{op: linAcquire, client: c.id})
		}
	case n < 54:
		c.call(key, linearInput{op: linRecover, client: c.id})
	case n < 70:
		manner := HeldPolicy(c.rng.IntN(3))
		if manner == Wait && (c.holds() || !c.waits) { // it would wait for itself
			manner = Refuse
		}
		c.call(key, linearInput{op: linBegin, client: c.id, manner: manner})
	case n < 78:
		c.call(key, linearInput{op: linPin + linearOp(n%2), client: c.id})
	case n < 97:
		c.call(key, linearInput{op: linInfo, client: c.id})
	default: // a source goes, or comes back
		down := &c.down[c.rng.IntN(2)]
		down.Store(!down.Load())
	}
}

func (c *client) holds() bool {
	for _, a := range c.mine {
		if a != nil {
			return true
		}
	}
	return false
}

func (c *client) release(key int) {
	a := c.mine[key]
	if a == nil {
		return
	}
	c.mine[key] = nil
	late, call := c.lost.Load(), c.now()
	if a.Close(); late {
		return
	}
	c.note(key, linearInput{op: linRelease, client: c.id}, call, c.sure(linearOutput{}))
}

// sure makes an answer uncertain that the crash has taken back.
func (c *client) sure(out linearOutput) linearOutput {
	if c.lost.Load() {
		out.answer = uncertain
	}
	return out
}

// call makes one call and notes it.
func (c *client) call(key int, in linearInput) {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	if c.rng.IntN(16) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.rng.IntN(200))*time.Microsecond)
		defer cancel()
	}
	call := c.now()
	out, a := c.ask(ctx, key, in)
	if c.lie != nil {
		c.lie(in, &out, c.rng)
	}
	out = c.sure(out)
	if a != nil {
		c.mine[key] = a
	}
	switch {
	case in.op == linInfo && out.answer == uncertain:
		return // nothing was learnt
	case in.op == linAcquire && a == nil:
		in.op = linTry
		c.note(key, in, call, linearOutput{})
		in.op = linFail
	}
	c.note(key, in, call, out)
	switch {
	case in.op == linBegin && (out.answer == done || out.answer == uncertain):
		in.op = linEnd
		c.note(key, in, call, out)
	case in.op == linInfo && out.answer == done && c.alone:
		in.op = linHeld
		c.note(key, in, call, out)
	}
}

// ask makes one call of the store.
func (c *client) ask(ctx context.Context, key int, in linearInput) (out linearOutput, a *Accessor) {
	var err error
	k := keyOf(key)
	switch in.op {
	case linRegister:
		m, merr := c.mount(placeURL(in.place))
		if merr != nil {
			return linearOutput{answer: classify(merr)}, nil
		}
		err = c.store.Register(ctx, k, m, &RegisterOptions{Lazy: c.rng.IntN(3) == 0})
	case linAcquire:
		a, err = c.store.Acquire(ctx, k, nil)
	case linRecover:
		err = c.store.Recover(ctx, k, nil)
	case linBegin:
		err = c.store.Destroy(ctx, k, &DestroyOptions{Held: in.manner})
	case linPin:
		err = c.store.Pin(ctx, k)
	case linUnpin:
		err = c.store.Unpin(ctx, k)
	default: // linInfo
		var info shard.Info
		if info, err = c.store.Info(ctx, k); err == nil {
			out = linearOutput{state: info.State, pin: info.Local.Pinned, held: info.Holders, wait: info.Waiting, place: -1}
			for p := range sagaPlaces {
				if placeURL(p) == info.URL {
					out.place = p
				}
			}
		}
	}
	if errors.Is(err, ErrReadOnly) {
		c.over.Store(true)
	}
	out.answer = classify(err)
	return out, a
}

// play plays a history.
func (l *linear) play(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	l.begun = time.Now()
	defer func() {
		l.faults.Disarm()
		l.store.Close()
	}()
	for phase := range linearPhases {
		var image *vfstest.Disk
		disk, at, how, percent := l.disk, rng.IntN(400), rng.IntN(3), rng.IntN(3)*50
		l.faults.Arm(vfstest.Op.Changes, func(n int, _ vfstest.Op) error {
			switch {
			case n == at && how == 0:
				l.lost.Store(true)
				image = disk.Crash(percent, seed)
			case n >= at && how == 1:
				return syscall.EIO
			}
			return nil
		})
		l.phase(func(id int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(100*phase+id+1))) })
		l.faults.Disarm()
		if image == nil {
			image = disk
		}
		if err := l.restart(image); err != nil {
			return fmt.Errorf("phase %d: %w", phase, err)
		}
	}
	(&client{linear: l, rng: rng, alone: true}).look()
	return nil
}

// phase has the clients call at once. Who holds what is asked when they have
// come to rest, then they let go.
func (l *linear) phase(rng func(id int) *rand.Rand) {
	var clients [linearClients]*client
	for id := range clients {
		clients[id] = &client{linear: l, id: id, rng: rng(id)}
	}
	for _, waits := range []bool{true, false} {
		var wg sync.WaitGroup
		for _, c := range clients {
			c.waits = waits
			wg.Go(c.run)
		}
		wg.Wait()
	}
	clients[0].alone = true
	clients[0].look()
	for _, c := range clients {
		c.releaseAll()
	}
}

func (c *client) releaseAll() {
	for key := range c.mine {
		c.release(key)
	}
}

// look asks about all shards.
func (c *client) look() {
	for key := range linearKeys {
		c.call(key, linearInput{op: linInfo, client: c.id})
	}
}

// restart ends what is open, opens the store on a disk, and waits until what
// the last process had begun has ended.
func (l *linear) restart(disk *vfstest.Disk) error {
	call := l.now()
	for key := range l.ops {
		for _, i := range l.open[key] {
			l.ops[key][i].Return = call
		}
		l.open[key] = nil
	}
	if err := l.reopen(disk); err != nil {
		return err
	}
	l.lost.Store(false)
	l.over.Store(false)
	for key := range l.ops {
		if _, err := l.settled(key); err != nil {
			return err
		}
		l.note(key, linearInput{op: linRestart}, call, linearOutput{})
	}
	return nil
}

// linearizable plays one history and checks it.
func linearizable(cars *carData, seed uint64, lie func(linearInput, *linearOutput, *rand.Rand)) (porcupine.CheckResult, string, error) {
	w, err := newSaga(cars, setting{quota: 4 * 4096})
	if err != nil {
		return porcupine.Unknown, "", err
	}
	l := &linear{saga: w, lie: lie}
	if err := l.play(seed); err != nil {
		return porcupine.Unknown, "", err
	}
	model := linearModel()
	for key, ops := range l.ops {
		if got := porcupine.CheckOperationsTimeout(model, ops, sagaPatience); got != porcupine.Ok {
			return got, fmt.Sprintf("shard %v:\n%s", keyOf(key), explain(model, ops)), nil
		}
	}
	return porcupine.Ok, "", nil
}

// explain shows the calls up to a little behind the last that some order explains.
func explain(model porcupine.Model, ops []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(model, ops, sagaPatience)
	var best []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, partial := range partition {
			if len(partial) > len(best) {
				best = partial
			}
		}
	}
	var last int64
	explained := map[porcupine.Operation]bool{}
	var text strings.Builder
	for _, o := range best {
		explained[o] = true
		last = max(last, o.Call)
		fmt.Fprintf(&text, "%9d %9d  %+v  %+v\n", o.Call, o.Return, o.Input, o.Output)
	}
	fmt.Fprintln(&text, "and then none of")
	for _, o := range ops {
		if !explained[o] && o.Call <= last+1_000_000 {
			fmt.Fprintf(&text, "%9d %9d  %+v  %+v\n", o.Call, o.Return, o.Input, o.Output)
		}
	}
	return text.String()
}

// TestLinearizable has eight clients call at once, with sources that come and
// go, callers who leave, disks that fail, and crashes: each answer must be one
// that some order of the calls explains.
func TestLinearizable(t *testing.T) {
	cars, runs, begun := newCARData(t), longtest.Runs(12, 2000), time.Now()
	for i := range runs {
		seed := longtest.Seed() + uint64(i)
		switch got, text, err := linearizable(cars, seed, nil); {
		case err != nil:
			t.Fatalf("%s=%d: %v", longtest.SeedName, seed, err)
		case got != porcupine.Ok:
			t.Fatalf("%s=%d, at this run: %v: %s", longtest.SeedName, seed, got, text)
		}
	}
	longtest.Figure(t, "%d histories of %d clients from seed %d linearizable, 0 unknown, %.1f a second",
		runs, linearClients, longtest.Seed(), float64(runs)/time.Since(begun).Seconds())
}

// TestLinearizableCatchesLies is the test of the test: a store that lies is
// caught.
func TestLinearizableCatchesLies(t *testing.T) {
	cars := newCARData(t)
	for name, lie := range map[string]func(linearInput, *linearOutput, *rand.Rand){
		"a refused destroy is called a success": func(in linearInput, out *linearOutput, _ *rand.Rand) {
			if in.op == linBegin && out.answer == isHeld {
				out.answer = done
			}
		},
		"a shard that is there is called unknown": func(in linearInput, out *linearOutput, rng *rand.Rand) {
			if in.op == linInfo && out.answer == done && rng.IntN(3) == 0 {
				out.answer = unknown
			}
		},
		"a holder is not counted": func(in linearInput, out *linearOutput, _ *rand.Rand) {
			if in.op == linInfo && out.held > 0 {
				out.held--
			}
		},
		"a second registration succeeds": func(in linearInput, out *linearOutput, _ *rand.Rand) {
			if in.op == linRegister && out.answer == exists {
				out.answer = done
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for seed := range uint64(8) {
				got, _, err := linearizable(cars, seed+1, lie)
				if err != nil {
					t.Fatal(err)
				}
				if got == porcupine.Illegal {
					caught++
				}
			}
			if caught < 4 {
				t.Errorf("caught in %d of 8 histories", caught)
			}
		})
	}
}
