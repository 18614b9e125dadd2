package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
)

// A watchRig is a store that takes up what comes to one place, looked at each
// second.
type watchRig struct {
	t     *testing.T
	store *dagstore.Store
	w     *watch.Watcher
	stop  func()

	mu     sync.Mutex
	events []string
}

func watchingPlaces(t *testing.T, a *app, name string) *watchRig {
	t.Helper()
	r := &watchRig{t: t}
	places, err := a.places([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	places[0].Every = time.Second
	if r.store, err = dagstore.Open(t.Context(), t.TempDir(), &dagstore.Config{Mounts: a.mounts}); err != nil {
		t.Fatal(err)
	}
	r.w, err = watch.New(watch.Config{Store: r.store, Places: places, Told: r.told})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.w.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(func() {
		r.stop()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *watchRig) told(e watch.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf("%v %s", e.What, e.Key))
}

func (r *watchRig) happened() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *watchRig) status() watch.Status { return r.w.Status()[0] }

func (r *watchRig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(mostWait); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s: %+v, %q", what, r.status(), r.happened())
		}
	}
}
