package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
)

// serveCommandPath is how the command is called.
const serveCommandPath = "dagstore serve"

func (a *app) serveCommand() *cobra.Command {
	var flags servingFlags
	var watched []string
	var admin string
	cmd := &cobra.Command{
		Use:   "serve [PATH]...",
		Short: "Serve the store over HTTP, as an IPFS gateway",
		Long: `Serve the store over HTTP, as an IPFS gateway: raw blocks, CARs, files and
folders under /ipfs/, and pieces under /piece/. It listens at once; the paths, if any, are added beside
that, as "add" does, and what is indexed is served. What --watch names, a folder,
a prefix (s3://bucket/prefix/) or a list (.ndjson), is taken up as it comes there.

Other commands use the store through this process, over a socket that is this
user's alone. The page and the API of --admin are for who has a token, or a link
that "dagstore ui" prints.

It listens on this machine's loopback address alone unless --listen names
another one. SIGINT or SIGTERM stops it cleanly, with exit code 0.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := a.newServing(ctx, cmd, &flags)
			if err != nil {
				return err
			}
			places, err := a.places(watched)
			if err != nil {
				return exitError(exitUsage, err)
			}
			at, err := a.adminAt(ctx, admin, cmd.Flags().Changed("admin"))
			if err != nil {
				return exitError(exitUsage, err)
			}
			cfg := &dagstore.Config{Logger: a.logger(slog.LevelWarn), Retry: dagstore.Retry{When: dagstore.OnOpen}, Metrics: s.registry}
			return a.withEither(ctx, true, cfg, func(h *holder) error {
				if err := h.serveAdmin(ctx, at); err != nil {
					return err
				}
				return a.serve(ctx, h, s, args, places)
			}, nil)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&admin, "admin", defaultAdmin, "address and port on this machine of the page and the API; none: neither")
	cmd.Flags().StringArrayVar(&watched, "watch", nil, "keep taking up what comes to this folder, prefix or list; may be repeated")
	return cmd
}

// serve answers requests until ctx ends, which is its regular end.
func (a *app) serve(ctx context.Context, h *holder, s *serving, args []string, places []watch.Place) error {
	store := h.store
	watcher, err := a.watcher(store, places)
	if err != nil {
		return exitError(exitUsage, err)
	}
	if watcher != nil {
		h.watcher.Store(watcher)
		s.registry.MustRegister(watcher)
	}
	listener, handler, err := s.open(ctx, store)
	if err != nil {
		return err
	}
	a.notef("serving %s://%s/", s.scheme(), listener.Addr())
	h.gateway.Store(new(s.scheme() + "://" + listener.Addr().String()))

	defer a.supervised(ctx, store).close()

	// Adding ends with serving, whichever way that comes to its end.
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() {
		if len(args) > 0 {
			a.addBeside(ctx, store, args)
		}
	})
	beside.Go(func() { watchBeside(ctx, watcher) })
	err = s.run(ctx, h, listener, handler)
	stop()
	beside.Wait()
	return err
}

// addBeside adds what args name. What fails is reported and ends nothing.
func (a *app) addBeside(ctx context.Context, store *dagstore.Store, args []string) {
	opts := addDefaults()
	opts.logged = true
	err := a.addTo(ctx, ownStore{store}, args, opts)
	if err != nil && ctx.Err() == nil {
		a.notef("adding: %v", err)
	}
}
