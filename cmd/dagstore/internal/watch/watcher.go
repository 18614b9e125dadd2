package watch

import (
	"context"
	"sync"
)

// A Watcher watches places. Its methods may be called by any number of
// goroutines at once.
type Watcher struct {
	cfg    Config
	places []*place
	mu     sync.Mutex // one call of cfg.Told at a time
}

// New makes a Watcher, or says all that is wrong with cfg. Nothing is looked at
// before Run.
func New(cfg Config) (*Watcher, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	w := &Watcher{cfg: cfg}
	for _, p := range cfg.Places {
		w.places = append(w.places, newPlace(w, p))
	}
	return w, nil
}

// Run watches until ctx ends, and returns when nothing of it runs any more. It
// is called once.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range w.places {
		all.Go(func() { p.run(ctx) })
	}
	all.Wait()
}

func (w *Watcher) tell(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cfg.Told(e)
}
