package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// rmOptions is how "rm" was called.
type rmOptions struct {
	wait, force, dryRun bool
}

func (a *app) rmCommand() *cobra.Command {
	var opts rmOptions
	cmd := &cobra.Command{
		Use:   "rm KEY...",
		Short: "Remove shards from the store, never their sources",
		Long: `Remove shards from the store: their records, their indices and what is kept of
them in the store's folder. A source is never touched.

A shard that somebody holds is refused, unless --wait or --force says otherwise.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.wait && opts.force {
				return exitError(exitUsage, errors.New("--wait and --force exclude each other"))
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.eachKey(ctx, args, func(key shard.Key) error { return a.rmOne(ctx, store, key, opts) })
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.wait, "wait", false, "wait until nobody holds the shard")
	flags.BoolVar(&opts.force, "force", false, "end the reads of those who hold the shard")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "change nothing, say what would be removed")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) rmOne(ctx context.Context, store storage, key shard.Key, opts rmOptions) error {
	info, err := store.Info(ctx, key)
	if err != nil {
		return err
	}
	verb := "removed"
	if opts.dryRun {
		verb = "would remove"
	} else {
		if err := store.Destroy(ctx, key, &dagstore.DestroyOptions{Held: opts.held()}); err != nil {
			return err
		}
		info.State = shard.Gone
	}
	if a.jsonOut {
		return printJSON(a.stdout, wire.ShardOf(info))
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s  frees the index of %s and %s of copies; %s is left as it is\n",
		verb, showKey(key), plural(info.Sections, "block"), showBytes(info.Local.Bytes), info.URL)
	return err
}

func (o rmOptions) held() dagstore.HeldPolicy {
	switch {
	case o.wait:
		return dagstore.Wait
	case o.force:
		return dagstore.Force
	}
	return dagstore.Refuse
}
