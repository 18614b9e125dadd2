package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// recoverOptions is how "recover" was called.
type recoverOptions struct {
	match, host string
	jobs        int
}

func (a *app) recoverCommand() *cobra.Command {
	opts := recoverOptions{jobs: addDefaults().jobs}
	cmd := &cobra.Command{
		Use:   "recover KEY... | --match GLOB | --host HOST",
		Short: "Try failed shards again",
		Long: `Try failed shards again, now: those that are named, or all whose key matches a
glob or whose CAR lies on a host. A shard that has not failed is left as it is.
A glob without a slash is held against the last part of the key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.check(args); err != nil {
				return exitError(exitUsage, err)
			}
			ctx := cmd.Context()
			if len(args) == 0 {
				return a.recoverAll(ctx, opts)
			}
			return a.eachKey(ctx, &dagstore.Config{}, args, deed{do: func(store storage, key string) error {
				if err := store.Recover(ctx, shard.Key(key), nil); err != nil {
					return err
				}
				return a.changed(ctx, store, "recovered", shard.Key(key))
			}})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.match, "match", "", "all failed shards whose key matches this glob")
	flags.StringVar(&opts.host, "host", "", "all failed shards whose CAR lies on this host")
	flags.IntVarP(&opts.jobs, "jobs", "j", opts.jobs, "how many at once")
	a.jsonFlag(cmd)
	return cmd
}

func (o *recoverOptions) check(args []string) error {
	_, err := path.Match(o.match, "")
	switch all := o.match != "" || o.host != ""; {
	case err != nil:
		return fmt.Errorf("--match %q: %w", o.match, err)
	case len(args) == 0 && !all:
		return errors.New("name shards, or choose them by --match or --host")
	case len(args) > 0 && all:
		return errors.New("--match and --host choose shards: leave out the keys")
	case o.jobs < 1:
		return fmt.Errorf("-j %d: it takes at least one", o.jobs)
	}
	return nil
}

// recoverAll tries all again that opts choose.
func (a *app) recoverAll(ctx context.Context, opts recoverOptions) error {
	out := bufio.NewWriter(a.stdout)
	var store storage
	each := eachShard{
		jobs: opts.jobs,
		do:   func(ctx context.Context, info shard.Info) error { return store.Recover(ctx, info.Key, nil) },
		told: func(info shard.Info, err error) error {
			var now shard.Info
			if err == nil {
				now, err = store.Info(ctx, info.Key)
			}
			if err != nil {
				a.notef("%s: %v", showKey(info.Key), err)
				return nil
			}
			return errors.Join(a.printShard(out, now), out.Flush())
		},
	}
	failed, err := wire.StatesOf("failed")
	if err != nil {
		return err
	}
	err = a.withStore(ctx, false, &dagstore.Config{}, func(reached storage) error {
		store = reached
		// Those that are well by now are not listed any more. It comes to the same again.
		again := func(was shard.Info) (bool, error) { return true, each.do(ctx, was) }
		if err := each.settle(ctx, again); err != nil {
			return err
		}
		return each.run(ctx, opts.choose(store.Shards(ctx, &dagstore.Filter{States: failed})))
	})
	if err != nil {
		return err
	}
	a.notef("%d recovered, %d failed again", each.t.done, each.t.failed)
	return each.t.err()
}

// choose yields the shards that are meant.
func (o *recoverOptions) choose(shards iter.Seq2[shard.Info, error]) iter.Seq2[shard.Info, error] {
	return func(yield func(shard.Info, error) bool) {
		for info, err := range shards {
			if err == nil && !o.wants(info) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (o *recoverOptions) wants(info shard.Info) bool {
	if o.match != "" {
		name := string(info.Key)
		if !strings.Contains(o.match, "/") {
			name = path.Base(name)
		}
		if ok, err := path.Match(o.match, name); !ok || err != nil {
			return false
		}
	}
	if o.host == "" {
		return true
	}
	at, err := url.Parse(info.URL)
	return err == nil && (strings.EqualFold(at.Host, o.host) || strings.EqualFold(at.Hostname(), o.host))
}
