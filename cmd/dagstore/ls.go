package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) lsCommand() *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List the shards whose keys begin with PREFIX",
		Long: `List the shards whose keys begin with PREFIX, or all of them, by rising key:
one a line with its status, its key and what is in it. A key with characters
that a terminal would not show is printed in quotes; --json has it as it is.

A status is ready, lazy (indexed when it is first used), indexing, failed or
removing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter := &dagstore.Filter{}
			if len(args) == 1 {
				filter.Prefix = args[0]
			}
			if status != "" {
				states, err := wire.StatesOf(status)
				if err != nil {
					return exitError(exitUsage, err)
				}
				filter.States = states
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.ls(ctx, store, filter)
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "only shards of this status")
	a.jsonFlag(cmd)
	return cmd
}

// ls lists what filter selects.
func (a *app) ls(ctx context.Context, store storage, filter *dagstore.Filter) error {
	out := bufio.NewWriter(a.stdout)
	for info, err := range store.Shards(ctx, filter) {
		if err != nil {
			return errors.Join(out.Flush(), fmt.Errorf("the list is not complete: %w", err))
		}
		if err := a.printShard(out, info); err != nil {
			return err
		}
	}
	return out.Flush()
}

// printShard prints one line about a shard.
func (a *app) printShard(w io.Writer, info shard.Info) error {
	if a.jsonOut {
		return printJSON(w, wire.ShardOf(info))
	}
	_, err := fmt.Fprintf(w, "%-9s  %s  %s\n", wire.StatusOf(info.State), showKey(info.Key), summary(info))
	return err
}

// summary is what is known of a shard, for people.
func summary(info shard.Info) string {
	switch {
	case info.Failure != nil && info.Failure.Err != nil:
		return showText(info.Failure.Err.Error())
	case info.Version == 0:
		return info.URL
	}
	text := fmt.Sprintf("%s, %s", plural(info.Sections, "block"), showBytes(info.Bytes))
	if info.Faults > 0 {
		text += ", " + badBlocks(info.Faults)
	}
	return text
}
