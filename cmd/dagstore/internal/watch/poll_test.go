package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// A shelf is a source whose CARs lie in memory.
type shelf struct {
	cars memmount.Set

	mu      sync.Mutex
	names   []string // in the order of the look
	waits   map[string]bool
	broken  error // ends each look after the first CAR
	down    error // of Version
	version string
	unready bool
	looks   int

	looking time.Duration // that each look takes
	adding  time.Duration // that each CAR takes before it is registered
}

func (s *shelf) Look(context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.looks++
		time.Sleep(s.looking)
		for i, name := range s.names {
			if i == 1 && s.broken != nil {
				yield(Found{Requests: 1}, s.broken)
				return
			}
			key, _, _ := strings.Cut(name, "@")
			f := Found{Name: "mem:" + name, Key: shard.Key(key), Whole: true, Stat: mount.Stat{Size: -1, Waits: s.waits[name]}}
			if i%1000 == 0 {
				f.Requests = 1
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

func (s *shelf) Open(_ context.Context, f Found) (CAR, error) {
	m, err := s.cars.Open(f.Name)
	check := func(context.Context) error {
		time.Sleep(s.adding)
		return nil
	}
	return CAR{Mount: m, Stat: f.Stat, Check: check}, err
}

func (s *shelf) Owns(url string) bool { return strings.HasPrefix(url, "mem:") }

// versioned is a shelf that knows whether it has changed.
type versioned struct{ *shelf }

func (s versioned) Version(context.Context) (Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Version{Name: s.version, Unready: s.unready, Requests: 1}, s.down
}

func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// shelves is a rig whose store can read a shelf.
func shelves(t *testing.T) (*rig, *shelf) {
	t.Helper()
	s := &shelf{waits: make(map[string]bool)}
	r := &rig{t: t, stop: func() {}}
	store, err := dagstore.Open(t.Context(), t.TempDir(), &dagstore.Config{Mounts: mount.Registry{"mem": s.cars.Open}})
	if err != nil {
		t.Fatal(err)
	}
	r.store = store
	t.Cleanup(func() {
		r.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, s
}

// put puts a CAR onto the shelf.
func (s *shelf) put(names ...string) {
	s.set(func() {
		for _, name := range names {
			s.cars.Put(name, cartest.V1(nil, []cartest.Block{cartest.Raw([]byte(name))}))
			s.names = append(s.names, name)
		}
	})
}

func (r *rig) poll(kind Kind, source Source) {
	r.t.Helper()
	r.pollWith(kind, source, 0)
}

func (r *rig) pollWith(kind Kind, source Source, jobs int) {
	r.t.Helper()
	r.events = nil
	w, err := New(Config{Store: r.store, Told: r.told, Jobs: jobs, Places: []Place{{Name: "shelf", Kind: kind, Source: source}}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.w, r.place = w, w.places[0]
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
}

// What comes as a whole is taken up by the first look that finds it; a look
// that breaks off says nothing about what it has not come to.
func TestPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := shelves(t)
		s.put("a", "b", "c")
		s.set(func() { s.waits["c"] = true })
		r.poll(Prefix, s)
		pass(time.Second)
		r.want("added a", "added b", "added c")
		if r.state("c") != shard.Registered || r.state("a") != shard.Available {
			t.Errorf("the archived one is %v, the other %v", r.state("c"), r.state("a"))
		}
		s.set(func() { s.broken = errors.New("the line is cut") })
		pass(time.Hour)
		r.want("added a", "added b", "added c", "trouble")
		s.set(func() { s.broken, s.names = nil, []string{"c", "a"} })
		pass(Interval(Prefix))
		r.want("added a", "added b", "added c", "trouble", "well", "vanished b")
		if s := r.w.Status()[0]; s.Requests != 14 || s.Looks != 2 { // one a look, and the end that was an error
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// A list that has not changed is not read again, unless something in it has
// failed and is due.
func TestUnchangedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := shelves(t)
		s.put("a")
		s.version = "1"
		r.poll(List, versioned{s})
		pass(time.Hour)
		if s.looks != 1 || r.w.Status()[0].Skipped != 12 {
			t.Errorf("it was read %d times: %+v", s.looks, r.w.Status()[0])
		}
		s.put("b")
		s.set(func() { s.version = "2"; s.names = append(s.names, "none") })
		pass(4 * time.Hour)
		r.want("added a", "added b", "failed none")
		if st := r.w.Status()[0]; st.Failed != 1 || r.state("none") != shard.Errored {
			t.Errorf("%+v", st)
		}
		if s.looks < 5 || s.looks > 12 {
			t.Errorf("with one that fails it was read %d times", s.looks)
		}
		s.set(func() { s.names, s.version = []string{"b"}, "3" })
		pass(time.Hour)
		r.want("added a", "added b", "failed none", "vanished a", "vanished none")
		s.set(func() { s.names, s.version, s.unready = nil, "4", true })
		pass(time.Hour)
		r.want("added a", "added b", "failed none", "vanished a", "vanished none")
		s.set(func() { s.names, s.unready = []string{"b"}, false })
		s.set(func() { s.down = errors.New("no answer") })
		pass(time.Hour)
		s.set(func() { s.down = nil })
		pass(time.Hour)
		r.want("added a", "added b", "failed none", "vanished a", "vanished none", "trouble", "well")
		r.stop()
	})
}

// A key that belongs to another source is told of once; so is one that the
// place has twice.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := shelves(t)
		s.put("a@1", "b@1", "b@2")
		s.cars.Put("other", cartest.V1(nil, nil))
		m, err := s.cars.Open("mem:other")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Register(t.Context(), "a", m, nil); err != nil {
			t.Fatal(err)
		}
		r.poll(Prefix, s)
		pass(24 * time.Hour)
		r.want("added b", "failed a", "failed b")
		r.stop()
	})
}

// The time to the next look is twenty times that of a look, if that is longer
// than the interval; what a look has waited for CARs to be added is not part of it.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := shelves(t)
		s.put("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		s.adding = time.Hour
		r.pollWith(Prefix, s, 2)
		pass(4*time.Hour + 30*time.Minute)
		if st := r.w.Status()[0]; st.Added != 8 || st.Took != 0 || st.Looks < 3 || st.Next.Sub(st.Last) != Interval(Prefix) {
			t.Errorf("while many are added: %+v", st)
		}
		s.set(func() { s.looking = 2 * time.Minute })
		pass(2 * time.Hour)
		if st := r.w.Status()[0]; st.Added != 10 || st.Took != 2*time.Minute || st.Next.Sub(st.Last) != 40*time.Minute {
			t.Errorf("when looks are slow: %+v", st)
		}
		r.stop()
	})
}

// Configurations that cannot be are refused, with all that is wrong.
func TestConfig(t *testing.T) {
	s := new(shelf)
	_, err := New(Config{Places: []Place{
		{Name: "x", Kind: List, Source: s}, {Name: "x", Kind: List, Source: s}, {Name: "y", Kind: List, Source: s, Every: 1},
	}})
	if err == nil || !strings.Contains(err.Error(), "x: it is watched twice") || !strings.Contains(err.Error(), "the least is 1 s") {
		t.Errorf("%v", err)
	}
}

// The table counts what it holds, whatever is done to it.
func TestTableCounts(t *testing.T) {
	tab := newTable()
	for i := range 1000 {
		id := tab.id(fmt.Sprint(i % 37))
		e := tab.entries[id]
		e.state = state(i%4 + 1)
		e.flags = flags(i % 8)
		if i%11 == 0 {
			tab.remove(id)
			continue
		}
		tab.set(id, e)
	}
	var states [states]int64
	var other, lost int64
	for _, e := range tab.entries {
		switch {
		case e.has(gone):
			lost++
		default:
			states[e.state]++
			if e.has(changed) {
				other++
			}
		}
	}
	if states != tab.states || other != tab.changed || lost != tab.gone {
		t.Errorf("counted %v %d %d, there are %v %d %d", tab.states, tab.changed, tab.gone, states, other, lost)
	}
}
