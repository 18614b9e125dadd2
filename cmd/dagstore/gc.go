package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

func (a *app) gcCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what belongs to no shard",
		Long: `Remove from the store's folder what belongs to no shard: files that a crash has
left, and what is remembered of shards that are gone. A store does the same by
itself after its start; this is to know what there was, and that it is gone.
Files that the store did not make are named and left alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				report, err := store.GC(ctx)
				if err != nil {
					return err
				}
				return a.printGC(report)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printGC(r dagstore.GCReport) error {
	if a.jsonOut {
		return printJSON(a.stdout, wire.GCOf(r))
	}
	_, err := fmt.Fprintf(a.stdout, "removed %s, %s; %d to go later; %s forgotten\n",
		plural(r.Files, "file"), showBytes(r.Bytes), r.Left, plural(r.Forgotten, "destroyed shard"))
	for _, path := range r.Foreign {
		a.notef("%s in the store's folder was not made by the store, and stays", showText(path))
	}
	return err
}
