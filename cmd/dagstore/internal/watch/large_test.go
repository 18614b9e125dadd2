package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/shard"
)

// many makes n files in the watched folder: links to few, since only names count.
func (r *rig) many(n int) {
	r.t.Helper()
	for i := range n {
		name, first := fmt.Sprintf("%07d.car", i), fmt.Sprintf("%07d.car", i/10_000*10_000)
		if name == first {
			r.write(r.dir, name, car("one"))
		} else if err := os.Link(filepath.Join(r.dir, first), filepath.Join(r.dir, name)); err != nil {
			r.t.Skip("no links here: ", err)
		}
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one may have begun before
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLookAgain: a folder of a million files, all of which the store has, is
// looked at again. How long that takes and what is remembered are figures.
func TestLookAgain(t *testing.T) {
	n := longtest.Runs(10_000, 1_000_000)
	r := newRig(t)
	r.many(n)
	source, err := NewFolder(r.dir, keyOf, isCAR)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{Store: r.store, Told: r.told, Places: []Place{{Name: "here", Kind: Folder, Source: source}}})
	if err != nil {
		t.Fatal(err)
	}
	p := w.places[0]
	p.compared = true // or the store would be missed to have them
	before := heap()
	for f, err := range source.Look(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		id, _ := p.judge(&f, byMove)
		p.took(id, &f, known, true, nil)
	}
	memory := heap() - before
	took := p.lookOnce(t.Context())
	s := p.status()
	if s.Seen != int64(n) || s.Looks != 1 || s.Waiting+s.Taking+s.Failed+s.Changed+s.Vanished != 0 {
		t.Errorf("%+v", s)
	}
	r.want()
	longtest.Figure(t, "%d files that are known are looked at again in %v, or %v for each; %d bytes of memory for each",
		n, took.Round(time.Millisecond), took/time.Duration(n), memory/int64(n))
	if memory > int64(n)*100+1<<20 {
		t.Errorf("%d bytes of memory for %d files", memory, n)
	}
	runtime.KeepAlive(p)
}

// TestLarge: very many files are registered, and the next watcher finds all of
// them in the store and registers none again.
func TestLarge(t *testing.T) {
	n := longtest.Runs(3000, 100_000)
	r := newRig(t)
	r.many(n)
	lazily := func(c *Config) {
		deaf(24 * time.Hour)(c)
		c.Rest = time.Millisecond
		c.Jobs = 64
		c.Places[0].Options.Lazy = true
	}
	settle := func(adds int) time.Duration {
		began := time.Now()
		r.watch(lazily)
		for deadline := began.Add(10 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			s := r.w.Status()[0]
			// That one was added is told after it is no longer being taken.
			if s.Looks > 0 && s.Waiting+s.Taking == 0 && s.Added+s.Failed >= int64(adds) {
				return time.Since(began)
			}
			if time.Now().After(deadline) {
				t.Fatalf("it does not come to an end: %+v", s)
			}
		}
	}
	first := settle(n)
	if s := r.w.Status()[0]; s.Added != int64(n) || s.Failed != 0 {
		t.Fatalf("%+v", s)
	}
	r.stop()
	r.events, r.errs = nil, nil
	restart := settle(0)
	if s := r.w.Status()[0]; s.Seen != int64(n) || s.Added+s.Failed+s.Changed+s.Vanished != 0 {
		t.Errorf("%+v", s)
	}
	r.want()

	// All of them are gone at once, as when a disk is not mounted.
	r.rename(r.dir, r.dir+" elsewhere")
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := r.place
	r.stop()
	took := p.lookOnce(t.Context())
	s := p.status()
	if s.Vanished != int64(n) || s.Seen != 0 || len(r.w.Vanished()) != min(n, mostCases) || r.count("vanished ") != n {
		t.Errorf("%+v; %d were told of", s, r.count("vanished "))
	}
	if stats := r.store.Stats(); !stats.Counting && stats.Shards[shard.Registered] != int64(n) {
		t.Errorf("the store has %d", stats.Shards[shard.Registered])
	}
	longtest.Figure(t, "%d files are registered (lazily) after %v, found to be there by the next watcher after %v, and missed after %v",
		n, first.Round(time.Millisecond), restart.Round(time.Millisecond), took.Round(time.Millisecond))
}
