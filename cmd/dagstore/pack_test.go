package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// command carries out a command and returns its exit code and what it has said.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// look is a folder as it is on disk: kinds, bytes, targets, and modes and times if
// they are wanted.
func look(t *testing.T, dir string, stamps bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().Type().String() + " "
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(data)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += target
		default: // a folder
		}
		if stamps && info.Mode()&fs.ModeSymlink == 0 {
			text += info.Mode().String() + info.ModTime().UTC().Format(time.RFC3339Nano)
		}
		rel, err := filepath.Rel(dir, path)
		all[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPackUnpack: what was packed and unpacked is what it was, in both profiles,
// with symlinks, and with modes and times if they are stored. What leads out is
// left out.
func TestPackUnpack(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and symlinks are those of Unix here")
	}
	tree := filepath.Join(t.TempDir(), "tree")
	for name, data := range map[string][]byte{
		"large": bytes.Repeat([]byte("0123456789"), 300_000), "a/one": []byte("1"), "a/b/two": []byte("2"), "empty": nil, ".hidden": []byte("h"),
	} {
		path := filepath.Join(tree, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link": "a/one", "a/b/up": "../../large", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(tree, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 700, time.UTC)
	for name, mode := range map[string]fs.FileMode{"large": 0o640, "a/one": 0o755, "a/b/two": 0o400, "a": 0o750, "a/b": 0o711, ".": 0o755} {
		path := filepath.Join(tree, filepath.FromSlash(name))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"large", "a/b", "a", "."} {
		if err := os.Chtimes(filepath.Join(tree, filepath.FromSlash(name)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for i, flags := range [][]string{
		{}, {"--profile", "unixfs-v0-2015"}, {"--index"}, {"--preserve-mode", "--preserve-mtime"}, {"--preserve-mode", "--preserve-mtime", "--profile", "unixfs-v0-2015"},
	} {
		stamps := len(flags) > 1 && flags[0] == "--preserve-mode"
		dir := t.TempDir()
		car, out := filepath.Join(dir, "made.car"), filepath.Join(dir, "out")
		if code, _, errs := command(t, append([]string{"pack", "--hidden", tree, "-o", car}, flags...)...); code != exitOK {
			t.Fatalf("pack %q: %d, %s", flags, code, errs)
		}
		if code, _, errs := command(t, "unpack", car, "-o", out); code != exitOK {
			t.Fatalf("unpack %q: %d, %s", flags, code, errs)
		}
		want, got := look(t, tree, stamps), look(t, out, stamps)
		if len(got) != len(want) || len(want) != 11 {
			t.Errorf("%d: %d entries, want %d", i, len(got), len(want))
		}
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%q: %s is %.60q, want %.60q", flags, name, got[name], text)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".dagstore-*")); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
	}
	if err := os.Symlink("../outside", filepath.Join(tree, "out")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	car, out := filepath.Join(dir, "made.car"), filepath.Join(dir, "out")
	if code, _, errs := command(t, "pack", tree, "-o", car); code != exitOK {
		t.Fatalf("%d, %s", code, errs)
	}
	code, _, errs := command(t, "unpack", car, "-o", out)
	if _, err := os.Lstat(filepath.Join(out, "out")); code != exitPartial || err == nil || !strings.Contains(errs, `left out the symlink "out"`) {
		t.Errorf("a symlink that leads out: %d, %s", code, errs)
	}
}

// TestPackIntoItself: the CAR may be made in the folder that is packed, hidden files and
// all; neither it nor what stands for it meanwhile is packed.
func TestPackIntoItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	for _, name := range []string{".a", "b/.c", "d"} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(strings.Repeat(name, 1<<20)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	pack := func(output string) string {
		t.Helper()
		code, root, errs := command(t, "pack", "--hidden", dir, "-o", output)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		return root
	}
	aside := pack(filepath.Join(t.TempDir(), "out.car"))
	for i, output := range []string{filepath.Join(dir, "b", "out.car"), filepath.Join(dir, "out.car")} {
		if inside := pack(output); inside != aside {
			t.Errorf("%s: the root is %s, want %s", output, inside, aside)
		}
		if err := os.Remove(output); err != nil {
			t.Fatal(i, err)
		}
	}
}

// TestUnpackRoots: a CAR with several roots, with none, and one that lacks a block.
func TestUnpackRoots(t *testing.T) {
	dir := t.TempDir()
	a, b := cartest.Raw([]byte("a")), cartest.Raw([]byte("b"))
	for name, roots := range map[string][]cid.Cid{"two": {a.CID, b.CID}, "none": {}} {
		car := filepath.Join(dir, name+".car")
		if err := os.WriteFile(car, cartest.V1(roots, []cartest.Block{a, b}), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, name)
		if code, _, errs := command(t, "unpack", car, "-o", out); code != exitUsage || !strings.Contains(errs, "--root") {
			t.Errorf("%s: %d, %s", name, code, errs)
		}
		if code, _, errs := command(t, "unpack", car, "-o", out, "--root", b.CID.String()); code != exitOK {
			t.Errorf("%s: %d, %s", name, code, errs)
		}
		if data, err := os.ReadFile(out); err != nil || string(data) != "b" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	tree, car := filepath.Join(dir, "tree"), filepath.Join(dir, "whole.car")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "file"), bytes.Repeat([]byte("x"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "pack", tree, "-o", car); code != exitOK {
		t.Fatal(errs)
	}
	data, err := os.ReadFile(car)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(car, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "damaged")
	code, _, errs := command(t, "unpack", car, "-o", out)
	if _, err := os.Lstat(out); code != exitFailed || err == nil || !strings.Contains(errs, "bad block") {
		t.Errorf("a damaged block: %d, %s", code, errs)
	}
}
