package main

import (
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) evictCommand() *cobra.Command {
	var opts dagstore.EvictOptions
	cmd := &cobra.Command{
		Use:   "evict KEY...",
		Short: "Give back the space of the local copies of shards",
		Long: `Give back the space of the local copies of shards, pinned ones too. The shards
stay what they are: who needs one reads its source. A source is never touched.

A copy that may be the last, since the source does not answer or has something
else, is refused unless --last-copy says that it may go.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.eachKey(ctx, &dagstore.Config{}, args, deed{do: func(store storage, key string) error {
				if err := store.Evict(ctx, shard.Key(key), &opts); err != nil {
					return err
				}
				return a.changed(ctx, store, "evicted", shard.Key(key))
			}})
		},
	}
	cmd.Flags().BoolVar(&opts.LastCopy, "last-copy", false, "also a copy that may be the last")
	a.jsonFlag(cmd)
	return cmd
}
