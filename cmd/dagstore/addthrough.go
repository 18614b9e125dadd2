package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// addThrough has the process that holds the store add what args and opts name,
// as a job, and reports how each item goes as if it were done here. An interrupt
// ends the reporting and not the job.
func (a *app) addThrough(ctx context.Context, store farStore, args []string, opts addOptions, lies *lies) error {
	job, err := jobOf(args, opts)
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	var begun, last *wire.Job
	sent := make(chan error, 1)
	var begunID atomic.Pointer[string]
	r := &reporter{app: a, dryRun: opts.dryRun, out: bufio.NewWriter(a.stdout)}
	if !opts.dryRun {
		r.bar = newProgress(a.stderr, "adding", store, a.figuresOf(ctx, store, &begunID))
	}
	t := tally{dry: opts.dryRun}
	name := asCalled(args, &job, opts)
	asking, known, leave := untilKnown(ctx)
	defer leave()
	for result, err := range store.BeginAndFollow(asking, wire.NewJob{Kind: wire.JobAdd, Add: &job}) {
		switch {
		case err != nil:
		case result.Job != nil && begun == nil:
			begun = result.Job
			known()
			begunID.Store(&begun.ID)
			if opts.list == stdinList {
				go func() { sent <- store.SendList(ctx, begun.ID, a.stdin) }()
			}
		case result.Job != nil:
			last = result.Job
		default:
			err = r.hear(&result, &t, name, lies)
		}
		if err != nil {
			r.bar.stop()
			return a.left(ctx, begun, err)
		}
	}
	if ctx.Err() != nil {
		r.bar.stop()
		return a.left(ctx, begun, ctx.Err())
	}
	err = ended(last, &t)
	if errors.Is(err, dagstore.ErrClosed) && t.done+t.failed == 0 && opts.list != stdinList {
		r.bar.stop()
		return &againError{err}
	}
	select {
	case sendErr := <-sent:
		if err == nil && !errors.Is(sendErr, wire.ErrJobState) { // it needed no more of the list
			err = sendErr
		}
	default: // there is no list, or it is a silent pipe: nobody waits for that any more
	}
	return r.end(t, err)
}

// mostUnknown is how long an interrupt waits to hear of a job by which number it
// goes on.
const mostUnknown = 5 * time.Second

// untilKnown returns a context that ends with ctx, but not at once before known is
// called. leave ends it, and must be called.
func untilKnown(ctx context.Context) (asking context.Context, known, leave func()) {
	asking, end := context.WithCancel(context.WithoutCancel(ctx))
	is := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer end()
		late := time.NewTimer(mostUnknown)
		defer late.Stop()
		select {
		case <-is:
		case <-late.C:
		case <-asking.Done():
		}
	})
	return asking, func() { close(is) }, func() {
		stop()
		end()
	}
}

// figuresOf asks how far a job is, once it has begun.
func (a *app) figuresOf(ctx context.Context, store farStore, id *atomic.Pointer[string]) func() (done, expected int64) {
	return func() (done, expected int64) {
		begun := id.Load()
		if begun == nil {
			return 0, 0
		}
		asking, cancel := context.WithTimeout(ctx, redraw)
		defer cancel()
		is, err := store.Job(asking, *begun)
		if err != nil {
			return 0, 0
		}
		return is.Bytes, is.BytesTotal
	}
}

// hear reports one item.
func (r *reporter) hear(result *wire.Result, t *tally, name func(string) string, lies *lies) error {
	o, err := outcomeFrom(result)
	if err != nil {
		return err
	}
	o.item.name = name(o.item.name)
	t.add(itemError(o.err))
	for i := range o.lies {
		lies.hear(dagstore.FaultEvent{Key: shard.Key(result.Key), Fault: o.lies[i].Fault()})
	}
	r.report(o)
	return nil
}

// left says that the job goes on, if it does, and is err.
func (a *app) left(ctx context.Context, job *wire.Job, err error) error {
	if ctx.Err() != nil && job != nil {
		a.notef("it goes on as job %s of the process that holds the store: \"dagstore jobs\" shows it, \"dagstore jobs cancel %s\" ends it", job.ID, job.ID)
	}
	return err
}

// ended is how the job ended, besides what its items say.
func ended(is *wire.Job, t *tally) error {
	if is == nil {
		return client.ErrGone
	}
	var summary wire.Tally
	if len(is.Summary) > 0 {
		if err := json.Unmarshal(is.Summary, &summary); err != nil {
			return err
		}
	}
	t.stopped, t.cutOff, t.untried, t.piped = summary.Stopped, summary.CutOff, summary.Untried, summary.Piped
	switch {
	case is.State == wire.JobCancelled && is.Problem == nil:
		return exitError(exitInterrupted, fmt.Errorf("job %s was cancelled", is.ID))
	case is.Problem != nil:
		return is.Problem.Err()
	case t.stopped:
		return errStopped
	}
	return nil
}

// asCalled is a function that calls an item as the person did, to whom relative
// paths mean something.
func asCalled(args []string, job *wire.AddJob, opts addOptions) func(string) string {
	return func(name string) string {
		if job.From != "" && job.From != opts.list {
			if rest, ok := strings.CutPrefix(name, job.From); ok && (rest == "" || strings.HasPrefix(rest, ", line ")) {
				return opts.list + rest
			}
		}
		for i, source := range job.Sources {
			if source == args[i] {
				continue
			}
			if name == source {
				return args[i]
			}
			if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(source, string(filepath.Separator))+string(filepath.Separator)); ok {
				return filepath.Join(args[i], rest)
			}
		}
		return name
	}
}
