package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) pieceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "piece",
		Short: "Find pieces of Filecoin, and hold CARs against them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.pieceFindCommand(), a.pieceCheckCommand())
	return cmd
}

// pieceCID reads a piece CID of either version.
func pieceCID(text string) (cid.Cid, error) {
	c, err := cid.Decode(text)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q is no CID: %w", text, err)
	}
	if _, ok := piece.Parse(c); !ok {
		return cid.Undef, fmt.Errorf("%s is no piece CID, which begins with baga or bafkzcib", c)
	}
	return c, nil
}

func (a *app) pieceFindCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "find CID",
		Short: "Say which shards are a piece",
		Long: `Say which shards are a piece, as was claimed when they were added, or by a key
that is a piece CID. A CID of version 1 (baga...) and one of version 2
(bafkzcib...) of the same piece find the same shards.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cid.Decode(args[0])
			if err != nil {
				return exitError(exitUsage, fmt.Errorf("%q is no CID: %w", args[0], err))
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.findPiece(ctx, store, c)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) findPiece(ctx context.Context, store storage, c cid.Cid) error {
	found := false
	for info, err := range store.FindPiece(ctx, c) {
		if err != nil {
			return err
		}
		found = true
		if a.jsonOut {
			err = printJSON(a.stdout, wire.ShardOf(info))
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s  %s  %s\n", showKey(info.Key), info.Piece, claimName(info))
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return exitError(exitNotFound, fmt.Errorf("no shard is known to be the piece %s", c))
	}
	return nil
}

// claimName says how far it is known that a shard is its piece.
func claimName(info shard.Info) string {
	if info.PieceChecked.IsZero() {
		return "claimed"
	}
	return "checked"
}

// A pieceObject is what "piece check --json" prints a line.
type pieceObject struct {
	Key     string `json:"key"`
	Piece   string `json:"piece,omitempty"` // of the bytes, of version 2
	PieceV1 string `json:"piece_v1,omitempty"`
	Claimed string `json:"claimed,omitempty"` // before the check
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
}

func (a *app) pieceCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check KEY...",
		Short: "Hold the bytes of shards against their piece CIDs",
		Long: `Read the whole CAR of each shard, compute its piece commitment (CommP), and hold
it against the piece CID that the shard claims. One that proves right is
"checked" from then on; one that is wrong is exit code 1, and nothing changes. A
shard that claims none has the piece CID that was found.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				var errs []error
				for _, key := range args {
					errs = append(errs, a.checkPiece(ctx, store, shard.Key(key)))
				}
				return errors.Join(errs...)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) checkPiece(ctx context.Context, store storage, key shard.Key) error {
	got, err := store.CheckPiece(ctx, key)
	o := pieceObject{Key: string(key), OK: err == nil && got.Good}
	if got.Claimed.Defined() {
		o.Claimed = got.Claimed.String()
	}
	if got.Found.Defined() {
		o.Piece = got.Found.String()
		if id, ok := piece.Parse(got.Found); ok {
			o.PieceV1 = id.V1().String()
		}
	}
	if err == nil && !got.Good {
		err = exitError(exitFailed, fmt.Errorf("%s claims the piece %s, its bytes are %s", showKey(key), got.Claimed, got.Found))
	}
	if err != nil {
		o.Error = err.Error()
	}
	if a.jsonOut {
		return errors.Join(printJSON(a.stdout, o), err)
	}
	if err == nil {
		_, err = fmt.Fprintf(a.stdout, "%s  %s  %s\n", showKey(key), o.Piece, o.PieceV1)
	}
	return err
}
