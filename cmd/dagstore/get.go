package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

func (a *app) getCommand() *cobra.Command {
	var output, format string
	cmd := &cobra.Command{
		Use:   "get CID[/PATH]",
		Short: "Write a file or a folder to disk",
		Long: `Write what lies at CID/PATH to disk: a UnixFS file, or a folder with all that
is in it. ` + pathHelp + `

Without -o it is written to the current folder under the last name of the
path, or the CID, and the name is printed. With --format raw the block is
written as it is, to NAME.bin; with --format car the DAG as a CARv1, to
NAME.car.

It is written aside and renamed when it is complete, so a result is a whole
one; what is there already is never overwritten. Symlinks that lead out of the
folder are left out: that is exit code 4.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			extension, ok := map[string]string{"file": "", "raw": ".bin", "car": ".car"}[format]
			switch {
			case !ok:
				return exitError(exitUsage, fmt.Errorf("--format is %q; it can be file, raw or car", format))
			case cmd.Flags().Changed("output") && (output == "" || output == "-"):
				return exitError(exitUsage, errors.New(`-o takes a name; "cat", "block get" and "dag export" write to standard output`))
			}
			ctx := cmd.Context()
			return a.resolved(ctx, args[0], func(r *extract.Reader, p extract.Path, c cid.Cid) error {
				dst := output
				if dst == "" {
					name := p.Name() + extension
					if !filepath.IsLocal(name) || filepath.Base(name) != name {
						return exitError(exitUsage, fmt.Errorf("no file can be called %q here: give another name by -o", name))
					}
					dst = "." + string(filepath.Separator) + name
				}
				return a.get(ctx, r, c, dst, format)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this name (default: ./NAME)")
	cmd.Flags().StringVar(&format, "format", "file", "file, raw (the block) or car (the DAG)")
	a.jsonFlag(cmd)
	return cmd
}

// get writes what c is to dst.
func (a *app) get(ctx context.Context, r *extract.Reader, c cid.Cid, dst, format string) error {
	var leftOut []string
	var err error
	switch format {
	case "raw":
		err = extract.SaveFile(dst, func(w io.Writer) error { return r.Block(ctx, c, w) })
	case "car":
		err = extract.SaveFile(dst, func(w io.Writer) error {
			out := bufio.NewWriterSize(w, outBuffer)
			if err := r.CAR(ctx, c, out); err != nil {
				return err
			}
			return out.Flush()
		})
	default:
		leftOut, err = r.Save(ctx, c, dst)
	}
	if err != nil {
		return err
	}
	return a.savedAs(dst, leftOut)
}
