package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) findCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "find CID",
		Short: "Say where the block of a CID lies",
		Long: `Say where the block of a CID lies: one line for each place, with the key of
the shard, the offset and size of the block's data in its file. The codec of
the CID does not matter.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return exitError(exitUsage, fmt.Errorf("--limit is %d; 0 means all", limit))
			}
			c, err := blockCID(args[0])
			if err != nil {
				return err
			}
			if c.Prefix().MhType == multihash.IDENTITY {
				return exitError(exitNotFound, fmt.Errorf("%v lies in no CAR: its data is in the CID itself", c))
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.find(ctx, store, c, limit)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "stop after this many; 0: all")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) find(ctx context.Context, store storage, c cid.Cid, limit int) error {
	found := 0
	var info shard.Info // of the shard of the last location
	for at, err := range store.Find(ctx, c) {
		if err != nil {
			return err
		}
		if found == 0 || info.Key != at.Shard {
			if info, err = store.Info(ctx, at.Shard); errors.Is(err, shard.ErrUnknown) {
				continue // removed meanwhile
			} else if err != nil {
				return err
			}
		}
		if err := a.printLocation(locationOf(at, info.Payload.Offset)); err != nil {
			return err
		}
		if found++; found == limit {
			break
		}
	}
	if found == 0 {
		return exitError(exitNotFound, fmt.Errorf("no shard has the block %v%s", c, unread(ctx, store)))
	}
	return nil
}

// manyUnread is where counting shards ends that are not indexed yet.
const manyUnread = 1000

// unread ends a message that something was not found: it may lie in a shard
// that has not been indexed yet.
func unread(ctx context.Context, store storage) string {
	count := int64(0)
	states := []shard.State{shard.Registered, shard.Initializing}
	for _, err := range store.Shards(ctx, &dagstore.Filter{States: states}) {
		if err != nil {
			return "" // what was not found is more to the point
		}
		if count++; count > manyUnread {
			return fmt.Sprintf(" (more than %d shards are not indexed yet)", manyUnread)
		}
	}
	switch count {
	case 0:
		return ""
	case 1:
		return " (1 shard is not indexed yet)"
	}
	return fmt.Sprintf(" (%d shards are not indexed yet)", count)
}

// locationOf adds where the CARv1 payload begins in its file.
func locationOf(at shard.Location, payload int64) wire.Location {
	o := wire.Location{
		Shard:      string(at.Shard),
		Offset:     at.Offset,
		Size:       at.Size,
		FileOffset: payload + at.Offset,
		DataOffset: -1,
	}
	if at.Head > 0 {
		o.DataOffset = o.FileOffset + int64(at.Head)
	}
	return o
}

func (a *app) printLocation(o wire.Location) error {
	if a.jsonOut {
		return printJSON(a.stdout, o)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %d bytes at %d\n", showKey(shard.Key(o.Shard)), o.Size, o.DataOffset)
	return err
}
