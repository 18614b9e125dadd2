package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"github.com/multiformats/go-multihash"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) manifestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Keep named sets of blocks of a shard",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.manifestListCommand(), a.manifestShowCommand(), a.manifestPutCommand(), a.manifestRmCommand())
	return cmd
}

func (a *app) manifestListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list KEY",
		Short: "List the manifests of a shard",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, key := cmd.Context(), shard.Key(args[0])
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				var t tally
				for m, err := range store.Manifests(ctx, key) {
					switch {
					case errors.Is(err, shard.ErrIndex): // of one manifest
						a.notef("%v", err)
					case err != nil:
						return err
					default:
						err = a.printManifest(key, m)
						if err != nil {
							return err
						}
					}
					t.add(err)
				}
				return t.err()
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printManifest(key shard.Key, m dagstore.Manifest) error {
	if a.jsonOut {
		return printJSON(a.stdout, wire.ManifestOf(string(key), m))
	}
	line := fmt.Sprintf("%s  %s  version %d", showText(m.Name), plural(m.Count, "member"), m.Version)
	if m.Rule != "" {
		line += "  " + showText(m.Rule)
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

// A memberObject is what "manifest show --json" prints.
type memberObject struct {
	Multihash string `json:"multihash"` // in base58
}

func (a *app) manifestShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show KEY NAME",
		Short: "Print the members of a manifest, a multihash a line",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				out := bufio.NewWriter(a.stdout)
				for mh, err := range store.Members(ctx, shard.Key(args[0]), args[1]) {
					if err != nil {
						return errors.Join(out.Flush(), err)
					}
					if a.jsonOut {
						err = printJSON(out, memberObject{mh.B58String()})
					} else {
						_, err = fmt.Fprintln(out, mh.B58String())
					}
					if err != nil {
						return err
					}
				}
				return out.Flush()
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) manifestPutCommand() *cobra.Command {
	var m dagstore.Manifest
	var opts dagstore.ManifestOptions
	cmd := &cobra.Command{
		Use:   "put KEY NAME [FILE]",
		Short: "Store a set of multihashes of a shard under a name",
		Long: `Store a set of multihashes of a shard under a name, in place of the one of that
name. They are read from FILE, or from standard input: one a line, as a CID of
any version or as a multihash in base58 or hexadecimal. Empty lines are passed
over. Each must be in the shard. After an error nothing has changed.`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in := a.stdin
			if len(args) == 3 {
				file, err := os.Open(args[2])
				if err != nil {
					return err
				}
				defer file.Close() // it was only read
				in = file
			}
			m.Name = args[1]
			from := &anew{in: in}
			ctx, key := cmd.Context(), shard.Key(args[0])
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				members, err := from.start()
				if err != nil {
					return err
				}
				return a.putManifest(ctx, store, key, m, membersOf(members), &opts)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&m.Rule, "rule", "", "by which the members were chosen, for whoever reads it")
	flags.Uint64Var(&m.Version, "rule-version", 0, "version of the rule")
	flags.BoolVar(&opts.Loose, "loose", false, "take multihashes that are not in the shard, too")
	a.jsonFlag(cmd)
	return cmd
}

// anew is what a command reads that may be carried out a second time, since the
// process that held the store has ended: then only all of it will do.
type anew struct {
	in io.Reader

	mu   sync.Mutex
	turn int  // which reader is the one that may read
	read bool // something was asked of in

	busy sync.Mutex // one reads of in, which may take long
}

// start returns what reads it from the beginning, or says that there is no way back. It
// does not wait for who still reads of what cannot be read again. One that it has
// returned before reads no more.
func (r *anew) start() (io.Reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	if !r.read {
		return &turn{r, r.turn}, nil
	}
	if file, ok := r.in.(*os.File); ok {
		if _, err := file.Seek(0, io.SeekCurrent); err == nil { // nor does reading of it take long
			r.busy.Lock()
			defer r.busy.Unlock()
			if _, err := file.Seek(0, io.SeekStart); err == nil {
				r.read = false
				return &turn{r, r.turn}, nil
			}
		}
	}
	return nil, errors.New("the process that held the store has ended, and had some of what was sent here: run the command again, with all of it")
}

// A turn reads once what may be read anew.
type turn struct {
	of *anew
	n  int
}

// Read implements [io.Reader].
func (t *turn) Read(p []byte) (int, error) {
	r := t.of
	r.mu.Lock()
	if t.n != r.turn {
		r.mu.Unlock()
		return 0, os.ErrClosed
	}
	r.read = true
	r.busy.Lock()
	r.mu.Unlock()
	defer r.busy.Unlock()
	return r.in.Read(p)
}

func (a *app) putManifest(
	ctx context.Context, store storage, key shard.Key, m dagstore.Manifest,
	members iter.Seq2[multihash.Multihash, error], opts *dagstore.ManifestOptions,
) error {
	put, err := store.PutManifest(ctx, key, m, members, opts)
	if err != nil {
		return err
	}
	return a.printManifest(key, put)
}

// membersOf reads the members of a manifest. A line that is none is a wrong command
// line.
func membersOf(in io.Reader) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for mh, err := range wire.ReadMembers(in) {
			if bad, ok := errors.AsType[*wire.LineError](err); ok {
				err = exitError(exitUsage, bad)
			}
			if !yield(mh, err) {
				return
			}
		}
	}
}

// A forgottenObject is what "manifest rm --json" prints.
type forgottenObject struct {
	Key  string `json:"key"`
	Name string `json:"name"` // of the manifest that is no more
}

func (a *app) manifestRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm KEY NAME...",
		Short: "Forget manifests of a shard, never its blocks",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.each(ctx, &dagstore.Config{}, args[1:], a.forgetting(ctx, shard.Key(args[0])))
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// forgetting forgets manifests of a shard.
func (a *app) forgetting(ctx context.Context, key shard.Key) deed {
	forgotten := func(name string) error {
		if !a.jsonOut {
			return nil
		}
		return printJSON(a.stdout, forgottenObject{string(key), name})
	}
	return deed{
		do: func(store storage, name string) error {
			if err := store.RemoveManifest(ctx, key, name); err != nil {
				return err
			}
			return forgotten(name)
		},
		was: func(store storage, name string) (bool, error) {
			// A list does not say which manifest is one that is damaged.
			if err := store.RemoveManifest(ctx, key, name); err != nil && !errors.Is(err, dagstore.ErrNoManifest) {
				return false, err
			}
			return true, forgotten(name)
		},
	}
}
