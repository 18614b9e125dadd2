package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// rmOptions is how "rm" was called.
type rmOptions struct {
	wait, force, dryRun bool
}

func (a *app) rmCommand() *cobra.Command {
	var opts rmOptions
	cmd := &cobra.Command{
		Use:   "rm KEY...",
		Short: "Remove shards from the store, never their sources",
		Long: `Remove shards from the store: their records, their indices and what is kept of
them in the store's folder. A source is never touched.

A shard that somebody holds is refused, unless --wait or --force says otherwise.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.wait && opts.force {
				return exitError(exitUsage, errors.New("--wait and --force exclude each other"))
			}
			ctx := cmd.Context()
			r := &remover{app: a, opts: opts}
			return a.eachKey(ctx, &dagstore.Config{}, args, deed{
				do:  func(store storage, key string) error { return r.one(ctx, store, shard.Key(key)) },
				was: func(store storage, key string) (bool, error) { return r.wasRemoved(ctx, store, shard.Key(key)) },
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.wait, "wait", false, "wait until nobody holds the shard")
	flags.BoolVar(&opts.force, "force", false, "end the reads of those who hold the shard")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "change nothing, say what would be removed")
	a.jsonFlag(cmd)
	return cmd
}

// A remover carries out one command.
type remover struct {
	app  *app
	opts rmOptions
	last shard.Info // as it was before it was to be removed
}

func (r *remover) one(ctx context.Context, store storage, key shard.Key) (err error) {
	switch r.last, err = store.Info(ctx, key); {
	case err != nil:
		return err
	case r.opts.dryRun:
		return r.tell("would remove")
	}
	if err := store.Destroy(ctx, key, &dagstore.DestroyOptions{Held: r.opts.held()}); err != nil {
		return err
	}
	return r.removed()
}

// wasRemoved looks whether the last shard is gone. One of the same key that was
// registered at another moment is another one.
func (r *remover) wasRemoved(ctx context.Context, store storage, key shard.Key) (bool, error) {
	info, err := store.Info(ctx, key)
	if errors.Is(err, shard.ErrUnknown) || err == nil && !info.Registered.Equal(r.last.Registered) {
		return true, r.removed()
	}
	return false, err
}

func (r *remover) removed() error {
	r.last.State = shard.Gone
	return r.tell("removed")
}

// tell says what was, or would be, done with the last one.
func (r *remover) tell(verb string) error {
	info := r.last
	if r.app.jsonOut {
		return printJSON(r.app.stdout, wire.ShardOf(info))
	}
	_, err := fmt.Fprintf(r.app.stdout, "%s  %s  frees the index of %s and %s of copies; %s is left as it is\n",
		verb, showKey(info.Key), plural(info.Sections, "block"), showBytes(info.Local.Bytes), info.URL)
	return err
}

func (o rmOptions) held() dagstore.HeldPolicy {
	switch {
	case o.wait:
		return dagstore.Wait
	case o.force:
		return dagstore.Force
	}
	return dagstore.Refuse
}
