package layers

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dagstore/dagstore/index"
)

// A machine is an inverted index beside the map that it has to agree with.
type machine struct {
	disk      *disk
	cfg       Config
	inv       *Inverted
	content   map[index.ID][]int // of every id that was given out
	alive     map[index.ID]bool  // to be found
	destroyed map[index.ID]bool
	nextID    index.ID
}

func newMachine(t rapid.TB) *machine {
	m := &machine{
		disk: newDisk(), content: map[index.ID][]int{},
		alive: map[index.ID]bool{}, destroyed: map[index.ID]bool{},
	}
	m.cfg = m.disk.config()
	m.start(t)
	return m
}

func (m *machine) start(t rapid.TB) {
	inv, err := m.disk.start(m.cfg, m.content)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	m.inv = inv
}

func (m *machine) register(ns []int) error {
	id := m.nextID
	m.nextID++
	m.content[id] = ns
	err := m.disk.register(m.inv, id, ns)
	if err == nil {
		m.alive[id] = true
	}
	return err
}

func (m *machine) destroy(id index.ID) error {
	delete(m.alive, id)
	m.destroyed[id] = true
	return m.disk.destroy(m.inv, id)
}

// crash loses what is in memory. What an Add has failed to add was pending in
// the catalogue before it, and so is found after the start.
func (m *machine) crash(t rapid.TB) {
	m.disk.failAt, m.disk.broken = 0, false
	for id := range m.content {
		if !m.destroyed[id] {
			m.alive[id] = true
		}
	}
	m.start(t)
}

func (m *machine) check(t rapid.TB, n int) {
	want := holders(m.content, n)
	want = slices.DeleteFunc(want, func(id index.ID) bool { return !m.alive[id] })
	got, err := m.inv.Find(nil, block(n), 0)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("block %d is found in %v, %v; want %v", n, got, err, want)
	}
}

const universe = 60

func TestAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		ctx := context.Background()
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for range 3 {
					m.check(t, rapid.IntRange(0, universe).Draw(t, "find"))
				}
			},
			"register": func(t *rapid.T) {
				ns := rapid.SliceOfN(rapid.IntRange(0, universe), 0, 20).Draw(t, "blocks")
				if err := m.register(ns); err != nil {
					t.Fatal(err)
				}
			},
			"registerLarge": func(t *rapid.T) {
				n := rapid.IntRange(300, 900).Draw(t, "n")
				if err := m.register(append(span(0, 10), span(1000, 1000+n)...)); err != nil {
					t.Fatal(err)
				}
			},
			"destroy": func(t *rapid.T) {
				if m.nextID == 0 {
					t.Skip("no shard")
				}
				id := index.ID(rapid.IntRange(0, int(m.nextID)-1).Draw(t, "id"))
				if !m.alive[id] {
					t.Skip("gone")
				}
				if err := m.destroy(id); err != nil {
					t.Fatal(err)
				}
			},
			"flush": func(t *rapid.T) {
				if err := m.inv.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				if len(m.disk.pending) != 0 {
					t.Fatalf("pending after a flush: %v", m.disk.pending)
				}
			},
			"merge": func(t *rapid.T) {
				if _, err := m.inv.Merge(ctx); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) { m.crash(t) },
			"restart": func(t *rapid.T) {
				if err := m.inv.Close(ctx); err != nil {
					t.Fatal(err)
				}
				if len(m.disk.pending) != 0 {
					t.Fatalf("pending after Close: %v", m.disk.pending)
				}
				m.start(t)
			},
			"fail": func(t *rapid.T) {
				m.disk.failAt = m.disk.ops + rapid.IntRange(1, 12).Draw(t, "in")
				m.disk.torn = rapid.Bool().Draw(t, "torn")
				errs := []error{m.inv.Flush(ctx)}
				_, err := m.inv.Merge(ctx)
				m.disk.failAt = 0
				for _, err := range append(errs, err) {
					if err != nil && !errors.Is(err, errIO) {
						t.Fatal(err)
					}
				}
				if m.disk.broken { // nothing works any more until a start
					m.crash(t)
				}
			},
		})
	})
}

// history does a bit of everything and returns the first error.
func (m *machine) history(ctx context.Context) error {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 26 {
		ns := span(i, i+r.IntN(20))
		if i%11 == 10 {
			ns = span(0, 700)
		}
		if err := m.register(ns); err != nil {
			return err
		}
		if i%5 == 4 {
			if err := m.destroy(index.ID(r.IntN(i))); err != nil {
				return err
			}
		}
		if i%3 == 2 {
			if err := m.inv.Flush(ctx); err != nil {
				return err
			}
		}
		if i%4 == 3 {
			if _, err := m.inv.Merge(ctx); err != nil {
				return err
			}
		}
	}
	return m.inv.Close(ctx)
}

// Each operation of a history fails once: the error says so, what is found
// stays found, the next try works, and a crash at that point loses nothing.
func TestEveryOperationFails(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for n := 1; ; n++ {
			m := newMachine(t)
			m.disk.failAt, m.disk.torn = n, torn
			err := m.history(t.Context())
			if m.disk.ops < n {
				if err != nil {
					t.Fatalf("without a failure: %v", err)
				}
				if n < 100 {
					t.Fatalf("the history has only %d operations", n)
				}
				break
			}
			if err != nil && !errors.Is(err, errIO) {
				t.Fatalf("operation %d fails as %v", n, err)
			}
			if _, findErr := m.inv.Find(nil, block(5), 0); findErr == nil {
				for b := 0; b < universe; b += 3 {
					m.check(t, b)
				}
				if err := m.inv.Flush(t.Context()); err != nil && !m.disk.broken {
					t.Fatalf("after operation %d has failed once, a flush: %v", n, err)
				}
			}
			m.crash(t)
			for b := 0; b < universe; b += 3 {
				m.check(t, b)
			}
			if err := m.inv.Close(t.Context()); err != nil {
				t.Fatalf("operation %d: Close: %v", n, err)
			}
		}
	}
}

// Whatever fails while it is opened is an error of Open, and no file stays open.
func TestOpenFails(t *testing.T) {
	m := newMachine(t)
	must(t, m.history(t.Context()))
	for n := 1; ; n++ {
		m.disk.ops, m.disk.failAt = 0, n
		inv, err := Open(t.Context(), m.cfg, slices.Collect(maps.Values(m.disk.list)), nil)
		if err == nil {
			must(t, inv.Close(t.Context()))
			if m.disk.ops >= n {
				t.Errorf("operation %d fails and Open does not", n)
			}
			break
		}
		var e *Error
		if !errors.Is(err, errIO) || !errors.As(err, &e) || e.Op != OpOpen || m.disk.open != 0 {
			t.Errorf("operation %d: %v, %d files open", n, err, m.disk.open)
		}
	}
}
