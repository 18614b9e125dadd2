package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// addOptions is how "add" was called.
type addOptions struct {
	list     string
	include  []string
	prefix   string
	key      string
	lazy     bool
	verify   bool
	jobs     int
	failFast bool
	dryRun   bool

	serve string // name of a mode
	mode  shard.Mode

	index     string // name of an index policy
	indexFile string // path or URL of the index of a single CAR
	indices   string // folder with those of the CARs that a list names
	piece     string // piece CID of a single CAR
	policy    dagstore.IndexPolicy

	logged bool // the log of the process tells of work that failed
}

// addDefaults is "add" without a flag.
func addDefaults() addOptions {
	return addOptions{include: []string{"*.car"}, jobs: runtime.GOMAXPROCS(0), index: "auto", serve: "auto"}
}

func (a *app) addCommand() *cobra.Command {
	opts := addDefaults()
	cmd := &cobra.Command{
		Use:   "add [PATH|DIR|URL]...",
		Short: "Add CARs to the store, where they lie",
		Long: `Add CARs to the store: files, the *.car files below folders, URLs, and what a
list names. They are read once to be indexed and stay where they are.

A shard's key is the CAR's path below the argument, without ".car", after
--prefix; or --key. Bytes of a path that are not UTF-8 are percent-encoded in
the key. The same source again is "unchanged"; another source under a used key
is an error. A bad CAR is reported and leaves nothing behind; the rest goes on.
When it was stopped, run the same command again: it goes on where it was.

--index says what becomes of an index that came with a CAR (inside a CARv2, or
beside it as NAME.car.idx): "scan" and "hop" make one of the CAR alone, from end
to end or by the heads of its blocks; "check" holds it against the CAR, "sample"
some of it, "adopt" nothing until the CAR is read in the background, by a process
that stays, as "serve" does. "auto" reads a CAR on this machine, and samples the
index of one elsewhere. One that is wrong is told of, and the CAR is read.

A list (--from) holds one URL a line, or one JSON object a line:
  {"key":"photos","mount":"file:///srv/photos.car","size":123,"etag":"x",
   "piece":"baga...","index":"...","pin":true,"labels":{"owner":"me"}}
Only "mount" is needed. --prefix applies to keys that are made, not to given ones.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := opts.check(args)
			if err == nil {
				opts.policy, err = wire.ParsePolicy(opts.index)
			}
			if err == nil {
				opts.mode, err = wire.ParseMode(opts.serve)
			}
			if err != nil {
				return exitError(exitUsage, err)
			}
			return a.add(cmd.Context(), args, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.list, "from", "", "also add what this list names; - is standard input")
	flags.StringArrayVar(&opts.include, "include", opts.include, "in folders, take files that match this glob; may be repeated")
	flags.StringVar(&opts.prefix, "prefix", "", "begin every key with this, as it is")
	flags.StringVar(&opts.key, "key", "", "key of a single CAR")
	flags.BoolVar(&opts.lazy, "lazy", false, "do not read the CARs now; index each when it is first used")
	flags.BoolVar(&opts.verify, "verify", false, "hash every block while indexing")
	flags.StringVar(&opts.serve, "serve", opts.serve, "auto, inplace, sparse or copy: how a CAR that lies elsewhere is read")
	flags.StringVar(&opts.index, "index", opts.index, "auto, scan, hop, check, sample or adopt")
	flags.StringVar(&opts.indexFile, "index-file", "", "path or URL of the index of a single CAR")
	flags.StringVar(&opts.piece, "piece", "", "piece CID of a single CAR, of either version")
	flags.IntVarP(&opts.jobs, "jobs", "j", opts.jobs, "how many CARs to read at once")
	flags.BoolVar(&opts.failFast, "fail-fast", false, "stop at the first CAR that fails")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "change nothing, say what would be done")
	a.jsonFlag(cmd)
	return cmd
}

// check tells what is wrong with the command line.
func (o *addOptions) check(args []string) error {
	switch {
	case len(args) == 0 && o.list == "":
		return errors.New("nothing to add: name files, folders or URLs, or a list by --from")
	case o.key != "" && (len(args) != 1 || o.list != ""):
		return errors.New("--key names a single CAR")
	case o.key != "" && o.prefix != "":
		return errors.New("--key is the whole key: leave out --prefix")
	case o.lazy && o.verify:
		return errors.New("--lazy reads no CAR now, --verify reads all of it: choose one")
	case o.indexFile != "" && (len(args) != 1 || o.list != ""):
		return errors.New("--index-file is of a single CAR")
	case o.piece != "" && (len(args) != 1 || o.list != ""):
		return errors.New("--piece is of a single CAR")
	case o.verify && o.index != "auto":
		return errors.New("--verify reads every block: leave out --index")
	case o.verify && o.indexFile != "":
		return errors.New("--verify reads every block: leave out --index-file")
	case o.indexFile != "" && (o.index == "scan" || o.index == "hop"):
		return fmt.Errorf("--index %s uses no index: leave out --index-file", o.index)
	case o.jobs < 1:
		return fmt.Errorf("-j %d: it takes at least one", o.jobs)
	}
	if o.key != "" {
		if err := shard.Key(o.key).Validate(); err != nil {
			return err
		}
		if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a folder: --key names a single CAR, --prefix is for many", showText(args[0]))
		}
	}
	if o.piece != "" {
		if _, err := pieceCID(o.piece); err != nil {
			return fmt.Errorf("--piece: %w", err)
		}
		if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a folder: --piece is of a single CAR", showText(args[0]))
		}
	}
	for _, glob := range o.include {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("--include %q: %w", glob, err)
		}
	}
	return nil
}

// config is the store's configuration for this command.
func (o *addOptions) config() *dagstore.Config {
	return &dagstore.Config{Work: dagstore.Work{Indexings: o.jobs}}
}

// sources is where the command line says to look.
func (a *app) sources(args []string, opts addOptions) *sources {
	return &sources{
		args:    args,
		list:    opts.list,
		stdin:   a.stdin,
		include: opts.include,
		prefix:  opts.prefix,
		key:     opts.key,
		index:   opts.indexFile,
		indices: opts.indices,
		mounts:  a.mounts,
		listers: a.listers,
	}
}
