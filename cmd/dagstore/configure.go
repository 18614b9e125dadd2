package main

import (
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
)

// configure reads the configuration, what the environment says in its place, and makes
// what depends on it. A file that
// was named must be there; the usual one need not.
func (a *app) configure() error {
	path, named := a.config, true
	if path == "" {
		path = a.getenv("DAGSTORE_CONFIG")
	}
	if path == "" {
		path, named = configFile(runtime.GOOS, a.getenv), false
	}
	a.settings = new(settings.File)
	if path != "" {
		file, err := settings.Load(path)
		switch {
		case err == nil:
			a.settings, a.configPath = file, path
		case named || !settings.IsAbsent(err):
			return exitError(exitUsage, err)
		}
	}
	var err error
	if a.fromEnv, err = a.settings.Overlay(a.getenv); err != nil {
		return exitError(exitUsage, fmt.Errorf("the environment: %w", err))
	}
	a.kinds = newKinds(a.settings, a.getenv)
	if a.mounts, err = a.kinds.registry(); err != nil {
		return exitError(exitUsage, err)
	}
	a.listers = a.kinds.listers()
	return nil
}

// configFile is where the programs of this user keep their configuration, or
// "" where no such place is known.
func configFile(goos string, getenv func(string) string) string {
	home := getenv("HOME")
	dir := ""
	switch goos {
	case "windows":
		dir = getenv("AppData")
	case "darwin":
		if home != "" {
			dir = filepath.Join(home, "Library", "Application Support")
		}
	default:
		// The XDG base directory specification: a relative path is ignored.
		if at := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(at) {
			dir = at
		} else if home != "" {
			dir = filepath.Join(home, ".config")
		}
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "dagstore", "config.toml")
}
