package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// An exportObject is what "index export --all --json" prints for each shard.
type exportObject struct {
	Key     string `json:"key"`
	File    string `json:"file,omitempty"`
	Records int64  `json:"records"`
	Error   string `json:"error,omitempty"`
}

func (a *app) indexExportCommand() *cobra.Command {
	var output, all string
	var force, isKey bool
	cmd := &cobra.Command{
		Use:   "export KEY|FILE",
		Short: "Write an index for other tools",
		Long: `Write an index as a bare MultihashIndexSorted, which go-car and others read: to
standard output, or to the file that -o names. As NAME.car.idx beside NAME.car
it is found by "dagstore add --index sample" and others. ` + targetHelp + `

With --all the indices of all indexed shards are written to a folder, each as
NAME.car.idx. The name is the key: letters and digits, "-", "_" and "." stand
for themselves, every other byte becomes "%" and two hexadecimal digits; a key
that is too long, or that some file system would confuse with another, gets a
"~" and a part of its hash. What is there already is never overwritten.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switch {
			case all != "" && (len(args) > 0 || output != ""):
				return exitError(exitUsage, errors.New("--all is for all shards: leave out KEY and -o"))
			case all != "":
				return a.exportAll(ctx, all)
			case len(args) == 0:
				return exitError(exitUsage, errors.New("name a shard or a file, or a folder by --all"))
			}
			return a.withIndex(ctx, args[0], isKey, func(t *indexTarget) error {
				if t.ix == nil {
					return exitError(exitFailed, errors.New("an IndexSorted does not say of which hash functions its entries are"))
				}
				write := func(w io.Writer) error { return index.WriteBare(w, t.ix) }
				if output == "" {
					return a.toStdout(force, write)
				}
				if err := extract.SaveFile(output, write); err != nil {
					return err
				}
				return a.savedAs(output, nil)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this name (default: standard output)")
	cmd.Flags().StringVar(&all, "all", "", "write the indices of all shards to this folder")
	forceFlag(cmd, &force)
	keyFlag(cmd, &isKey)
	a.jsonFlag(cmd)
	return cmd
}

// exportAll writes the index of every shard that has one to dir.
func (a *app) exportAll(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
		var t tally
		out := bufio.NewWriter(a.stdout)
		for info, err := range store.Shards(ctx, &dagstore.Filter{States: []shard.State{shard.Available, shard.Serving}}) {
			if err != nil {
				return err
			}
			o := exportObject{Key: string(info.Key)}
			err := exportTo(ctx, store, dir, &o)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				o.Error = err.Error()
				a.notef("%s: %v", showKey(info.Key), err)
			}
			t.add(itemError(err))
			if err := a.printExport(out, o); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		return t.err()
	})
}

// exportTo writes the index of one shard.
func exportTo(ctx context.Context, store storage, dir string, o *exportObject) error {
	held, err := store.Index(ctx, shard.Key(o.Key), true)
	if err != nil {
		return err
	}
	defer func() { _ = held.close() }() // it was only read
	name := filepath.Join(dir, fileNameOf(shard.Key(o.Key))+".car.idx")
	err = extract.SaveFile(name, func(w io.Writer) error { return index.WriteBare(w, held.ix) })
	if err == nil {
		o.File, o.Records = name, held.ix.Len()
	}
	return err
}

func (a *app) printExport(w io.Writer, o exportObject) error {
	if a.jsonOut {
		return printJSON(w, o)
	}
	if o.Error != "" {
		return nil // said on standard error
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s\n", showKey(shard.Key(o.Key)), showText(o.File), plural(o.Records, "record"))
	return err
}

// longestName is how many bytes of a key's spelling stand in the name of a
// file; with a hash and an extension it is below the 255 of file systems.
const longestName = 160

// fileNameOf is the name under which the index of a shard is exported: another
// for each key, on file systems that do not tell upper from lower case, too,
// and never one that leads somewhere else or means something to a system.
func fileNameOf(key shard.Key) string {
	const hexadecimal = "0123456789ABCDEF"
	var b strings.Builder
	hashed := false
	for i := range len(key) {
		c := key[i]
		switch {
		case 'A' <= c && c <= 'Z':
			hashed = true
			b.WriteByte(c)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-' && i > 0, c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexadecimal[c>>4])
			b.WriteByte(hexadecimal[c&15])
		}
	}
	name := b.String()
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	if hashed || len(name) > longestName || reserved(base) {
		sum := sha256.Sum256([]byte(key))
		name = name[:min(len(name), longestName)] + "~" + hex.EncodeToString(sum[:16])
		if reserved(base) {
			name = "_" + name
		}
	}
	return name
}

// reserved tells the names that mean a device on Windows, whatever follows
// them after a dot.
func reserved(base string) bool {
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	rest, ok := strings.CutPrefix(base, "com")
	if !ok {
		rest, ok = strings.CutPrefix(base, "lpt")
	}
	return ok && len(rest) == 1 && '0' <= rest[0] && rest[0] <= '9'
}
