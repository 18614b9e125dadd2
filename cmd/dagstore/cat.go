package main

import (
	"io"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

func (a *app) catCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "cat CID[/PATH]",
		Short: "Write a file to standard output",
		Long: `Write the UnixFS file at CID/PATH to standard output. ` + pathHelp + `

If a block is missing or damaged, the exit code is 1 and what was written is
not the whole file.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.resolved(ctx, args[0], func(r *extract.Reader, _ extract.Path, c cid.Cid) error {
				return a.toStdout(force, func(w io.Writer) error { return r.Cat(ctx, c, w) })
			})
		},
	}
	forceFlag(cmd, &force)
	return cmd
}
