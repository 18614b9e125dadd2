package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) unpackCommand() *cobra.Command {
	var output, root string
	cmd := &cobra.Command{
		Use:   "unpack FILE.car|CID -o DIR",
		Short: "Write the files of a CAR, or of the store, to disk",
		Long: `Write the files and folders of a CAR to disk, or what lies at a CID in the store.
A CAR needs no store. Of one that has several roots, or none, --root says which
is meant; it may have a path behind it.

Without -o it goes to the current folder, under the name of the CAR without
".car". It is written aside and renamed when it is complete, so a result is a
whole one; what is there already is never overwritten. Every block is held
against its CID. Symlinks that lead out of the folder are left out: that is exit
code 4. Modes and times are set where the CAR has them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("output") && output == "" {
				return exitError(exitUsage, errors.New("-o takes a name"))
			}
			ctx := cmd.Context()
			if _, err := extract.ParsePath(args[0]); err == nil && !isFile(args[0]) {
				if root != "" {
					return exitError(exitUsage, errors.New("--root is of a CAR: put the path behind the CID"))
				}
				return a.resolved(ctx, args[0], func(r *extract.Reader, p extract.Path, c cid.Cid) error {
					dst, err := outputOf(output, p.Name())
					if err != nil {
						return err
					}
					return a.get(ctx, r, c, dst, "file")
				})
			}
			dst, err := outputOf(output, strings.TrimSuffix(filepath.Base(args[0]), ".car"))
			if err != nil {
				return err
			}
			if filepath.Clean(dst) == filepath.Clean(args[0]) {
				return exitError(exitUsage, errors.New("name the folder by -o DIR: without it, it would have the name of the CAR"))
			}
			return a.unpack(ctx, args[0], root, dst)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this name (default: ./NAME)")
	cmd.Flags().StringVar(&root, "root", "", "CID[/PATH] in the CAR (default: its only root)")
	a.jsonFlag(cmd)
	return cmd
}

// outputOf is where a result goes: what -o says, else name in the current folder.
func outputOf(output, name string) (string, error) {
	if output != "" {
		return output, nil
	}
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return "", exitError(exitUsage, fmt.Errorf("no file can be called %q here: give another name by -o", name))
	}
	return "." + string(filepath.Separator) + name, nil
}

// unpack writes what is in the CAR file to dst. It has a store for itself
// meanwhile, which bounds and checks all that is read as any other does.
func (a *app) unpack(ctx context.Context, file, root, dst string) (err error) {
	m, err := filemount.New(file)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dagstore-unpack-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := dagstore.Open(ctx, filepath.Join(dir, "store"), &dagstore.Config{
		Mounts: mount.Registry{"file": filemount.Open}, Copies: dagstore.Copies{None: true},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	const key shard.Key = "car"
	if err := store.Register(ctx, key, m, &dagstore.RegisterOptions{Index: dagstore.Scan}); err != nil {
		return fmt.Errorf("%s: %w", showText(file), err)
	}
	acc, err := store.Acquire(ctx, key, nil)
	if err != nil {
		return err
	}
	defer func() { _ = acc.Close() }() // it always succeeds
	at, err := rootOf(acc.Roots(), root)
	if err != nil {
		return err
	}
	r := extract.New(acc.Blockstore())
	c, err := r.Resolve(ctx, at)
	if err == nil {
		err = a.get(ctx, r, c, dst, "file")
	}
	return readError(err)
}

// rootOf is what of a CAR is unpacked.
func rootOf(roots []cid.Cid, wanted string) (extract.Path, error) {
	const most = 10
	switch {
	case wanted != "":
		p, err := extract.ParsePath(wanted)
		return p, readError(err)
	case len(roots) == 1:
		return extract.Path{Root: roots[0]}, nil
	case len(roots) == 0:
		return extract.Path{}, exitError(exitUsage, errors.New("the CAR has no root: name a block in it by --root CID"))
	}
	names := make([]string, 0, most)
	for _, c := range roots[:min(most, len(roots))] {
		names = append(names, c.String())
	}
	return extract.Path{}, exitError(exitUsage, fmt.Errorf("the CAR has %d roots: choose one by --root, such as %s", len(roots), strings.Join(names, ", ")))
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
