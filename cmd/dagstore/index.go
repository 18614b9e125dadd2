package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) indexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Look at indices, check them, take them in and give them out",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.indexInspectCommand(), a.indexVerifyCommand(), a.indexExportCommand(), a.indexImportCommand())
	return cmd
}

// targetHelp is what the help of a command says of KEY|FILE.
const targetHelp = `KEY|FILE is a file, if there is one of that name: an index, or a CARv2 with an
index inside. Otherwise it is the key of a shard; --key says that it is one.`

// An indexTarget is the index that a command is about.
type indexTarget struct {
	name    string
	bytes   int64          // of the index; -1: it is a shard's
	ix      index.Index    // nil: it knows digests only
	file    *index.File    // nil: it is a shard's, or knows digests only
	digests *index.Digests // nil unless it knows digests only
	car     io.ReadSeeker  // the shard's; nil for a file
}

// withIndex calls f with the index of KEY or in FILE.
func (a *app) withIndex(ctx context.Context, name string, isKey bool, f func(*indexTarget) error) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && !isKey {
		return withIndexFile(ctx, name, f)
	}
	return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
		held, err := store.Index(ctx, shard.Key(name), false)
		if err != nil {
			return err
		}
		err = f(&indexTarget{name: name, bytes: -1, ix: held.ix, car: held.car})
		return errors.Join(err, held.close())
	})
}

// withIndexFile calls f with the index in a file.
func withIndexFile(ctx context.Context, name string, f func(*indexTarget) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	t, err := indexIn(ctx, file)
	if err != nil {
		return fmt.Errorf("%s: %w", showText(name), err)
	}
	t.name = name
	return f(t)
}

// indexIn opens the index that a file is, or that is inside of it.
func indexIn(ctx context.Context, file *os.File) (*indexTarget, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	from, size := int64(0), info.Size()
	format, err := index.FormatOf(file)
	if err != nil {
		return nil, err
	}
	if format == index.UnknownFormat {
		h, err := car.ReadHeader(ctx, file, car.Options{Size: size})
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: it is neither an index nor a CARv2 with one: %w", index.ErrDamaged, err)
		case h.IndexOffset == 0:
			return nil, exitError(exitNotFound, errors.New("this CAR has no index inside"))
		}
		from, size = h.IndexOffset, size-h.IndexOffset
		if format, err = index.FormatOf(io.NewSectionReader(file, from, size)); err != nil {
			return nil, err
		}
	}
	t := &indexTarget{bytes: size}
	at := io.NewSectionReader(file, from, size)
	switch format {
	case index.MultihashSorted:
		t.file, err = index.NewFile(at, size)
		t.ix = t.file
	case index.DigestsSorted:
		t.digests, err = index.NewDigests(at, size)
	default:
		err = fmt.Errorf("%w: the index inside is of an unknown format", index.ErrDamaged)
	}
	return t, err
}

// keyFlag adds --key to a command that takes KEY|FILE.
func keyFlag(cmd *cobra.Command, isKey *bool) {
	cmd.Flags().BoolVar(isKey, "key", false, "it is a key, even if a file has that name")
}
