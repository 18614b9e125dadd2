package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Retry says what is done about a failed shard without a Recover.
type Retry struct {
	OnAcquire bool          // an Acquire tries it again
	OnOpen    bool          // so does the start
	Attempts  int           // that may fail in a row; then only Recover helps
	First     time.Duration // wait after the first failure, doubled after each
	Longest   time.Duration // the longest such wait
}

// due reports whether a failed shard may be tried again without a Recover.
func (e *Engine) due(f *shard.Failure) bool {
	return f == nil || !e.exhausted(f) && !e.cfg.Now().Before(f.At.Add(e.cfg.Retry.wait(f.Attempts)))
}

// exhausted reports whether too many attempts have failed in a row.
func (e *Engine) exhausted(f *shard.Failure) bool { return f.Attempts >= e.cfg.Retry.Attempts }

// wait is how long a shard is left alone after n failures in a row.
func (r *Retry) wait(n int) time.Duration {
	d := r.First
	for ; n > 1 && d < r.Longest; n-- {
		if d > r.Longest/2 {
			d = r.Longest
		} else {
			d *= 2
		}
	}
	return min(d, r.Longest)
}

// mendsAtOnce is how often in a row an opening has an index made anew without a
// wait: the source may have changed while that was done.
const mendsAtOnce = 2

// mends reports whether an index that an opening found lost is made anew now. On
// a disk that writes and cannot read each new one is lost, too: after the second
// in a row there are the waits of failures, during which openings fail.
func (e *Engine) mends(en *entry) bool {
	now := e.cfg.Now()
	if n := en.mends - mendsAtOnce + 1; n > 0 && now.Before(en.mended.Add(e.cfg.Retry.wait(n))) {
		return false
	}
	en.mends++
	en.mended = now
	return true
}

// failure is what is remembered of a piece of work that failed. What was no
// fault of the shard's is remembered and does not count against it.
func (e *Engine) failure(en *entry, why cause) *shard.Failure {
	f := &shard.Failure{At: e.cfg.Now()}
	if en.record != nil && en.record.Failure != nil {
		f.Attempts = en.record.Failure.Attempts
	}
	if !why.lost && !e.blameless(why.err) {
		f.Attempts++
	}
	if !errors.As(why.err, &f.Err) {
		f.Err = &shard.Error{Key: en.key, Op: shard.OpIndex, Err: why.err}
	}
	return f
}

// blameless reports whether err says nothing about a shard: there is no space
// here, its host could not be asked, or its owner has to restore it first.
func (e *Engine) blameless(err error) bool {
	return e.cfg.NoSpace != nil && errors.Is(err, e.cfg.NoSpace) || errors.Is(err, mount.ErrUnreachable) || errors.Is(err, mount.ErrBusy) ||
		errors.Is(err, mount.ErrNotReady)
}

// failed joins the sentinel of a failed shard with its failure.
func (e *Engine) failed(f *shard.Failure) error {
	if f == nil {
		return shard.ErrFailed
	}
	return &failedError{failure: f, final: e.exhausted(f)}
}

// A failedError is [shard.ErrFailed] together with the failure.
type failedError struct {
	failure *shard.Failure
	final   bool // only Recover tries again
}

func (f *failedError) Error() string {
	text := shard.ErrFailed.Error() + ": " + f.failure.Err.Err.Error()
	if f.final {
		text += fmt.Sprintf(" (%d attempts have failed: only Recover tries again)", f.failure.Attempts)
	}
	return text
}

func (f *failedError) Unwrap() []error { return []error{shard.ErrFailed, f.failure.Err.Err} }

// revive has the failed shards that are due tried again in the background.
func (e *Engine) revive() { e.reviveThose(func(*catalog.Record) bool { return true }) }

// HostBack is told of a host that can be reached again. The shards that failed
// since their sources there could not be read are tried again in the
// background, if that is done without being asked.
func (e *Engine) HostBack(host string) {
	if !e.cfg.Retry.OnOpen || !e.enter() {
		return
	}
	defer e.exit()
	e.workers.Go(func() { e.reviveThose(failedAt(host)) })
}

// mostMissed bounds the hosts that are asked for without anybody else.
const mostMissed = 1024

// missed remembers a shard of a host that could not be reached, or has too much to do.
func (e *Engine) missed(en *entry, err error) {
	l := &e.loop
	if !e.cfg.Retry.OnOpen {
		return
	}
	host := mount.Host(en.record.URL)
	if busy, ok := errors.AsType[*mount.BusyError](err); ok {
		e.askLater(host, en.key, busy.After)
		return
	}
	if !errors.Is(err, mount.ErrUnreachable) || len(l.missed) >= mostMissed {
		return
	}
	if l.missed == nil {
		l.missed = make(map[string]shard.Key)
	}
	l.missed[host] = en.key
}

// longestLater is after how long a host is asked again at the latest that wants to be
// left alone.
const longestLater = time.Hour

const (
	failureEvery = 10 * time.Millisecond
	failureLooks = 6000
)

// askLater has the shards of a host that failed, of which key is one, tried again once
// it wants to be asked.
func (e *Engine) askLater(host string, key shard.Key, after time.Duration) {
	if !e.later.add(host) {
		return
	}
	after = min(max(after, e.cfg.Retry.wait(1)), longestLater)
	after += after / 16 // they are due by then, and do not come all in the same moment
	e.workers.Go(func() {
		e.pause(after)
		// Who looks for failed shards reads what is on disk, and a failure may be on its way.
		for n := 0; n < failureLooks && e.atWork(key); n++ {
			e.pause(failureEvery)
		}
		e.pause(failureEvery) // from then on it is due
		e.later.remove(host)
		if e.work.Err() == nil {
			e.reviveThose(failedAt(host))
		}
	})
}

// atWork reports whether a shard is not yet known to have failed, on disk.
func (e *Engine) atWork(key shard.Key) bool {
	s, err := e.Info(e.work, key)
	return errors.Is(err, shard.ErrUnknown) || err == nil && (s.State == shard.Initializing || s.State == shard.Recovering)
}

// later are hosts that are going to be asked again.
type later struct {
	mu    sync.Mutex
	hosts map[string]struct{}
}

// add adds a host, and reports whether it was not there, and there is room for it.
func (l *later) add(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, is := l.hosts[host]; is || len(l.hosts) >= mostMissed {
		return false
	}
	if l.hosts == nil {
		l.hosts = map[string]struct{}{}
	}
	l.hosts[host] = struct{}{}
	return true
}

func (l *later) remove(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.hosts, host)
}

// failedAt is about the shards that failed since their sources at host could not be read.
func failedAt(host string) func(*catalog.Record) bool {
	return func(r *catalog.Record) bool {
		return mount.Host(r.URL) == host && r.Failure != nil && errors.Is(r.Failure.Err, shard.ErrSource)
	}
}

// askAgain has one shard of each host tried again that could not be reached:
// that shows whether the host is back, when nobody else asks for it.
func (e *Engine) askAgain() {
	l := &e.loop
	if len(l.missed) == 0 || e.shut.Load() {
		return
	}
	keys := slices.Collect(maps.Values(l.missed))
	clear(l.missed)
	e.workers.Go(func() {
		room := make(revival, len(keys))
		for _, key := range keys {
			room <- struct{}{}
			if e.Submit(room.call(key)) != nil {
				return // the engine is closing
			}
		}
	})
}

// reviveThose has those of the failed shards that are due and wanted tried again,
// some at a time. It runs beside everything else.
func (e *Engine) reviveThose(want func(*catalog.Record) bool) {
	room := make(revival, max(1, e.cfg.Window/2))
	for r, err := range e.cfg.Catalog.Records(e.work, catalog.Filter{}) {
		var damaged *catalog.DamagedError
		switch {
		case errors.As(err, &damaged):
			continue
		case err != nil:
			if e.work.Err() == nil {
				e.trouble("the failed shards could not all be looked for", err)
			}
			return
		case r.State != shard.Errored || r.Intent != catalog.NoIntent || !e.due(r.Failure) || !want(r):
			continue
		}
		select {
		case room <- struct{}{}:
		case <-e.work.Done():
			return
		}
		for e.measure() != Ample && e.work.Err() == nil {
			e.pause(spaceEvery)
		}
		if e.Submit(room.call(r.Key)) != nil {
			return // the engine is closing
		}
	}
}

// A revival has a token for each shard that is tried again. As a sink it takes
// one away for each that has ended, well or not.
type revival chan struct{}

// call tries one shard again.
func (r revival) call(key shard.Key) *Call {
	return &Call{
		op: shard.OpRecover, event: lifecycle.Recover, key: key, ctx: context.Background(), sink: r,
		background: true, revives: true,
	}
}

// Try implements [Sink].
func (r revival) Try(Outcome) bool {
	<-r
	return true
}

// Send implements [Sink].
func (r revival) Send(o Outcome, _, _ <-chan struct{}) bool { return r.Try(o) }
