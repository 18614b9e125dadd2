package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// longestSocket is how many bytes the path of a unix socket can have.
const longestSocket = 107

// A rendezvous is where the process that holds a store and those that want
// something of it meet: a unix socket in the run folder, whose name is made of
// what the store's folder is. So nothing of it lies in the store's folder, and
// whoever can name that finds it. What a process has left there that was killed
// is of no harm: nobody answers on it, and the next holder replaces it.
type rendezvous struct {
	store string   // folder of the store
	owner int      // who owns that; -1: not known here
	paths []string // where the socket may lie, the first one first
}

// meet finds out where the socket of a store may lie. configured, if it is not
// empty, goes first, unless it is too long for a socket.
func meet(store, configured string, getenv func(string) string) (*rendezvous, error) {
	store, err := filepath.Abs(store)
	if err == nil {
		store, err = filepath.EvalSymlinks(store)
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(store)
	if err != nil {
		return nil, err
	}
	r := &rendezvous{store: store, owner: ownerOf(info)}
	if configured != "" && len(configured) <= longestSocket {
		r.paths = append(r.paths, configured)
	}
	sum := sha256.Sum256([]byte(idOf(store, info)))
	name := hex.EncodeToString(sum[:8]) + ".sock"
	for _, dir := range runFolders(runtime.GOOS, r.owner, getenv) {
		path := filepath.Join(dir, name)
		if len(path) <= longestSocket && !slices.Contains(r.paths, path) {
			r.paths = append(r.paths, path)
		}
	}
	return r, nil
}

// runFolders are the folders in which a socket may lie that belongs to owner: what
// the environment says, then what it would say to owner.
func runFolders(goos string, owner int, getenv func(string) string) (dirs []string) {
	if dir := getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(dir) { // of a unit of systemd
		dirs = append(dirs, dir)
	}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		dirs = append(dirs, filepath.Join(dir, "dagstore"))
	}
	if goos == "linux" {
		if owner >= 0 {
			dirs = append(dirs, filepath.Join("/run/user", strconv.Itoa(owner), "dagstore"))
		}
		dirs = append(dirs, "/run/dagstore")
	}
	name := "dagstore"
	if owner >= 0 {
		name = fmt.Sprintf("dagstore-%d", owner)
	}
	dirs = append(dirs, filepath.Join(os.TempDir(), name))
	if goos != "windows" {
		dirs = append(dirs, filepath.Join("/tmp", name)) // short, whatever TMPDIR is
	}
	return dirs
}

// listen makes the socket, of mode 0600, in the first folder where that can be
// done. Whoever holds the store may replace what is left of an earlier holder.
func (r *rendezvous) listen(ctx context.Context) (net.Listener, error) {
	var errs []error
	for _, path := range r.paths {
		listener, err := listenAt(ctx, path)
		if err == nil {
			return listener, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("there is no place for a socket: %w", errors.Join(errs...))
}

func listenAt(ctx context.Context, path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	// Of /run and /run/user nothing is made: those are the system's.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := keptFromOthers(dir, os.Geteuid()); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		conn, dialErr := new(net.Dialer).DialContext(ctx, "unix", path)
		switch {
		case dialErr == nil:
			_ = conn.Close() // nothing was sent
			return nil, fmt.Errorf("somebody answers at %s", path)
		case errors.Is(dialErr, syscall.EAGAIN), ctx.Err() != nil:
			// One that has too much to do to answer now is alive.
			return nil, fmt.Errorf("it is not known whether somebody answers at %s: %w", path, dialErr)
		}
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		listener, err = config.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	// The folder has kept others out of it until now.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// find looks for the process that holds the store, and returns nil if none
// answers. One that holds another store is none. An error is a [silentError], if
// none is found and somebody is there who does not answer.
func (r *rendezvous) find(ctx context.Context) (*client.Client, *wire.Store, error) {
	var silent error
	for _, path := range r.paths {
		if keptFromOthers(filepath.Dir(path), os.Geteuid(), 0, r.owner) != nil {
			continue
		}
		c, at, err := whoIs(ctx, path)
		switch {
		case err != nil:
			silent = err
		case c == nil:
		case sameFolder(at.Folder, r.store):
			return c, at, nil
		default:
			_ = c.Close() // it always succeeds
		}
	}
	return nil, nil, silent
}

func sameFolder(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
