package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) pinCommand() *cobra.Command {
	return a.keepingCommand("pin", "Keep the local copies of shards from eviction", `Keep the local copies of shards from eviction, also copies that are made later.
It fetches nothing.`, storage.Pin)
}

func (a *app) unpinCommand() *cobra.Command {
	return a.keepingCommand("unpin", "Let the local copies of shards be evicted", `Let the local copies of shards be evicted when there is need. It evicts nothing.`, storage.Unpin)
}

// keepingCommand is "pin" or "unpin".
func (a *app) keepingCommand(name, short, long string, do func(storage, context.Context, shard.Key) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " KEY...",
		Short: short,
		Long:  long,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.eachKey(ctx, &dagstore.Config{}, args, deed{do: func(store storage, key string) error {
				if err := do(store, ctx, shard.Key(key)); err != nil {
					return err
				}
				return a.changed(ctx, store, name+"ned", shard.Key(key))
			}})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// changed prints how a shard is now, after what was done to it.
func (a *app) changed(ctx context.Context, store storage, done string, key shard.Key) error {
	info, err := store.Info(ctx, key)
	if err != nil {
		return err
	}
	return a.printChanged(done, info)
}

func (a *app) printChanged(done string, info shard.Info) error {
	if a.jsonOut {
		return printJSON(a.stdout, wire.ShardOf(info))
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %s\n", done, showKey(info.Key), summary(info))
	return err
}
