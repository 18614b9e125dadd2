package dagstore

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

const (
	flagLazy = 1 << iota
	flagPin
	flagDiscard

	flagLast    = flagPin     // of an eviction: also of a last copy
	flagPatient = flagDiscard // who holds what the call may need lets go only if it waits
)

// What happens in the middle of a step.
const (
	calm     = iota
	canceled // the caller's context ends
	crashed  // the machine loses its power; unsynced data survives in part
	broken   // an operation on the disk fails, and so do all after it
	refused  // one operation fails
)

var middles = [...]string{"", "canceled", "crashed", "broken", "refused"}

// A step is one call and what happens in its middle.
type step struct {
	Op, Key, Place, Flags int
	Index                 int // a policy, an index that is laid, or what is in a manifest
	Serve                 shard.Mode

	Middle  int
	At      int // which operation on the disk; -1: before the call
	Percent int
	Seed    uint64
}

func (s step) String() string {
	text := fmt.Sprintf("%s %v place %d flags %d index %d %v", opNames[s.Op], keyOf(s.Key), s.Place, s.Flags, s.Index, s.Serve)
	if s.Middle != calm || s.Op == opCrash {
		text += fmt.Sprintf(" %s at %d, %d%% kept, seed %d", middles[s.Middle], s.At, s.Percent, s.Seed)
	}
	return text
}

// weights are how often each call comes.
var weights = [numOps]int{
	opRegister: 20, opAcquire: 22, opRelease: 14, opRecover: 5, opDestroy: 4, opDestroyWait: 4, opDestroyForce: 3,
	opRemount: 6, opReplace: 6, opPin: 3, opUnpin: 3, opEvict: 9, opSleep: 9, opSwitch: 9, opReopen: 2, opCrash: 2, opTidy: 2,
	opLay: 5, opPutSet: 8, opRemoveSet: 2,
}

// sagas draws n steps.
func sagas(n int) *rapid.Generator[[]step] {
	var ops []int
	for op, weight := range weights {
		ops = append(ops, slices.Repeat([]int{op}, weight)...)
	}
	one := rapid.Custom(func(t *rapid.T) step {
		s := step{
			Op:    rapid.SampledFrom(ops).Draw(t, "op"),
			Key:   rapid.IntRange(0, sagaKeys-1).Draw(t, "key"),
			Place: rapid.IntRange(0, sagaPlaces-1).Draw(t, "place"),
			Flags: rapid.IntRange(0, 7).Draw(t, "flags"),
			Index: rapid.SampledFrom([]int{0, 1, 2, 3, 4, 4, 5, 5}).Draw(t, "index"),
		}
		s.Serve = rapid.SampledFrom([]shard.Mode{shard.Auto, shard.Auto, shard.InPlace, shard.Sparse, shard.Sparse, shard.Copy, shard.Copy}).Draw(t, "serve")
		s.Middle = rapid.SampledFrom([]int{calm, calm, calm, calm, calm, calm, calm, canceled, crashed, crashed, broken, refused}).Draw(t, "middle")
		s.At = rapid.IntRange(-1, 14).Draw(t, "at")
		s.Percent = rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "percent")
		s.Seed = rapid.Uint64Range(0, 1<<20).Draw(t, "seed")
		return s
	})
	return rapid.SliceOfN(one, n, n)
}

// play runs a history. The error names the step at which the store was not
// what it had to be.
func play(cars *carData, how setting, steps []step) error {
	_, err := played(cars, how, steps)
	return err
}

func played(cars *carData, how setting, steps []step) (*saga, error) {
	w, err := newSaga(cars, how)
	if err != nil {
		return nil, err
	}
	return w, w.play(steps)
}

func (w *saga) play(steps []step) error {
	defer func() {
		for _, h := range w.holders {
			h.a.Close()
		}
		w.faults.Disarm()
		w.store.Close()
	}()
	for i, s := range steps {
		s = w.bent(s)
		last, err := w.lastCopies()
		if err == nil {
			err = w.do(s)
		}
		if err != nil {
			return fmt.Errorf("step %d, %v: %w", i, s, err)
		}
		if err := w.stillKept(last, s); err != nil {
			return fmt.Errorf("after step %d, %v: %w", i, s, err)
		}
		if err := w.check(); err != nil {
			return fmt.Errorf("after step %d, %v: %w", i, s, err)
		}
	}
	if err := w.confirmed(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

// shrink leaves out steps of a history that fails as long as it still does.
func shrink(cars *carData, how setting, steps []step) []step {
	tries, begun := 0, time.Now()
	for size := len(steps) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(steps) && tries < 400 && time.Since(begun) < sagaPatience; {
			tries++
			if less := slices.Delete(slices.Clone(steps), i, i+size); play(cars, how, less) != nil {
				steps = less
			} else {
				i += size
			}
		}
	}
	return steps
}

// TestSagas draws histories of all calls, with sources that come and go, indices
// beside them that are right or lie, manifests, callers who leave, a disk that fails, and a crash and a restart at any step,
// and holds the store after each step against a model that knows only what was
// acknowledged.
func TestSagas(t *testing.T) {
	runs, length := longtest.Runs(40, 100_000), longtest.Runs(60, 100)
	begun := time.Now()
	var next atomic.Int64
	var counts tallies
	var wg sync.WaitGroup
	cars := newCARData(t)
	draw := sagas(length)
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() {
				i := next.Add(1) - 1
				if i >= int64(runs) {
					return
				}
				seed := longtest.Seed() + uint64(i)
				steps := draw.Example(int(seed))
				how := settingOf(seed)
				w, err := played(cars, how, steps)
				if w != nil {
					counts.add(&w.tallies)
				}
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					steps = shrink(cars, how, steps)
					var text strings.Builder
					for _, s := range steps {
						fmt.Fprintln(&text, s)
					}
					t.Logf("%s=%d has this as its first history; the rest of it that fails: %v\n%s",
						longtest.SeedName, seed, play(cars, how, steps), text.String())
				}
			}
		})
	}
	wg.Wait()
	longtest.Figure(t, "%d histories of %d steps from seed %d, %.0f steps a second; %v",
		runs, length, longtest.Seed(), float64(runs*length)/time.Since(begun).Seconds(), &counts)
}

// TestSagasCatchLies is the test of the test: a store is caught that has lost
// what it acknowledged, or that holds something else than it should.
func TestSagasCatchLies(t *testing.T) {
	cars := newCARData(t)
	draw := sagas(240)
	for name, lie := range map[string]func(*saga){
		"a restart finds an earlier state": func(w *saga) {
			past := w.disk.Crash(100, 0)
			w.lie = func(now *vfstest.Disk) *vfstest.Disk {
				then := past
				past = now.Crash(100, 0)
				return then
			}
		},
		"pins are mixed up": func(w *saga) {
			w.lie = func(now *vfstest.Disk) *vfstest.Disk {
				for i := range w.known {
					w.known[i].pin = !w.known[i].pin
				}
				return now
			}
		},
		"manifests are mixed up": func(w *saga) {
			w.lie = func(now *vfstest.Disk) *vfstest.Disk {
				for i := range w.known {
					k := &w.known[i]
					k.sets[0], k.sets[1] = k.sets[1], k.sets[0]
				}
				return now
			}
		},
		"a source is another without notice": func(w *saga) {
			w.lie = func(now *vfstest.Disk) *vfstest.Disk {
				w.places.Put(placeName(3), w.cars.bytes[0])
				return now
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for seed := range 12 {
				w, err := newSaga(cars, setting{quota: 4 * 4096})
				if err != nil {
					t.Fatal(err)
				}
				lie(w)
				if err := w.play(draw.Example(seed + 1)); err != nil {
					caught++
				}
			}
			if caught < 6 {
				t.Errorf("caught in %d of 12 histories", caught)
			}
		})
	}
}
