package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/pack"
)

// A packObject is what "pack --json" prints.
type packObject struct {
	Root   string `json:"root"`
	File   string `json:"file"`
	Files  int64  `json:"files"`
	Blocks int64  `json:"blocks"`
	Bytes  int64  `json:"bytes"` // of the CAR
}

func (a *app) packCommand() *cobra.Command {
	var opts pack.Options
	var output string
	profile := pack.V1.Name
	cmd := &cobra.Command{
		Use:   "pack PATH... -o FILE.car",
		Short: "Make a CAR of files and folders",
		Long: `Make a CAR of files and folders, as UnixFS, and print its root. Several paths get
a folder around them. Symlinks in folders are stored as such; one that is named
stands for what it leads to. What begins with a dot is left out, in folders,
unless --hidden is given.

--profile says how files are cut and folders are written; the same files by the
same profile have the same root everywhere. "unixfs-v1-2025" (the default) makes
CIDv1 with chunks of 1 MiB, "unixfs-v0-2015" CIDv0 with chunks of 256 KiB. With
--preserve-mode or --preserve-mtime all CIDs are others.

The CAR is a CARv1, or with --index a CARv2 that has an index inside. The same
files give the same bytes. It appears when it is whole, and nothing is
overwritten. It is not added to the store: that is "dagstore add FILE.car".`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case profile == pack.V1.Name:
				opts.Profile = pack.V1
			case profile == pack.V0.Name:
				opts.Profile = pack.V0
			default:
				return exitError(exitUsage, fmt.Errorf("--profile %q: there are %s and %s", profile, pack.V1.Name, pack.V0.Name))
			}
			if output == "" || output == "-" {
				return exitError(exitUsage, errors.New("name the CAR by -o FILE.car"))
			}
			return a.pack(cmd.Context(), args, output, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "write to this name")
	flags.StringVar(&profile, "profile", profile, "unixfs-v1-2025 or unixfs-v0-2015")
	flags.BoolVar(&opts.Hidden, "hidden", false, "also pack what begins with a dot")
	flags.BoolVar(&opts.Wrap, "wrap", false, "put a folder around a single path, too")
	flags.BoolVar(&opts.Index, "index", false, "write a CARv2 with an index inside")
	flags.BoolVar(&opts.Mode, "preserve-mode", false, "store the modes of files and folders")
	flags.BoolVar(&opts.ModTime, "preserve-mtime", false, "store when files and folders were last changed")
	a.jsonFlag(cmd)
	return cmd
}

// pack carries out the command "pack".
func (a *app) pack(ctx context.Context, paths []string, output string, opts pack.Options) error {
	bar := newProgress(a.stderr, "packing", nil, nil)
	if told := opts.Progress; told == nil {
		opts.Progress = bar.add
	} else {
		opts.Progress = func(n int64) { bar.add(n); told(n) }
	}
	surveyed, enough := context.WithCancel(ctx)
	var beside sync.WaitGroup
	var made pack.Made
	err := extract.SaveFile(output, func(w io.Writer) error {
		out, ok := w.(*os.File)
		if !ok {
			return fmt.Errorf("%T cannot be written at any place", w)
		}
		opts.Leave = filepath.Dir(out.Name())
		if bar != nil {
			beside.Go(func() { weigh(surveyed, paths, opts, bar.expect) })
		}
		var err error
		made, err = pack.Write(ctx, out, paths, opts)
		return err
	})
	enough()
	beside.Wait()
	bar.stop()
	if err != nil {
		return err
	}
	if a.jsonOut {
		return printJSON(a.stdout, packObject{made.Root.String(), output, made.Files, made.Blocks, made.Bytes})
	}
	a.notef("packed %s to %s: %s, %s", plural(made.Files, "file"), showText(output), plural(made.Blocks, "block"), showBytes(made.Bytes))
	_, err = fmt.Fprintln(a.stdout, made.Root)
	return err
}

// weigh tells how many bytes each file has that is to be packed, as far as that can be
// told.
func weigh(ctx context.Context, paths []string, opts pack.Options, expect func(size int64)) {
	leave, _ := os.Stat(opts.Leave) // what is not there is not come upon
	for _, path := range paths {
		// With a separator behind it, a symlink means its folder.
		root := path + string(filepath.Separator)
		if !isFolder(path) {
			root = path
		}
		// What cannot be looked at weighs nothing.
		_ = filepath.WalkDir(root, func(at string, entry fs.DirEntry, unseen error) error {
			switch {
			case ctx.Err() != nil:
				return fs.SkipAll
			case unseen != nil:
				return nil //nolint:nilerr // as it says above
			case at != root && !opts.Hidden && strings.HasPrefix(entry.Name(), "."):
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				expect(info.Size())
			} else if err == nil && leave != nil && os.SameFile(leave, info) {
				return fs.SkipDir
			}
			return nil
		})
	}
}
