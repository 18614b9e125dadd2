package main

import (
	"io"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

func (a *app) dagCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dag",
		Short: "Read whole DAGs",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dagExportCommand())
	return cmd
}

func (a *app) dagExportCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "export CID",
		Short: "Write a DAG to standard output, as a CARv1",
		Long: `Write the DAG below a CID to standard output, as a CARv1: depth first, in the
order of the links, no block twice. The same DAG gives the same bytes.
` + pathHelp + `

If a block is missing or damaged, the exit code is 1. What was written by then
is not the whole DAG, and nothing in it says so: "get --format car" writes a
file, and only a complete one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.resolved(ctx, args[0], func(r *extract.Reader, _ extract.Path, c cid.Cid) error {
				if isTerminal(a.stdout) && !force {
					return errBinary // a CAR always is
				}
				return a.toStdout(force, func(w io.Writer) error { return r.CAR(ctx, c, w) })
			})
		},
	}
	forceFlag(cmd, &force)
	return cmd
}
