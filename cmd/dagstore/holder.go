package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/outside"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/page"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// A holder is this process while it holds a store: it answers, on a socket,
// others that want something of it.
type holder struct {
	app    *app
	store  *dagstore.Store
	hub    *admin.Hub
	server *admin.Server // nil if nothing could be listened on
	http   []*http.Server

	meter          admin.Meter            // of the gateway
	gateway, admin atomic.Pointer[string] // URLs, once they are known
	watcher        atomic.Pointer[watch.Watcher]
}

// hold begins to answer. That there is no place for a socket does not end the
// command: the store is then this process's alone.
func (a *app) hold(ctx context.Context, store *dagstore.Store, hub *admin.Hub, dir string) *holder {
	h := &holder{app: a, store: store, hub: hub}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return h
	}
	cfg := h.config(dir)
	if h.server, err = admin.New(store, cfg); err != nil {
		a.notef("others cannot use the store through this process: %v", err)
		return h
	}
	r, err := meet(dir, a.settings.Admin.Socket, a.getenv)
	if err == nil {
		var listener net.Listener
		if listener, err = r.listen(ctx); err == nil {
			h.serve(listener, h.server.Local())
		}
	}
	if err != nil {
		a.logger(slog.LevelError).Warn("others cannot use the store through this process", "error", err)
	}
	return h
}

// config is that of the API.
func (h *holder) config(dir string) *admin.Config {
	a := h.app
	url := func(p *atomic.Pointer[string]) func() string {
		return func() string {
			if s := p.Load(); s != nil {
				return *s
			}
			return ""
		}
	}
	level := slog.LevelError
	if h.serves() {
		level = slog.LevelInfo // what others have changed is written down
	}
	var tokens *admin.Tokens
	var meter *admin.Meter
	var site http.Handler
	if h.serves() {
		tokens, meter, site = a.tokens(), &h.meter, page.New()
	}
	return &admin.Config{
		Meter: meter, Page: site, Watched: h.watchedPlaces,
		Outside: outside.URL, Tokens: tokens, Hub: h.hub, Mounts: a.mounts, Logger: a.logger(level),
		Program: versionOf(readBuild()).Version, Folder: dir, Command: a.command,
		Gateway: url(&h.gateway), Admin: url(&h.admin), Hosts: a.settings.Admin.Hosts,
		Add: func(ctx context.Context, job wire.AddJob, list io.Reader, outside func(string) string, told *admin.Progress) error {
			return a.addForOthers(ctx, h, job, list, outside, told)
		},
	}
}

// serves reports whether this process stays.
func (h *holder) serves() bool { return h.app.command == serveCommandPath }

// serve answers on a listener.
func (h *holder) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(h.app.logger(slog.LevelError).Handler(), slog.LevelWarn),
	}
	h.http = append(h.http, server)
	go func() { _ = server.Serve(listener) }() // it ends with Shutdown
}

// leave answers nobody new. What others have begun is waited for, unless ctx
// has ended.
func (h *holder) leave(ctx context.Context) {
	if h.server == nil {
		return
	}
	if n := h.server.Busy(); n > 0 && ctx.Err() == nil && !h.serves() {
		h.app.notef("this process holds the store, and others have begun %s in it: it ends with them, or by Ctrl-C", plural(int64(n), "job"))
		_ = h.server.Wait(ctx) // then they are cut off
	}
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, server := range h.http {
			if err := server.Shutdown(waiting); errors.Is(err, context.DeadlineExceeded) {
				_ = server.Close() // they have had their time
			}
		}
	}()
	h.server.Stop()
	<-ended
	if err := h.server.Close(); err != nil {
		h.app.notef("ending jobs: %v", err)
	}
}
