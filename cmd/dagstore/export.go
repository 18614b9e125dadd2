package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// exportOptions is how "export" was called.
type exportOptions struct {
	output  string
	indices string // folder for the indices; "": none
	prefix  string
}

func (a *app) exportCommand() *cobra.Command {
	var opts exportOptions
	cmd := &cobra.Command{
		Use:   "export [PREFIX]",
		Short: "Write the list of the shards, from which a store can be made again",
		Long: `Write the list of the shards whose keys begin with PREFIX, or of all: one JSON
object a line with key, mount, size, etag, piece, pin and labels, as "dagstore
import" and "dagstore add --from" read it. It goes to standard output, or to the
file that -o names, whole or not at all; what is there already is never
overwritten. The store may be in use: a shard that changes meanwhile is in the
list as it was before or after the change.

With --with-indices the indices are written to a folder, which must be new or
empty. "dagstore import --with-indices" takes them from there and reads no CAR.

A list holds no secrets, no CARs, no copies and no manifests: "dagstore backup"
takes along all that is in the store's folder.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				opts.prefix = args[0]
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.export(ctx, store, opts)
			})
		},
	}
	cmd.Flags().StringVarP(&opts.output, "output", "o", "", "write to this name (default: standard output)")
	cmd.Flags().StringVar(&opts.indices, "with-indices", "", "also write the indices, to this folder")
	return cmd
}

// emptyFolder makes a folder, or makes sure that there is nothing in it.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	switch names, err := f.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s is not empty (there is %s): name a new folder", showText(dir), showText(names[0]))
	}
}

// export carries out the command "export".
func (a *app) export(ctx context.Context, store storage, opts exportOptions) error {
	if opts.indices != "" {
		if err := emptyFolder(opts.indices); err != nil {
			return err
		}
	}
	e := &exporter{app: a, store: store, opts: opts}
	write := func(w io.Writer) error { return e.list(ctx, w) }
	if opts.output == "" {
		if err := write(a.stdout); err != nil {
			return err
		}
	} else if err := extract.SaveFile(opts.output, write); err != nil {
		return err
	}
	where := ""
	if opts.output != "" {
		where = " to " + showText(opts.output)
	}
	a.notef("exported %s%s", plural(int64(e.t.done), "shard"), where)
	return e.t.err()
}

// An exporter writes one list.
type exporter struct {
	app   *app
	store storage
	opts  exportOptions
	t     tally
}

// An exports is a store that tells a list at once, and how many shards are missing
// from it, but not which.
type exports interface {
	Export(ctx context.Context, prefix string) iter.Seq2[wire.Entry, error]
}

// list writes a line for each shard.
func (e *exporter) list(ctx context.Context, w io.Writer) error {
	quick, is := e.store.(exports)
	if !is || e.opts.indices != "" {
		return e.each(ctx, w)
	}
	out := bufio.NewWriterSize(w, outBuffer)
	for entry, err := range quick.Export(ctx, e.opts.prefix) {
		if untold, some := errors.AsType[*client.UntoldError](err); some {
			e.app.notef("%v; \"dagstore ls\" says which and why", untold)
			e.t.failed, e.t.code = int(untold.N), exitFailed
			break
		}
		if err == nil {
			err = printJSON(out, entry)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("the list is not complete: %w", err), out.Flush())
		}
		e.t.add(nil)
	}
	return out.Flush()
}

// each writes a line for each shard. What cannot be told of one is reported,
// and the list goes on; it ends with any other error.
func (e *exporter) each(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, outBuffer)
	for info, err := range e.store.Shards(ctx, &dagstore.Filter{Prefix: e.opts.prefix}) {
		one, ofOne := errors.AsType[*shard.Error](err)
		if err != nil && !ofOne {
			return errors.Join(fmt.Errorf("the list is not complete: %w", err), out.Flush())
		}
		var entry wire.Entry
		if err == nil {
			if wire.StatusOf(info.State) == "removing" {
				continue
			}
			entry, err = wire.EntryOf(info)
		} else {
			info.Key = one.Key
		}
		if err == nil {
			if err := printJSON(out, entry); err != nil {
				return err
			}
			if e.opts.indices != "" {
				err = e.index(ctx, info)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			e.app.notef("%s: %v", showKey(info.Key), err)
		}
		e.t.add(itemError(err))
	}
	return out.Flush()
}

// index writes the index of a shard that has one to the folder for them, with
// all that the store knows, so that nobody has to read the CAR for it.
func (e *exporter) index(ctx context.Context, info shard.Info) error {
	if wire.StatusOf(info.State) != "ready" {
		return nil
	}
	held, err := e.store.Index(ctx, info.Key, true)
	if err != nil {
		return fmt.Errorf("its index: %w", err)
	}
	defer func() { _ = held.close() }() // it was only read
	return extract.SaveFile(indexFileOf(e.opts.indices, info.Key), func(w io.Writer) error {
		return index.Write(ctx, w, held.ix.All(), nil)
	})
}

// indexFileOf is where in a folder the index of a shard lies.
func indexFileOf(dir string, key shard.Key) string {
	return filepath.Join(dir, fileNameOf(key)+".car.idx")
}
