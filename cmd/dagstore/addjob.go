package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// jobOf is what "add" asks the holder of the store for. The holder has another
// folder to work in, so paths are absolute.
func jobOf(args []string, opts addOptions) (wire.AddJob, error) {
	job := wire.AddJob{
		From: opts.list, Include: opts.include, Prefix: opts.prefix, Key: opts.key, Lazy: opts.lazy, Verify: opts.verify,
		Serve: opts.serve, Index: opts.index, IndexFile: opts.indexFile, Indices: opts.indices,
		Jobs: opts.jobs, FailFast: opts.failFast, DryRun: opts.dryRun, Sources: slices.Clone(args),
	}
	paths := []*string{&job.IndexFile, &job.Indices}
	if job.From != stdinList {
		paths = append(paths, &job.From)
	}
	for i := range job.Sources {
		paths = append(paths, &job.Sources[i])
	}
	for _, path := range paths {
		if *path == "" || wire.IsURL(*path) {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return job, err
		}
		*path = abs
	}
	return job, nil
}

// optionsOf is the inverse of jobOf.
func optionsOf(job *wire.AddJob) (addOptions, error) {
	opts := addDefaults()
	opts.list, opts.prefix, opts.key = job.From, job.Prefix, job.Key
	opts.lazy, opts.verify, opts.failFast, opts.dryRun = job.Lazy, job.Verify, job.FailFast, job.DryRun
	opts.indexFile, opts.indices = job.IndexFile, job.Indices
	opts.serve, opts.index = cmp.Or(job.Serve, opts.serve), cmp.Or(job.Index, opts.index)
	if len(job.Include) > 0 {
		opts.include = job.Include
	}
	if job.Jobs != 0 {
		opts.jobs = min(job.Jobs, 4*runtime.GOMAXPROCS(0))
	}
	err := opts.check(job.Sources)
	if err == nil && job.Indices == "" {
		opts.policy, err = wire.ParsePolicy(opts.index)
	} else if err == nil {
		opts.policy = dagstore.Sample
	}
	if err == nil {
		opts.mode, err = wire.ParseMode(opts.serve)
	}
	for _, path := range append([]string{job.IndexFile, job.Indices}, job.Sources...) {
		if err == nil && path != "" && !wire.IsURL(path) && !filepath.IsAbs(path) {
			err = fmt.Errorf("%q is neither a URL nor an absolute path", path)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", wire.ErrRequest, err)
	}
	return opts, err
}

// addForOthers carries out a job that adds CARs, in the process that holds the
// store. outside is nil for who may name sources that lie anywhere.
func (a *app) addForOthers(ctx context.Context, h *holder, job wire.AddJob, list io.Reader, outside func(string) string, told *admin.Progress) error {
	opts, err := optionsOf(&job)
	if err != nil {
		return err
	}
	own := ownStore{h.store}
	work := newUnderWay(own)
	var outErr error
	ad := &adder{
		store:   own,
		opts:    opts,
		hub:     h.hub,
		planned: make(map[shard.Key]string),
		size:    func(size int64) { told.Expect(1, max(size, 0)) },
		begin:   work.begin,
		report: func(o outcome) {
			work.end(o.item.key)
			told.Moved(max(o.size, 0))
			outErr = cmp.Or(outErr, told.Result(resultOf(&o)))
		},
	}
	ahead, stop := context.WithCancel(ctx)
	defer stop()
	from := a.sources(job.Sources, opts)
	from.stdin, from.outside = list, outside
	if !opts.dryRun {
		go survey(ahead, from.named(ahead), ad.size)
		go watchPartly(ahead, work, told)
	}
	t, err := ad.run(ctx, from.items(ctx), from.piped(ctx))
	told.Partly(0)
	told.Summary(wire.Tally{Done: t.done, Failed: t.failed, Stopped: t.stopped, CutOff: t.cutOff, Untried: t.untried, Piped: t.piped})
	if errors.Is(err, errStopped) {
		err = nil // the tally says so
	}
	return errors.Join(err, outErr)
}

// watchPartly tells how much has been read of what is under way.
func watchPartly(ctx context.Context, work *underWay, told *admin.Progress) {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			told.Partly(work.partly())
		}
	}
}

// resultOf is how an item went, for others.
func resultOf(o *outcome) wire.Result {
	r := wire.Result{
		Name: o.item.name, Plan: o.plan, Key: string(o.item.key), URL: o.item.url, Size: o.size,
		Read: o.read, Asks: o.asks, Notes: o.notes, Lies: o.lies,
	}
	if o.item.mount != nil {
		r.URL = o.item.mount.URL()
	}
	if o.info.Key != "" {
		d := wire.DetailOf(o.info)
		r.Shard = &d
	}
	if o.err != nil {
		p := wire.ProblemOf(o.err)
		p.Detail = plainly(o.err).Error()
		r.Problem = &p
	}
	return r
}

// outcomeFrom is the inverse of resultOf.
func outcomeFrom(r *wire.Result) (outcome, error) {
	o := outcome{
		item: item{name: r.Name, key: shard.Key(r.Key), url: r.URL}, plan: r.Plan, size: r.Size,
		read: r.Read, asks: r.Asks, notes: r.Notes, lies: r.Lies,
	}
	if r.Problem != nil {
		o.err = r.Problem.Err()
	}
	if r.Shard == nil {
		return o, nil
	}
	var err error
	o.info, err = r.Shard.Info()
	return o, err
}
