package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// add carries out the command "add".
func (a *app) add(ctx context.Context, args []string, opts addOptions) error {
	var lies lies
	cfg := opts.config()
	cfg.Events.Fault = lies.hear
	own := func(h *holder) error { return a.addTo(ctx, ownStore{h.store}, args, opts) }
	far := func(store farStore) error { return a.addThrough(ctx, store, args, opts, &lies) }
	err := a.withEither(ctx, !opts.dryRun, cfg, own, far)
	if opts.dryRun && errors.Is(err, dagstore.ErrNoStore) {
		return a.addTo(ctx, nil, args, opts) // then everything is new
	}
	lies.tell(a)
	return err
}

// addTo adds what args and opts name to store. A nil store is for dry runs.
func (a *app) addTo(ctx context.Context, store storage, args []string, opts addOptions) error {
	r := &reporter{app: a, dryRun: opts.dryRun, logged: opts.logged, out: bufio.NewWriter(a.stdout)}
	if !opts.dryRun {
		r.bar = newProgress(a.stderr, "adding", store, nil)
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
		go survey(ahead, a.sources(args, opts).named(ahead), r.bar.expect)
	}
	from := a.sources(args, opts)
	t, err := ad.run(ctx, from.items(ctx), from.piped(ctx))
	return r.end(t, err)
}

// end says how it went altogether, and is what the command ends with.
func (r *reporter) end(t tally, err error) error {
	r.bar.stop()
	r.summary(t)
	switch {
	case r.outErr != nil:
		return fmt.Errorf("writing the results: %w", r.outErr)
	case errors.Is(err, errStopped):
		r.app.notef("%v", err)
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
	logged bool // see [addOptions]
	bar    *progress
	out    *bufio.Writer
	outErr error // the first failure to write results

	added, updated, unchanged int
	bytes                     int64 // that a dry run would read
	unknown                   int   // CARs that it would read of which nobody knows how long they are
	asks                      int64 // requests that it would take
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
	r.asks += o.asks
	if o.read < 0 {
		r.unknown++
	}
	if o.err != nil && !r.app.jsonOut && (!r.logged || !isWork(o.err)) {
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
		_, err = fmt.Fprintf(r.out, "%-9s  %s  %s\n", wire.StatusOf(o.info.State), showKey(o.item.key), summary(o.info))
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
func objectOfOutcome(o outcome, dryRun bool) wire.Shard {
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
	object := wire.ShardOf(info)
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
		object.Read, object.Requests = max(o.read, 0), o.asks
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
		r.app.notef("%d to add, %s%d unchanged, %d that would fail; %s to read%s", r.added, r.updates("to update"), r.unchanged, t.failed, showBytes(r.bytes), r.cost())
	case t.failed == 0 && t.done > 0: // else the error has the counts
		r.app.notef("%d added, %s%d unchanged", r.added, r.updates("updated"), r.unchanged)
	}
}

// cost is what a dry run says of sources elsewhere, if there are any.
func (r *reporter) cost() (text string) {
	if r.unknown > 0 {
		text = fmt.Sprintf(" and %d CARs of unknown size", r.unknown)
	}
	if r.asks > 0 {
		text += fmt.Sprintf(", by about %d requests", r.asks)
	}
	return text
}

// updates counts the changed sources, which are too rare to tell of none.
func (r *reporter) updates(what string) string {
	if r.updated == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s, ", r.updated, what)
}

// isWork says whether err is of fetching or indexing a CAR, of which a store logs
// that it failed.
func isWork(err error) bool {
	var at *shard.Error
	return errors.As(err, &at) && (at.Op == shard.OpFetch || at.Op == shard.OpIndex)
}
