package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// commandOn carries out a command on a machine where all folders are on a file
// system of one kind.
func commandOn(t *testing.T, kind string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // "serve" and "watch" end by it if they are let in
	defer cancel()
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: os.Getenv,
		fileSystem: func(path string) (string, error) {
			if _, err := os.Stat(path); err != nil { // as statfs would not know it
				return "", err
			}
			return kind, nil
		}}
	code = a.run(ctx, args)
	return code, out.String(), errs.String()
}

// TestNetworkDisk: no command opens a store on a network file system, or makes one
// there; it says why and what to do. CARs may lie there.
func TestNetworkDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	file, folder, raw := throughFiles(t)
	if code, _, errs := command(t, "--repo", "store", "add", "cars/a.car"); code != exitOK {
		t.Fatal(errs)
	}
	before := look(t, "store", true)
	all := append(throughCommands(file, folder, raw), []string{"serve", "--listen", "127.0.0.1:0", "--admin", "none", "--metrics", "none", "cars"},
		[]string{"watch"}, []string{"stats"}, []string{"jobs"}, []string{"jobs", "show", "1"})
	refused := make(map[string]bool)
	for _, args := range all {
		line := append([]string{"--repo", "store"}, args...)
		code, _, errs := commandOn(t, "nfs", line...)
		switch {
		case code == exitUsage && !strings.Contains(errs, "network"): // it came to no store
		case code != exitFailed || !strings.Contains(errs, "cannot be on a network file system, nfs: locks and fsync") ||
			!strings.Contains(errs, "(store store, by --repo): name a folder on a local disk by --repo"):
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		default:
			refused[args[0]] = true
		}
	}
	for _, name := range []string{"add", "import", "serve", "rm", "gc", "recover", "backup", "ls", "get", "stats", "watch", "jobs"} {
		if !refused[name] {
			t.Errorf("%q was never refused", name)
		}
	}
	if after := look(t, "store", true); !maps.Equal(before, after) {
		t.Error("the store was changed")
	}
	for _, kind := range []string{"smb", "fuse.sshfs", "network.afs"} {
		if code, _, errs := commandOn(t, kind, "--repo", "deep/new", "add", "cars/a.car"); code != exitFailed || !strings.Contains(errs, kind) {
			t.Errorf("%s: exit code %d: %s", kind, code, errs)
		}
	}
	if _, err := os.Stat("deep"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
	for _, kind := range []string{"ext4", "fuse", "fuse.mergerfs", "tmpfs", ""} {
		if code, _, errs := commandOn(t, kind, "--repo", "store", "ls"); code != exitOK {
			t.Errorf("%q: exit code %d: %s", kind, code, errs)
		}
	}
}

// TestNetworkDiskOfCARs: only where the store lies is asked for.
func TestNetworkDiskOfCARs(t *testing.T) {
	dir := t.TempDir()
	share := filepath.Join(dir, "share")
	if err := os.Mkdir(share, 0o777); err != nil {
		t.Fatal(err)
	}
	writeCAR(t, share, "a.car", "one")
	var out, errs bytes.Buffer
	var asked []string
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: os.Getenv, fileSystem: func(path string) (string, error) {
		asked = append(asked, path)
		if strings.HasPrefix(path, share) {
			return "nfs", nil
		}
		return "ext4", nil
	}}
	if code := a.run(t.Context(), []string{"--repo", filepath.Join(dir, "store"), "add", share}); code != exitOK {
		t.Error(errs.String())
	}
	if len(asked) == 0 || slices.Contains(asked, share) {
		t.Errorf("asked for %v", asked)
	}
	out.Reset()
	if code, text, errs := command(t, "--repo", filepath.Join(dir, "store"), "block", "get", cartest.Raw([]byte("one")).CID.String()); code != exitOK || text != "one" {
		t.Errorf("%d: %q, %s", code, text, errs)
	}
}

// TestDoctorOnNetworkDisk: the doctor tells of it, and opens no store there either.
func TestDoctorOnNetworkDisk(t *testing.T) {
	repo, cars := filepath.Join(t.TempDir(), "store"), t.TempDir()
	writeCAR(t, cars, "a.car", "one")
	if code, _, errs := command(t, "--repo", repo, "add", cars); code != exitOK {
		t.Fatal(errs)
	}
	before := look(t, repo, false)
	code, out, errs := commandOn(t, "smb", "--repo", repo, "doctor")
	if code != exitFailed || !strings.Contains(out, "fault  file system  smb: ") || strings.Contains(out, "source file") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if after := look(t, repo, false); !maps.Equal(before, after) {
		t.Error("the store was changed")
	}
}
