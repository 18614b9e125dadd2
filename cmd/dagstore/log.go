package main

import (
	"context"
	"log/slog"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/logfold"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/tracing"
)

// logger writes what is at least as bad as level to standard error, as the
// configuration says. All loggers fold together what repeats.
func (a *app) logger(level slog.Level) *slog.Logger {
	a.logging.Do(func() {
		opts := &slog.HandlerOptions{Level: slog.LevelDebug}
		var to slog.Handler = slog.NewTextHandler(a.stderr, opts)
		if a.settings.Log.Format == "json" {
			to = slog.NewJSONHandler(a.stderr, opts)
		}
		a.log = logfold.New(to, logfold.Config{})
	})
	if said := a.settings.Log.Level; said != nil {
		level = *said
	}
	return slog.New(leveled{a.log, level})
}

// closeLog writes what was folded.
func (a *app) closeLog() {
	if a.log != nil {
		_ = a.log.Close() // who cannot write a log has nowhere to say so
	}
}

// leveled lets pass what is bad enough.
type leveled struct {
	slog.Handler
	least slog.Level
}

func (l leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }

func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.least}
}

func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.least}
}

// trace has cfg send spans, if the environment says where to. What it returns
// sends the rest of them.
func (a *app) trace(ctx context.Context, cfg *dagstore.Config) (end func(), err error) {
	spans, err := tracing.New(ctx, a.getenv, versionOf(readBuild()).Version, a.logger(slog.LevelWarn))
	switch {
	case err != nil:
		return nil, exitError(exitUsage, err)
	case spans == nil:
		return func() {}, nil
	}
	cfg.Traces = spans
	return func() {
		if err := spans.Close(); err != nil {
			a.notef("the last traces could not be sent: %v", err)
		}
	}, nil
}
