package main

import (
	"path/filepath"
	"testing"
)

func TestLocateStore(t *testing.T) {
	abs := func(s string) string { // an absolute path on every system
		p, err := filepath.Abs(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	tests := []struct {
		name, flag, file, goos string
		env                    map[string]string
		want, why              string
	}{
		{"flag first", "f", "c", "linux", map[string]string{"DAGSTORE_PATH": "e", "HOME": "h"}, "f", "--repo"},
		{"then environment", "", "c", "linux", map[string]string{"DAGSTORE_PATH": "e", "HOME": "h"}, "e", "DAGSTORE_PATH"},
		{"then the configuration", "", "c", "linux", map[string]string{"XDG_DATA_HOME": abs("x"), "HOME": "h"}, "c", "the configuration"},
		{"then XDG", "", "", "linux", map[string]string{"XDG_DATA_HOME": abs("x"), "HOME": "h"}, filepath.Join(abs("x"), "dagstore"), "default"},
		{"relative XDG is ignored", "", "", "linux", map[string]string{"XDG_DATA_HOME": "x", "HOME": "h"}, filepath.Join("h", ".local", "share", "dagstore"), "default"},
		{"home", "", "", "freebsd", map[string]string{"HOME": "h"}, filepath.Join("h", ".local", "share", "dagstore"), "default"},
		{"macOS", "", "", "darwin", map[string]string{"HOME": "h"}, filepath.Join("h", "Library", "Application Support", "dagstore"), "default"},
		{"Windows", "", "", "windows", map[string]string{"LocalAppData": "l"}, filepath.Join("l", "dagstore"), "default"},
	}
	for _, test := range tests {
		got, err := locateStore(test.flag, test.file, test.goos, func(name string) string { return test.env[name] })
		if err != nil || got != (place{test.want, test.why}) {
			t.Errorf("%s: %+v, %v, want %q by %s", test.name, got, err, test.want, test.why)
		}
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		_, err := locateStore("", "", goos, func(string) string { return "" })
		if exitCode(err) != exitUsage {
			t.Errorf("%s without any variable: %v, want a usage error", goos, err)
		}
	}
}

func TestConfigFile(t *testing.T) {
	abs := func(name string) string {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"linux", map[string]string{"XDG_CONFIG_HOME": abs("x"), "HOME": "h"}, filepath.Join(abs("x"), "dagstore", "config.toml")},
		{"linux", map[string]string{"XDG_CONFIG_HOME": "x", "HOME": "h"}, filepath.Join("h", ".config", "dagstore", "config.toml")},
		{"darwin", map[string]string{"HOME": "h"}, filepath.Join("h", "Library", "Application Support", "dagstore", "config.toml")},
		{"windows", map[string]string{"AppData": "a"}, filepath.Join("a", "dagstore", "config.toml")},
		{"linux", nil, ""}, {"darwin", nil, ""}, {"windows", nil, ""},
	} {
		if got := configFile(test.goos, func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%s, %v: %q, want %q", test.goos, test.env, got, test.want)
		}
	}
}
