package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
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

// failure is what is remembered of a piece of work that failed. What was no
// fault of the shard's is remembered and does not count against it.
func (e *Engine) failure(en *entry, why cause) *shard.Failure {
	f := &shard.Failure{At: e.cfg.Now()}
	if en.record != nil && en.record.Failure != nil {
		f.Attempts = en.record.Failure.Attempts
	}
	if !why.lost && (e.cfg.NoSpace == nil || !errors.Is(why.err, e.cfg.NoSpace)) {
		f.Attempts++
	}
	if !errors.As(why.err, &f.Err) {
		f.Err = &shard.Error{Key: en.key, Op: shard.OpIndex, Err: why.err}
	}
	return f
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

// revive has the failed shards that are due tried again in the background,
// some at a time. It runs beside everything else.
func (e *Engine) revive() {
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
		case r.State != shard.Errored || r.Intent != catalog.NoIntent || !e.due(r.Failure):
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
		c := &Call{
			op: shard.OpRecover, event: lifecycle.Recover, key: r.Key, ctx: context.Background(), sink: room,
			background: true, revives: true,
		}
		if e.Submit(c) != nil {
			return // the engine is closing
		}
	}
}

// A revival has a token for each shard that is tried again. As a sink it takes
// one away for each that has ended, well or not.
type revival chan struct{}

// Try implements [Sink].
func (r revival) Try(Outcome) bool {
	<-r
	return true
}

// Send implements [Sink].
func (r revival) Send(o Outcome, _, _ <-chan struct{}) bool { return r.Try(o) }
