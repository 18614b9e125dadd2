package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/dagstore/dagstore/internal/admin"
)

// defaultAdmin is beside the gateway's port, on this machine alone.
const defaultAdmin = "127.0.0.1:8448"

// An adminAddress is where the API and its page listen.
type adminAddress struct {
	address string // "": nowhere
	chosen  bool   // somebody has asked for just this one
}

// adminAt is where the API is to listen: the flag's, else the configuration's. It
// never is an address that others can reach: what can change a store is not for
// them.
func (a *app) adminAt(ctx context.Context, flag string, given bool) (adminAddress, error) {
	at := adminAddress{flag, given}
	if said := a.settings.Admin.Listen; said != nil && !given {
		at = adminAddress{*said, true}
	}
	if at.address == "none" || at.address == "" {
		return adminAddress{}, nil
	}
	if err := checkListen(ctx, "--admin", at.address); err != nil {
		return at, err
	}
	host, _, err := net.SplitHostPort(at.address)
	if err != nil {
		return at, err
	}
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		return at, fmt.Errorf("--admin %q: it can only be on this machine, as 127.0.0.1 is; from elsewhere, use a tunnel", at.address)
	}
	return at, nil
}

// serveAdmin begins to serve the API and its page over TCP. If the usual port is
// taken, by another store for instance, there is none, and that is told.
func (h *holder) serveAdmin(ctx context.Context, at adminAddress) error {
	if at.address == "" || h.server == nil {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", at.address)
	switch {
	case err != nil && at.chosen:
		return fmt.Errorf("cannot listen on %s: %w; choose another address by --admin", at.address, err)
	case errors.Is(err, syscall.EADDRINUSE):
		h.app.notef("no page: %s is in use; choose another address by --admin", at.address)
		return nil
	case err != nil:
		h.app.notef("no page: %v", err)
		return nil
	}
	h.admin.Store(new("http://" + listener.Addr().String()))
	h.app.notef("page and API on %s; \"dagstore ui\" prints a link", *h.admin.Load())
	h.serve(listener, h.server.Guarded())
	return nil
}

// tokenFile is where the tokens are kept: where the configuration says, else
// beside it.
func (a *app) tokenFile() (string, error) {
	if path := a.settings.Admin.Tokens; path != "" {
		return path, nil
	}
	path := configFile(runtime.GOOS, a.getenv)
	if path == "" {
		return "", exitError(exitUsage, errors.New("no configuration directory is known for this user: name a file for tokens in [admin] of the configuration"))
	}
	return filepath.Join(filepath.Dir(path), "tokens"), nil
}

// tokens are those that there are, and will be. A file that cannot be used is told
// of, and nobody gets in by it until it can.
func (a *app) tokens() *admin.Tokens {
	path, err := a.tokenFile()
	if err != nil {
		return nil
	}
	tokens, err := admin.LoadTokens(path)
	if err != nil {
		a.notef("no token is good: %v", err)
	}
	return tokens
}
