package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A rig is a store and a folder that is watched.
type rig struct {
	t     *testing.T
	store *dagstore.Store
	dir   string // that is watched
	aside string // of the same file system
	w     *Watcher
	place *place
	stop  func()

	mu     sync.Mutex
	events []string // "what key", in order
	errs   []error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "watched"), aside: t.TempDir(), stop: func() {}}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := dagstore.Open(t.Context(), t.TempDir(), nil)
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
	return r
}

// keyOf is the key of a file by its path: without ".car".
func keyOf(below string) shard.Key { return shard.Key(strings.TrimSuffix(below, ".car")) }

func isCAR(below string) bool { return strings.HasSuffix(below, ".car") }

// watch begins to watch the folder, or what change makes of that.
func (r *rig) watch(change func(*Config)) {
	r.t.Helper()
	source, err := NewFolder(r.dir, keyOf, isCAR)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := Config{Store: r.store, Places: []Place{{Name: "here", Kind: Folder, Source: source}}, Told: r.told}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
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

// told remembers events, but for those that depend on the system.
func (r *rig) told(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.What == Deaf && runtime.GOOS != "linux" {
		return
	}
	r.events = append(r.events, strings.TrimSpace(fmt.Sprintf("%v %s", e.What, e.Key)))
	r.errs = append(r.errs, e.Err)
}

func (r *rig) happened() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// count is how many events begin with a text.
func (r *rig) count(prefix string) (n int) {
	for _, e := range r.happened() {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

// want holds all that has happened against a list, in any order.
func (r *rig) want(events ...string) {
	r.t.Helper()
	got := r.happened()
	slices.Sort(got)
	slices.Sort(events)
	if !slices.Equal(got, events) {
		r.t.Errorf("happened: %q, want %q", got, events)
	}
}

// until waits for something, in real time.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			got := r.happened()
			r.t.Fatalf("waited in vain until %s; happened, at last: %q; %+v", what, got[max(0, len(got)-20):], r.w.Status())
		}
	}
}

// event waits for an event, in real time.
func (r *rig) event(e string) {
	r.t.Helper()
	r.until(e, func() bool { return r.count(e) > 0 })
}

// looked waits, in real time, for a look that begins after now.
func (r *rig) looked() {
	r.t.Helper()
	before := r.w.Status()[0].Looks
	r.place.hurry()
	// One that is under way may have passed what the caller means.
	r.until("it is looked", func() bool {
		if looks := r.w.Status()[0].Looks; looks < before+2 {
			r.place.hurry()
			return false
		}
		return true
	})
}

// car is a CAR of one block.
func car(text string) []byte { return cartest.V1(nil, []cartest.Block{cartest.Raw([]byte(text))}) }

// write makes or changes a file below a folder.
func (r *rig) write(dir, name string, data []byte) {
	r.t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(from, to); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// move puts a file into place by a rename.
func (r *rig) move(name string, data []byte) {
	r.t.Helper()
	r.write(r.aside, name, data)
	r.rename(filepath.Join(r.aside, name), filepath.Join(r.dir, name))
}

// found reports whether the store has the block of a text.
func (r *rig) found(text string) bool {
	ok, err := r.store.Blockstore(nil).Has(r.t.Context(), cartest.Raw([]byte(text)).CID)
	return ok && err == nil
}

// state is the state of a shard; Gone: there is none.
func (r *rig) state(key shard.Key) shard.State {
	info, err := r.store.Info(r.t.Context(), key)
	if err != nil {
		return shard.Gone
	}
	return info.State
}
