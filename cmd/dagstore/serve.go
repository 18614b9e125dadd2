package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/gateway"
)

const (
	// defaultListen is reached from this machine alone, on a port that is
	// not Kubo's.
	defaultListen = "127.0.0.1:8447"
	// patience is how long answers under way may take when serve stops.
	patience = 10 * time.Second
)

func (a *app) serveCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve [PATH]...",
		Short: "Serve the store over HTTP, as an IPFS gateway",
		Long: `Serve the store over HTTP, as an IPFS gateway: raw blocks, CARs, files and
folders under /ipfs/. It listens at once; the paths, if any, are added beside
that, as "add" does, and what is indexed is served.

It listens on this machine's loopback address alone unless --listen names
another one. SIGINT or SIGTERM stops it cleanly, with exit code 0.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkListen(cmd.Context(), listen); err != nil {
				return exitError(exitUsage, err)
			}
			ctx := cmd.Context()
			return a.withStore(ctx, true, &dagstore.Config{Logger: a.logger(slog.LevelWarn)}, func(store *dagstore.Store) error {
				return a.serve(ctx, store, listen, args)
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", defaultListen, "address and port; port 0 takes any free one")
	return cmd
}

// checkListen tells what is wrong with an address before anything is opened.
func checkListen(ctx context.Context, listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	if err != nil {
		return fmt.Errorf("--listen %q: %w", listen, err)
	}
	return nil
}

// serve answers requests until ctx ends, which is its regular end.
func (a *app) serve(ctx context.Context, store *dagstore.Store, listen string, args []string) error {
	// Its answers name no shard and no source: the log does.
	handler, err := gateway.New(store, &gateway.Config{Logger: a.logger(slog.LevelWarn)})
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; choose another address by --listen", listen, err)
	}
	a.notef("serving http://%s/", listener.Addr())

	// Adding ends with serving, whichever way that comes to its end.
	ctx, stop := context.WithCancel(ctx)
	adding := make(chan struct{})
	go func() {
		defer close(adding)
		if len(args) > 0 {
			a.addBeside(ctx, store, args)
		}
	}()
	err = a.answer(ctx, listener, handler)
	stop()
	<-adding
	return err
}

// addBeside adds what args name. What fails is reported and ends nothing.
func (a *app) addBeside(ctx context.Context, store *dagstore.Store, args []string) {
	err := a.addTo(ctx, store, args, addDefaults())
	if err != nil && ctx.Err() == nil {
		a.notef("adding: %v", err)
	}
}

// answer serves handler on listener until ctx ends and then lets the answers
// under way end.
func (a *app) answer(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(a.logger(slog.LevelWarn).Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	a.notef("stopping")
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := server.Shutdown(waiting); errors.Is(err, context.DeadlineExceeded) {
		a.notef("answers that took longer than %v were cut off", patience)
		return server.Close()
	} else if err != nil {
		return err
	}
	return nil
}
