package main

import (
	"io"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

func (a *app) blockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "block",
		Short: "Read single blocks",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.blockGetCommand())
	return cmd
}

func (a *app) blockGetCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "get CID",
		Short: "Write a block to standard output, as it is",
		Long: `Write the block of a CID to standard output, as it is. Its bytes have been
held against the CID. ` + pathHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.resolved(ctx, args[0], func(r *extract.Reader, _ extract.Path, c cid.Cid) error {
				return a.toStdout(force, func(w io.Writer) error { return r.Block(ctx, c, w) })
			})
		},
	}
	forceFlag(cmd, &force)
	return cmd
}
