package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// add carries out the command "add".
func (a *app) add(ctx context.Context, args []string, opts addOptions) error {
	if !opts.dryRun {
		return a.withStore(ctx, true, opts.config(), func(store *dagstore.Store) error {
			return a.addTo(ctx, store, args, opts)
		})
	}
	err := a.withStore(ctx, false, opts.config(), func(store *dagstore.Store) error {
		return a.addTo(ctx, store, args, opts)
	})
	if errors.Is(err, dagstore.ErrNoStore) {
		return a.addTo(ctx, nil, args, opts) // then everything is new
	}
	return err
}

// addTo adds what args and opts name to store. A nil store is for dry runs.
func (a *app) addTo(ctx context.Context, store *dagstore.Store, args []string, opts addOptions) error {
	r := &reporter{app: a, dryRun: opts.dryRun, out: bufio.NewWriter(a.stdout)}
	if !opts.dryRun {
		r.bar = newProgress(a.stderr, store)
	}
	ad := &adder{
		store:   store,
		opts:    opts,
		report:  r.report,
		size:    r.bar.expect,
		begin:   r.bar.begin,
		planned: make(map[shard.Key]string),
	}
	if r.bar != nil {
		ahead, stop := context.WithCancel(ctx)
		defer stop()
		go r.bar.survey(ahead, a.sources(args, opts).named())
	}
	from := a.sources(args, opts)
	t, err := ad.run(ctx, from.items(), from.piped())
	r.bar.stop()
	r.summary(t)
	switch {
	case r.outErr != nil:
		return fmt.Errorf("writing the results: %w", r.outErr)
	case errors.Is(err, errStopped):
		a.notef("%v", err)
		return t.err()
	case err != nil:
		return err
	case t.done+t.failed == 0:
		return exitError(exitFailed, errors.New("nothing was done: no CAR was found there (in folders, files that match --include are taken)"))
	}
	return t.err()
}

// A reporter tells how items went, one at a time.
type reporter struct {
	app    *app
	dryRun bool
	bar    *progress
	out    *bufio.Writer
	outErr error // the first failure to write results

	added, updated, unchanged int
	bytes                     int64 // that a dry run would read
}

func (r *reporter) report(o outcome) {
	r.bar.end(o.item.key, o.size, o.plan != planUnchanged)
	r.bar.hide()
	switch {
	case o.err != nil:
	case o.plan == planUnchanged:
		r.unchanged++
	case o.plan == planChanged:
		r.updated++
	default:
		r.added++
	}
	r.bytes += max(o.read, 0)
	if o.err != nil && !r.app.jsonOut {
		r.app.notef("%s: %v", showText(o.item.name), plainly(o.err))
	}
	for _, note := range o.notes {
		r.app.notef("%s: %s", showText(o.item.name), note)
	}
	err := r.line(o)
	if err == nil {
		err = r.out.Flush()
	}
	if err != nil && r.outErr == nil {
		r.outErr = err
	}
}

// line prints what goes to standard output.
func (r *reporter) line(o outcome) error {
	if r.app.jsonOut {
		return printJSON(r.out, objectOfOutcome(o, r.dryRun))
	}
	var err error
	switch {
	case r.dryRun:
		_, err = fmt.Fprintf(r.out, "%-9s  %s  %s\n", o.plan, showName(o), showSize(o.size))
	case o.err != nil: // said on standard error
	case o.plan == planUnchanged:
		_, err = fmt.Fprintf(r.out, "%-9s  %s\n", o.plan, showKey(o.item.key))
	default:
		_, err = fmt.Fprintf(r.out, "%-9s  %s  %s\n", statusOf(o.info.State), showKey(o.item.key), summary(o.info))
	}
	return err
}

// showName is the item's key or, where it has none, what the person called it.
func showName(o outcome) string {
	if o.item.key == "" {
		return showText(o.item.name)
	}
	return showKey(o.item.key)
}

func showSize(size int64) string {
	if size < 0 {
		return "size unknown"
	}
	return showBytes(size)
}

// objectOfOutcome is what --json prints about an item: the shard that has its
// key, or, where there is none, the item in the state Gone.
func objectOfOutcome(o outcome, dryRun bool) shardObject {
	info := o.info
	if info.Key == "" {
		info.Key = o.item.key
		info.State = shard.Gone
		info.Bytes = max(o.size, 0)
		info.URL = o.item.url
		if o.item.mount != nil {
			info.URL = o.item.mount.URL()
		}
	}
	object := objectOf(info)
	switch {
	case o.err != nil:
		object.Status = "failed"
		object.Error = plainly(o.err).Error()
	case dryRun && info.State == shard.Gone:
		object.Status = "lazy" // nothing of it has been read
		object.State = shard.Registered.String()
	}
	if dryRun {
		object.Plan = o.plan
	}
	return object
}

// plainly leaves out what an error of the file system says twice.
func plainly(err error) error {
	if pathErr, ok := err.(*fs.PathError); ok { //nolint:errorlint // only when nothing is wrapped around it
		return pathErr.Err
	}
	return err
}

// summary says how it went altogether.
func (r *reporter) summary(t tally) {
	switch {
	case r.dryRun:
		r.app.notef("%d to add, %s%d unchanged, %d that would fail; %s to read", r.added, r.updates("to update"), r.unchanged, t.failed, showBytes(r.bytes))
	case t.failed == 0 && t.done > 0: // else the error has the counts
		r.app.notef("%d added, %s%d unchanged", r.added, r.updates("updated"), r.unchanged)
	}
}

// updates counts the changed sources, which are too rare to tell of none.
func (r *reporter) updates(what string) string {
	if r.updated == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s, ", r.updated, what)
}
