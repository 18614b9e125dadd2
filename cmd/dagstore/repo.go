package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
)

// mounts is every kind of source that this program can reach.
func mounts() mount.Registry {
	return mount.Registry{"file": filemount.Open}
}

// A place is a store's folder and the reason why it is meant.
type place struct {
	dir string
	why string
}

// locateStore says which store is meant: the flag's, else the environment's,
// else the one in the user's data directory. goos is runtime.GOOS.
func locateStore(flag, goos string, getenv func(string) string) (place, error) {
	if flag != "" {
		return place{flag, "--repo"}, nil
	}
	if dir := getenv("DAGSTORE_PATH"); dir != "" {
		return place{dir, "DAGSTORE_PATH"}, nil
	}
	dir, err := dataFolder(goos, getenv)
	if err != nil {
		return place{}, err
	}
	return place{filepath.Join(dir, "dagstore"), "default"}, nil
}

// dataFolder is where the programs of this user keep their data.
func dataFolder(goos string, getenv func(string) string) (string, error) {
	home := getenv("HOME")
	switch goos {
	case "windows":
		if dir := getenv("LocalAppData"); dir != "" {
			return dir, nil
		}
	case "darwin":
		if home != "" {
			return filepath.Join(home, "Library", "Application Support"), nil
		}
	default:
		// The XDG base directory specification: a relative path is ignored.
		if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return dir, nil
		}
		if home != "" {
			return filepath.Join(home, ".local", "share"), nil
		}
	}
	return "", exitError(exitUsage, errors.New("no data directory is known for this user: name the store by --repo DIR or DAGSTORE_PATH"))
}

// openStore opens the store that is meant and fills in the rest of cfg. If
// there is no store and create is set, it makes one and says so.
func (a *app) openStore(ctx context.Context, create bool, cfg *dagstore.Config) (*dagstore.Store, error) {
	at, err := locateStore(a.repo, runtime.GOOS, a.getenv)
	if err != nil {
		return nil, err
	}
	cfg.Mounts = mounts()
	cfg.NoCreate = true
	if cfg.Logger == nil {
		// What goes wrong with an item is told by the command itself.
		cfg.Logger = a.logger(slog.LevelError)
	}
	store, err := dagstore.Open(ctx, at.dir, cfg)
	if create && errors.Is(err, dagstore.ErrNoStore) {
		cfg.NoCreate = false
		if store, err = dagstore.Open(ctx, at.dir, cfg); err == nil {
			a.notef("made a new store in %s (%s)", at.dir, at.why)
		}
	}
	if err != nil {
		return nil, at.explain(err, create)
	}
	return store, nil
}

// explain says which folder was meant and why, and what to do about err.
func (at place) explain(err error, create bool) error {
	hint := ""
	switch {
	case errors.Is(err, dagstore.ErrNoStore) && create:
		hint = `: name an empty or a new folder by --repo or DAGSTORE_PATH`
	case errors.Is(err, dagstore.ErrNoStore):
		hint = `: make one by "dagstore add PATH", or name another by --repo or DAGSTORE_PATH`
	case errors.Is(err, dagstore.ErrInUse):
		hint = `: wait until that process ends, or stop it`
	case errors.Is(err, dagstore.ErrVersion):
		hint = `: use the version of dagstore that wrote it, or add the CARs to a new store`
	case errors.Is(err, dagstore.ErrNoSpace):
		hint = `: make room on its disk`
	}
	return fmt.Errorf("%w (store %s, by %s)%s", err, at.dir, at.why, hint)
}

// logger writes what is at least as bad as level to standard error.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// withStore opens the store, calls f and closes the store again. What Close
// reports is an error of the command, unless f has one already.
func (a *app) withStore(ctx context.Context, create bool, cfg *dagstore.Config, f func(*dagstore.Store) error) error {
	store, err := a.openStore(ctx, create, cfg)
	if err != nil {
		return err
	}
	err = f(store)
	if closeErr := store.Close(); err == nil && closeErr != nil {
		return fmt.Errorf("closing the store: %w", closeErr)
	}
	return err
}
