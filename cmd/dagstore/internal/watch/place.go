package watch

import (
	"context"
	"math"
	"sync"
	"time"
)

// A place is a Place that is watched. It has three goroutines at most, of which
// one looks and the others hear of changes, and one for each CAR that is being
// added, of which there are no
// more than there are slots.
type place struct {
	Place
	watcher *Watcher
	folder  *folder // the source, if it is one
	slots   chan struct{}
	adding  sync.WaitGroup
	sooner  chan struct{} // somebody wants a look before its time

	mu       sync.Mutex
	table    *table
	look     uint8  // number of the look under way, or of the last one
	retry    uint32 // when the next of those that failed is due, in ticks
	version  string // of a Versioned source when it was looked at to its end
	compared bool   // with what the store has from here; once is enough
	now      Status
	err      error
	since    time.Time
	happened [len(whats)]int64
	logged   [len(whats)]int64 // of these, at the end of the last look
	vanished map[uint64]Case
	failures map[uint64]Case
	rests    []rest // of a folder, by rising time
	crowded  bool   // this look has found more that rest than are waited for by name
}

func newPlace(w *Watcher, of Place) *place {
	jobs := w.cfg.Jobs
	if of.Options.Lazy {
		jobs *= 16 // no CAR is read: they share the syncs of commits
	}
	p := &place{
		Place:    of,
		watcher:  w,
		slots:    make(chan struct{}, jobs),
		sooner:   make(chan struct{}, 1),
		table:    newTable(),
		retry:    never,
		vanished: make(map[uint64]Case),
		failures: make(map[uint64]Case),
	}
	p.folder, _ = of.Source.(*folder)
	return p
}

// run watches the place until ctx ends.
func (p *place) run(ctx context.Context) {
	var work sync.WaitGroup
	if p.folder != nil {
		if !p.watcher.cfg.deaf {
			stop := p.listen()
			defer stop()
		}
		work.Go(func() { p.hear(ctx) })
	}
	p.looks(ctx)
	work.Wait()
	p.adding.Wait()
}

// share is how much longer than a look the time to the next one is.
const share = 20

// looks looks at the place again and again.
func (p *place) looks(ctx context.Context) {
	for {
		took := p.lookOnce(ctx)
		ended, atLeast := time.Now(), share*took
		p.mu.Lock()
		p.now.Next = ended.Add(max(p.Every, atLeast))
		if p.crowded { // there are some that a look alone finds when they have rested
			atLeast = max(took, p.watcher.cfg.Rest)
			p.now.Next = ended.Add(atLeast)
		}
		due := time.NewTimer(time.Until(p.now.Next))
		p.mu.Unlock()
		p.summarize()
		select {
		case <-ctx.Done():
		case <-due.C:
		case <-p.sooner:
			p.settle(ctx, ended.Add(max(time.Second, atLeast)))
		}
		due.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// settle waits until a time, so that what is asked for sooner is not asked for
// too often.
func (p *place) settle(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// hurry asks for a look before its time.
func (p *place) hurry() {
	select {
	case p.sooner <- struct{}{}:
	default:
	}
}

// lookOnce looks at all that is there, and returns how long that took, without
// the time that it has waited for what was found to be added.
func (p *place) lookOnce(ctx context.Context) time.Duration {
	began, waited, seen := time.Now(), time.Duration(0), int64(0)
	version, same, err := p.asks(ctx)
	if err != nil || same {
		p.trouble(ctx, err)
		return time.Since(began)
	}
	p.mu.Lock()
	p.look++
	p.now.Looking = true
	p.retry, p.crowded = never, false
	p.mu.Unlock()
	for f, err := range p.Source.Look(ctx) {
		p.cost(f.Requests)
		if err != nil {
			p.endLook(ctx, err)
			return time.Since(began) - waited
		}
		if f.Name == "" {
			continue // it was about requests
		}
		if f.Err == nil || f.Key != "" {
			seen++
		}
		waited += p.see(ctx, &f, byLook)
		if ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() == nil {
		err = p.miss(ctx)
	}
	took := time.Since(began) - waited
	p.mu.Lock()
	if ctx.Err() == nil && err == nil {
		p.now.Last, p.now.Took, p.now.Seen = time.Now(), took, seen
		p.now.Looks++
		p.version = version
	}
	looks := p.now.Looks
	p.mu.Unlock()
	p.endLook(ctx, err)
	if looks == 1 && err == nil && ctx.Err() == nil {
		p.watcher.cfg.Logger.Info("watching", "place", p.Name, "kind", string(p.Kind), "cars", seen, "told", string(p.status().Told))
	}
	return took
}

// endLook notes how a look has ended.
func (p *place) endLook(ctx context.Context, err error) {
	p.mu.Lock()
	p.now.Looking = false
	p.mu.Unlock()
	p.trouble(ctx, err)
	p.sayDeaf()
}

// asks asks a source that knows whether anything has changed. What failed and
// is due must be looked at all the same.
func (p *place) asks(ctx context.Context) (version string, same bool, err error) {
	v, ok := p.Source.(Versioned)
	if !ok {
		return "", false, nil
	}
	is, err := v.Version(ctx)
	p.cost(is.Requests)
	if err != nil {
		return "", false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	same = is.Unready || is.Name != "" && is.Name == p.version && p.table.now() < p.retry
	if same {
		p.now.Skipped++
	}
	return is.Name, same, nil
}

func (p *place) cost(requests int64) {
	if requests > 0 {
		p.mu.Lock()
		p.now.Requests += requests
		p.mu.Unlock()
	}
}

// A way is how a CAR has come to be seen.
type way uint8

const (
	byLook way = iota
	byNews     // the file system has told of it
	byMove     // and that it came by a rename
)

// see judges what was found, and has it added if it is time for that. It waits
// while too many are being added, and returns for how long it did.
func (p *place) see(ctx context.Context, f *Found, how way) (waited time.Duration) {
	id, take := p.judge(f, how)
	if take {
		return p.take(ctx, id, f)
	}
	return 0
}

// judge notes what was found, and reports whether it is to be added now.
func (p *place) judge(f *Found, how way) (id uint64, take bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.table
	key := string(f.Key)
	if key == "" {
		key = "\x00" + f.Name // no key is so
	}
	id = t.id(key)
	stamp := t.stamp(f)
	e, known := t.entries[id]
	if known && how == byLook && e.look == p.look && e.stamp != stamp && !e.has(gone) && !e.has(heard) {
		p.twice(f)
		id = t.alias(key, f.Name)
		e, known = t.entries[id]
	}
	switch {
	case how == byLook:
		e.look, e.flags = p.look, e.flags&^heard
	case !known:
		e.look, e.flags = p.look, heard
	}
	now := t.now()
	switch {
	case known && e.state == taking:
	case !known || e.stamp != stamp:
		e.stamp, e.at, e.tries = stamp, now, 0
		if e.state = taking; !f.Whole && how != byMove && f.Err == nil && !settled(f) {
			e.state = resting
			p.queue(f, now)
		}
	case e.state == resting:
		if how == byMove || time.Duration(now-e.at)*tick >= p.watcher.cfg.Rest {
			e.state = taking
		}
	case e.has(gone), e.has(changed) && how == byLook:
		e.state = taking // it is back; or the store may have come upon the change by itself
	case e.state == failed && e.at != never:
		if now >= e.at {
			e.state = taking
		} else {
			p.retry = min(p.retry, e.at)
		}
	}
	take = e.state == taking && (!known || t.entries[id].state != taking)
	t.set(id, e)
	return id, take
}

// longAgo is how old a change is that cannot be of somebody who is writing:
// more than clocks of machines differ.
const longAgo = time.Hour

// settled reports whether a file has not been touched for so long that it need
// not be watched resting. A time of modification can be set by anybody, that of
// the last change of anything cannot.
func settled(f *Found) bool {
	return !f.Changed.IsZero() && time.Since(f.Changed) > longAgo && time.Since(f.Stat.ModTime) > longAgo
}

// A rest is a file that is looked at again when it may have rested.
type rest struct {
	below string
	due   time.Time
}

// mostRests bounds what is waited for by name; a look finds the others.
const mostRests = 100_000

// queue has f looked at when it may have rested. The caller holds p.mu.
func (p *place) queue(f *Found, now uint32) {
	if p.folder == nil || len(p.rests) >= mostRests {
		p.crowded = true
		return
	}
	due := p.table.epoch.Add(time.Duration(now)*tick + p.watcher.cfg.Rest + tick)
	p.rests = append(p.rests, rest{p.folder.below(f.Name), due})
	if len(p.rests) == 1 {
		p.folder.wake()
	}
}

// nextRest removes the first file of the queue that is due, or says how long it
// is until then.
func (p *place) nextRest() (below string, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rests) == 0 {
		p.rests = nil
		return "", math.MaxInt64, false
	}
	if wait = time.Until(p.rests[0].due); wait > 0 {
		return "", wait, false
	}
	below = p.rests[0].below
	p.rests[0] = rest{}
	p.rests = p.rests[1:]
	return below, 0, true
}
