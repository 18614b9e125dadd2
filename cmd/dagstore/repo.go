package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/doctor"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// A place is a store's folder and the reason why it is meant.
type place struct {
	dir string
	why string
}

// locateStore says which store is meant: the flag's, else the environment's,
// else the configuration's, else the one in the user's data directory. goos is
// runtime.GOOS.
func locateStore(flag, configured, goos string, getenv func(string) string) (place, error) {
	if flag != "" {
		return place{flag, "--repo"}, nil
	}
	if dir := getenv("DAGSTORE_PATH"); dir != "" {
		return place{dir, "DAGSTORE_PATH"}, nil
	}
	if configured != "" {
		return place{configured, "the configuration"}, nil
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

// openStore opens the store that at is. If there is none and create is set, it
// makes one and says so. It opens none on a network file system.
func (a *app) openStore(ctx context.Context, at place, create bool, cfg *dagstore.Config) (*dagstore.Store, error) {
	cfg.Mounts = a.mounts
	cfg.Copies = a.copies()
	if rate := a.settings.Sources.Bandwidth; rate != nil {
		cfg.Hosts.Bandwidth = int64(*rate)
	}
	cfg.NoCreate = true
	if cfg.Logger == nil {
		// What goes wrong with an item is told by the command itself.
		cfg.Logger = a.logger(slog.LevelError)
	}
	if kind, _ := a.kindOf(at); doctor.Local(kind) != nil {
		return nil, doctor.Local(kind)
	}
	store, err := dagstore.Open(ctx, at.dir, cfg)
	if create && errors.Is(err, dagstore.ErrNoStore) {
		cfg.NoCreate = false
		if store, err = dagstore.Open(ctx, at.dir, cfg); err == nil {
			a.notef("made a new store in %s (%s)", at.dir, at.why)
		}
	}
	return store, err
}

// kindOf is the kind of the file system that a store is on, or would be; "" where
// that cannot be told. beneath is what of its folder is there.
func (a *app) kindOf(at place) (kind, beneath string) {
	beneath, err := doctor.Beneath(at.dir)
	if err != nil || a.fileSystem == nil {
		return "", beneath
	}
	if kind, err = a.fileSystem(beneath); err != nil {
		return "", beneath
	}
	return kind, beneath
}

// copies is how much may be kept of CARs that lie elsewhere.
func (a *app) copies() dagstore.Copies {
	quota := a.settings.Copies.Quota
	if a.quota != nil {
		quota = a.quota
	}
	switch {
	case quota == nil:
		return dagstore.Copies{}
	case *quota == 0:
		return dagstore.Copies{None: true}
	}
	return dagstore.Copies{Quota: int64(*quota)}
}

// explain says which folder was meant and why, and what to do about err.
func (at place) explain(err error, create bool) error {
	hint := ""
	switch {
	case errors.Is(err, dagstore.ErrNoStore) && create:
		hint = `: name an empty or a new folder by --repo or DAGSTORE_PATH`
	case errors.Is(err, dagstore.ErrNoStore):
		hint = `: make one by "dagstore add PATH", or name another by --repo or DAGSTORE_PATH`
	case errors.Is(err, dagstore.ErrInUse) && isSilent(err): // it says what to do
	case errors.Is(err, dagstore.ErrInUse):
		hint = `: wait until that process ends, or stop it`
	case errors.Is(err, dagstore.ErrVersion):
		hint = `: use the version of dagstore that wrote it, or add the CARs to a new store`
	case errors.Is(err, dagstore.ErrNoSpace):
		hint = `: make room on its disk`
	}
	_, path := errors.AsType[*fs.PathError](err)
	switch {
	case hint != "":
	case errors.Is(err, fs.ErrPermission):
		hint = `: see that you may read and write there, or name another folder by --repo or DAGSTORE_PATH`
	case path:
		hint = `: name a folder that is there or can be made, by --repo or DAGSTORE_PATH`
	}
	if _, far := errors.AsType[*doctor.NetworkError](err); far {
		hint = `: name a folder on a local disk by --repo or DAGSTORE_PATH; a store that nobody has open may be moved there as it is, and CARs may stay on the share`
	}
	return fmt.Errorf("%w (store %s, by %s)%s", err, at.dir, at.why, hint)
}

// withStore calls f with the store: it opens it, or reaches for the process that
// has it open.
func (a *app) withStore(ctx context.Context, create bool, cfg *dagstore.Config, f func(storage) error) error { //nolint:unparam // "add" and "serve", which make stores, do not use it now
	own := func(h *holder) error { return f(ownStore{h.store}) }
	return a.withEither(ctx, create, cfg, own, func(far farStore) error { return f(far) })
}

// withEither is withStore for commands that do one thing with a store of their
// own, and another with one that is elsewhere; a nil far: only their own will
// do. What Close reports is an error of the command, unless it has one already.
func (a *app) withEither(ctx context.Context, create bool, cfg *dagstore.Config, own func(*holder) error, far func(farStore) error) error {
	at, err := locateStore(a.repo, a.settings.Repo, runtime.GOOS, a.getenv)
	if err != nil {
		return err
	}
	end, err := a.trace(ctx, cfg)
	if err != nil {
		return err
	}
	defer end() // after the store is closed
	hub, heard := admin.NewHub(), cfg.Events.Fault
	cfg.Events = dagstore.Tee(cfg.Events, hub.Events())
	var store *dagstore.Store
	for tries := 1; store == nil; tries++ {
		var reached *client.Client
		store, reached, err = a.openOrReach(ctx, at, create, cfg, far != nil)
		if err != nil {
			return at.explain(err, create)
		}
		if reached == nil {
			continue
		}
		reached.Heard = heard
		end := a.watchHolder(ctx, reached)
		err := far(farStore{reached})
		end()
		err = errors.Join(err, reached.Close())
		if !goesOn(err, reached) || ctx.Err() != nil || tries == mostHolders {
			return afterHolder(err)
		}
	}
	h := a.hold(ctx, store, hub, at.dir)
	err = own(h)
	h.leave(ctx)
	if closeErr := store.Close(); err == nil && closeErr != nil {
		return fmt.Errorf("closing the store: %w", closeErr)
	}
	return err
}

// mostHolders is with how many processes one after the other a command tries.
const mostHolders = 16

// An againError is what a command ends with whose holder has gone away, and that
// knows how to go on with the next one.
type againError struct{ err error }

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// goesOn reports whether a command goes on with the next process that holds the
// store, since this one has ended: it knows how, or nothing has come of it yet. What
// may have been carried out, and is not to be a second time, it does not repeat.
func goesOn(err error, reached *client.Client) bool {
	if _, ok := errors.AsType[*againError](err); ok {
		return true
	}
	ending := errors.Is(err, client.ErrGone) || errors.Is(err, dagstore.ErrClosed)
	return ending && !errors.Is(err, client.ErrUnsure) && reached.Answered() <= 1 // that it was asked who it is
}

// afterHolder says of a command that ended with its holder what is known.
func afterHolder(err error) error {
	switch {
	case errors.Is(err, client.ErrUnsure):
		return fmt.Errorf("%w: look before you run the command again", err)
	case errors.Is(err, client.ErrGone):
		return fmt.Errorf("%w; what was done is done: run the command again", err)
	}
	return err
}

const (
	// lockPatience is how long a store may be in use by a process that does not
	// answer: one that has just begun to hold it, or is about to end.
	lockPatience = 5 * time.Second
	lockAgain    = 50 * time.Millisecond
)

// openOrReach opens the store, or finds the process that has it open, if that
// will do.
func (a *app) openOrReach(ctx context.Context, at place, create bool, cfg *dagstore.Config, reach bool) (*dagstore.Store, *client.Client, error) {
	for end := time.Now().Add(lockPatience); ; {
		store, err := a.openStore(ctx, at, create, cfg)
		if !errors.Is(err, dagstore.ErrInUse) || !reach {
			return store, nil, err
		}
		// Where it is may have changed since: a holder that ended, and another.
		if r, meetErr := meet(at.dir, a.settings.Admin.Socket, a.getenv); meetErr == nil {
			c, holder, silent := r.find(ctx)
			switch {
			case silent != nil:
				return nil, nil, fmt.Errorf("%w: %w", err, silent)
			case c != nil && holder.API == wire.Version:
				return nil, c, nil
			case c != nil:
				return nil, nil, errors.Join(fmt.Errorf("%w, %q of version %s, which speaks another language than this one", err, holder.Command, holder.Program), c.Close())
			}
		}
		if time.Now().After(end) {
			return nil, nil, err
		}
		select {
		case <-time.After(lockAgain):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
