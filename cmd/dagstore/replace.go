package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) replaceCommand() *cobra.Command {
	var verify bool
	policy := "auto"
	cmd := &cobra.Command{
		Use:   "replace KEY PATH|URL",
		Short: "Give a shard a new revision of its CAR",
		Long: `Give a shard a new revision of its CAR, which may lie where the old one did. It
is indexed beside the old one and takes its place at once; until then, and if it
cannot be indexed, the old one is served. Pin and labels stay; a piece CID and manifests
were of the old revision and go with it.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := &dagstore.RegisterOptions{Verify: verify}
			var err error
			if opts.Index, err = wire.ParsePolicy(policy); err == nil && verify && policy != "auto" {
				err = errors.New("--verify reads every block: leave out --index")
			}
			if err != nil {
				return exitError(exitUsage, err)
			}
			if !verify && !cmd.Flags().Changed("index") {
				opts = nil // all as it was said at first
			}
			return a.replace(cmd.Context(), shard.Key(args[0]), args[1], opts)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "hash every block while indexing")
	cmd.Flags().StringVar(&policy, "index", policy, "auto, scan, hop, check, sample or adopt, as of \"add\"")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) replace(ctx context.Context, key shard.Key, name string, opts *dagstore.RegisterOptions) error {
	var lies lies
	cfg := &dagstore.Config{Events: dagstore.Events{Fault: lies.hear}}
	// Done twice it comes to the same.
	err := a.eachKey(ctx, cfg, []string{string(key)}, deed{do: func(store storage, _ string) error {
		info, err := store.Info(ctx, key)
		if err != nil {
			return err
		}
		m, err := a.mountOf(name)
		if err != nil {
			return err
		}
		given := opts
		if given != nil {
			given.Pin, given.Labels, given.Serve = info.Local.Pinned, info.Labels, info.Local.Chosen
		}
		if err := store.Replace(ctx, key, m, given); err != nil {
			return err
		}
		return a.changed(ctx, store, "replaced", key)
	}})
	lies.tell(a)
	return err
}
