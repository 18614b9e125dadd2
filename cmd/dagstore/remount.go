package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// remountOptions is how "remount" was called.
type remountOptions struct {
	mapped, dryRun bool
	check          string
	jobs           int
}

const defaultRemounts = 8

func (a *app) remountCommand() *cobra.Command {
	opts := remountOptions{check: wire.ComparisonName(dagstore.CompareSample), jobs: defaultRemounts}
	cmd := &cobra.Command{
		Use:   "remount KEY PATH|URL | --map OLD NEW",
		Short: "Say where a CAR lies now that was moved",
		Long: `Say where the CAR of a shard lies now. Nothing else of the shard changes: its
index stays, and who reads it goes on. The CAR at the new place is compared with
the index first, by --check: its size and header with "none", 16 blocks as well
with "sample", every block with "full". One that is another CAR is refused.

With --map, all shards whose place is OLD or lies below it are taken to the same
place below NEW. OLD and NEW are folders or URLs, and may be of different kinds. What
was cut off goes on when it is repeated:

  dagstore remount --map /srv/cars s3://bucket/cars`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			how, err := wire.ParseComparison(opts.check)
			if err == nil && opts.jobs < 1 {
				err = fmt.Errorf("-j %d: it takes at least one", opts.jobs)
			}
			if err != nil {
				return exitError(exitUsage, err)
			}
			ctx := cmd.Context()
			r := &remounter{app: a, opts: opts, how: how}
			if opts.mapped {
				return r.all(ctx, args[0], args[1])
			}
			return a.eachKey(ctx, &dagstore.Config{}, args[:1], deed{
				do: func(store storage, key string) error {
					r.store = store
					return r.one(ctx, shard.Key(key), args[1])
				},
				was: func(store storage, key string) (bool, error) {
					r.store = store
					return r.wasOne(ctx, shard.Key(key), args[1])
				},
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.mapped, "map", false, "remount all that lies below OLD to below NEW")
	flags.StringVar(&opts.check, "check", opts.check, "sample, full or none: how much of the CAR is compared")
	flags.IntVarP(&opts.jobs, "jobs", "j", opts.jobs, "with --map, how many shards at once")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "change nothing, say what would be remounted")
	a.jsonFlag(cmd)
	return cmd
}

// A remounter carries out one command.
type remounter struct {
	app   *app
	store storage
	opts  remountOptions
	how   dagstore.Comparison
}

// one remounts one shard to where name says.
func (r *remounter) one(ctx context.Context, key shard.Key, name string) error {
	m, err := r.app.mountOf(name)
	if err != nil {
		return err
	}
	info, err := r.store.Info(ctx, key)
	if err != nil {
		return err
	}
	if err := r.move(ctx, key, m); err != nil {
		return err
	}
	info.URL = m.URL()
	return r.print(r.app.stdout, info)
}

// wasOne looks whether a shard lies where name says.
func (r *remounter) wasOne(ctx context.Context, key shard.Key, name string) (bool, error) {
	m, err := r.app.mountOf(name)
	if err != nil {
		return false, err
	}
	info, err := r.store.Info(ctx, key)
	if err != nil || info.URL != m.URL() {
		return false, err
	}
	return true, r.print(r.app.stdout, info)
}

// move remounts a shard, unless nothing is to be changed.
func (r *remounter) move(ctx context.Context, key shard.Key, m mount.Mount) error {
	if r.opts.dryRun {
		_, err := m.Stat(ctx)
		return err
	}
	return r.store.Remount(ctx, key, m, r.how)
}

// all remounts what lies below the place from to below the place to.
func (r *remounter) all(ctx context.Context, from, to string) error {
	from, to, err := bothURLs(from, to)
	if err != nil {
		return exitError(exitUsage, err)
	}
	out := bufio.NewWriter(r.app.stdout)
	each := eachShard{
		jobs: r.opts.jobs,
		dry:  r.opts.dryRun,
		do: func(ctx context.Context, info shard.Info) error {
			url, _ := moved(info.URL, from, to)
			m, err := r.app.mounts.Open(url)
			if err != nil {
				return err
			}
			return r.move(ctx, info.Key, m)
		},
		told: func(info shard.Info, err error) error {
			if err != nil {
				r.app.notef("%s: %v", showKey(info.Key), err)
				return nil
			}
			info.URL, _ = moved(info.URL, from, to)
			return errors.Join(r.print(out, info), out.Flush())
		},
	}
	err = r.app.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
		r.store = store
		if err := each.settle(ctx, func(was shard.Info) (bool, error) { return r.wasMoved(ctx, was, from, to) }); err != nil {
			return err
		}
		return each.run(ctx, lyingBelow(store.Shards(ctx, nil), from, to))
	})
	t := &each.t
	switch {
	case err != nil:
		return err
	case t.done+t.failed == 0:
		return exitError(exitNotFound, fmt.Errorf("no shard lies below %s", showText(from)))
	}
	r.app.notef("%d %s, %d failed", t.done, r.did(), t.failed)
	return t.err()
}

// wasMoved looks whether a shard was remounted of which that is not known.
func (r *remounter) wasMoved(ctx context.Context, was shard.Info, from, to string) (bool, error) {
	now, err := r.store.Info(ctx, was.Key)
	url, _ := moved(was.URL, from, to)
	if errors.Is(err, shard.ErrUnknown) {
		return false, nil
	}
	return err == nil && now.URL == url, err
}

func (r *remounter) did() string {
	if r.opts.dryRun {
		return "to remount"
	}
	return "remounted"
}

func (r *remounter) print(w io.Writer, info shard.Info) error {
	if r.app.jsonOut {
		return printJSON(w, wire.ShardOf(info))
	}
	verb := "remounted"
	if r.opts.dryRun {
		verb = "would remount"
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s\n", verb, showKey(info.Key), showText(info.URL))
	return err
}

// mountOf is the CAR that a path or a URL names.
func (a *app) mountOf(name string) (mount.Mount, error) {
	if wire.IsURL(name) {
		return a.mounts.Open(name)
	}
	return filemount.New(name)
}

// bothURLs are the URLs of two folders that paths or URLs name. Neither ends
// with a slash.
func bothURLs(from, to string) (string, string, error) {
	urls := [2]string{from, to}
	for i, name := range urls {
		if !wire.IsURL(name) {
			m, err := filemount.New(name)
			if err != nil {
				return "", "", err
			}
			name = m.URL()
		}
		urls[i] = strings.TrimRight(name, "/")
		if strings.HasSuffix(urls[i], ":") {
			return "", "", fmt.Errorf("%s names no folder", showText(name))
		}
	}
	return urls[0], urls[1], nil
}

// moved is where what lies at url lies once the folder from has become to. It
// reports false if url does not lie there.
func moved(url, from, to string) (string, bool) {
	rest, ok := strings.CutPrefix(url, from)
	if !ok || rest != "" && rest[0] != '/' && rest[0] != '#' {
		return "", false
	}
	return to + rest, true
}

// lyingBelow yields the shards that lie in the folder from, but for those that
// are in a folder to below it: they have been remounted before. What cannot be
// listed is passed on.
func lyingBelow(shards iter.Seq2[shard.Info, error], from, to string) iter.Seq2[shard.Info, error] {
	_, deeper := moved(to, from, from)
	return func(yield func(shard.Info, error) bool) {
		for info, err := range shards {
			if err == nil {
				_, is := moved(info.URL, from, from)
				_, was := moved(info.URL, to, to)
				if !is || was && deeper {
					continue
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}
