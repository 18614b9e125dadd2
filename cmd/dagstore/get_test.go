package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

// A reading is a store with one CAR in it, made for the commands that read.
type reading struct {
	t    *testing.T
	repo string

	folder, file, outward, lost cid.Cid
	content                     string
}

// newReading makes the store:
//
//	folder   {"file": file, "link": -> file}
//	file     two leaves
//	outward  {"file": file, "out": -> ../x}
//	lost     {"ok": a leaf, "gone": a leaf that is in no CAR}
func newReading(t *testing.T) *reading {
	t.Helper()
	r := &reading{t: t, repo: filepath.Join(t.TempDir(), "store"), content: "first\x00 second"}
	var blocks []cartest.Block
	add := func(node *merkledag.ProtoNode) *merkledag.ProtoNode {
		if err := node.SetCidBuilder(cid.V0Builder{}); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, cartest.Block{CID: node.Cid(), Data: node.RawData()})
		return node
	}
	leaf := func(data string, kept bool) *merkledag.RawNode {
		node := merkledag.NewRawNode([]byte(data))
		if kept {
			blocks = append(blocks, cartest.Block{CID: node.Cid(), Data: node.RawData()})
		}
		return node
	}
	link := func(target string) *merkledag.ProtoNode {
		data, err := unixfs.SymlinkData(target)
		if err != nil {
			t.Fatal(err)
		}
		return add(merkledag.NodeWithData(data))
	}
	folder := func(entries ...any) *merkledag.ProtoNode {
		node := unixfs.EmptyDirNode()
		for i := 0; i < len(entries); i += 2 {
			var err error
			switch child := entries[i+1].(type) {
			case *merkledag.ProtoNode:
				err = node.AddNodeLink(entries[i].(string), child)
			case *merkledag.RawNode:
				err = node.AddNodeLink(entries[i].(string), child)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return add(node)
	}
	fs := unixfs.NewFSNode(unixfs.TFile)
	fs.AddBlockSize(6)
	fs.AddBlockSize(7)
	data, err := fs.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	two := merkledag.NodeWithData(data)
	for _, part := range []string{"first\x00", " second"} {
		if err := two.AddNodeLink("", leaf(part, true)); err != nil {
			t.Fatal(err)
		}
	}
	file := add(two)
	r.file = file.Cid()
	r.folder = folder("file", file, "link", link("file")).Cid()
	r.outward = folder("file", file, "out", link("../x")).Cid()
	r.lost = folder("ok", leaf("ok", true), "gone", leaf("gone", false)).Cid()

	path := filepath.Join(t.TempDir(), "made.car")
	if err := os.WriteFile(path, cartest.V1([]cid.Cid{r.folder}, blocks), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := r.run("add", path); code != exitOK {
		t.Fatalf("add: %d, %s", code, stderr)
	}
	return r
}

// run carries out a command on the store.
func (r *reading) run(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"--repo", r.repo}, args...)
	code = run(r.t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// must is run that wants exit code 0, and returns the output.
func (r *reading) must(args ...string) string {
	r.t.Helper()
	code, stdout, stderr := r.run(args...)
	if code != exitOK {
		r.t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// v1 returns c as CIDv1.
func v1(c cid.Cid) string { return cid.NewCidV1(c.Type(), c.Hash()).String() }

func TestCatForms(t *testing.T) {
	r := newReading(t)
	for _, at := range []string{
		r.file.String(), "/ipfs/" + r.file.String(), "ipfs://" + r.file.String(),
		v1(r.file), strings.ToUpper(v1(r.file)), r.folder.String() + "/file", "ipfs://" + v1(r.folder) + "/%66ile",
	} {
		if got := r.must("cat", at); got != r.content {
			t.Errorf("cat %s: %q", at, got)
		}
	}
}

func TestGetWritesHere(t *testing.T) {
	r := newReading(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for name, args := range map[string][]string{
		r.file.String():            {r.file.String()},
		"file":                     {r.folder.String() + "/file"},
		r.folder.String() + ".bin": {r.folder.String(), "--format", "raw"},
		r.folder.String() + ".car": {r.folder.String(), "--format", "car"},
		"other":                    {r.file.String(), "-o", "other"},
	} {
		code, stdout, stderr := r.run(append([]string{"get"}, args...)...)
		if code != exitOK || stdout != "" || !strings.Contains(stderr, "wrote ") || !strings.Contains(stderr, name) {
			t.Errorf("get %q: %d, %q, %q", args, code, stdout, stderr)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("get %q: %v", args, err)
		}
		if code, _, stderr := r.run(append([]string{"get"}, args...)...); code != exitFailed || !strings.Contains(stderr, "exists already") {
			t.Errorf("get %q again: %d, %q", args, code, stderr)
		}
	}
	if got, err := os.ReadFile("file"); err != nil || string(got) != r.content {
		t.Errorf("file: %q, %v", got, err)
	}
	raw, err := os.ReadFile(r.folder.String() + ".bin")
	if err != nil || string(raw) != r.must("block", "get", r.folder.String()) {
		t.Errorf("get --format raw is not what block get gives: %v", err)
	}
	car, err := os.ReadFile(r.folder.String() + ".car")
	if err != nil || string(car) != r.must("dag", "export", r.folder.String()) {
		t.Errorf("get --format car is not what dag export gives: %v", err)
	}
}

func TestGetFolder(t *testing.T) {
	r := newReading(t)
	dir := t.TempDir()
	r.must("get", r.folder.String(), "-o", filepath.Join(dir, "whole"))
	if got, err := os.ReadFile(filepath.Join(dir, "whole", "file")); err != nil || string(got) != r.content {
		t.Errorf("file: %q, %v", got, err)
	}
	if runtime.GOOS != "windows" {
		if got, err := os.Readlink(filepath.Join(dir, "whole", "link")); err != nil || got != "file" {
			t.Errorf("link: %q, %v", got, err)
		}
	}
	code, _, stderr := r.run("get", r.outward.String(), "-o", filepath.Join(dir, "part"))
	if code != exitPartial || !strings.Contains(stderr, `"out"`) {
		t.Errorf("a symlink that leads out: %d, %s", code, stderr)
	}
	if _, err := os.Lstat(filepath.Join(dir, "part", "out")); err == nil {
		t.Error("a symlink that leads out was written")
	}
	if got, err := os.ReadFile(filepath.Join(dir, "part", "file")); err != nil || string(got) != r.content {
		t.Errorf("beside it: %q, %v", got, err)
	}
}

func TestDAGExport(t *testing.T) {
	r := newReading(t)
	car := r.must("dag", "export", r.folder.String())
	reader, err := carv2.NewBlockReader(strings.NewReader(car))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		if _, err := reader.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 5 || !reader.Roots[0].Equals(r.folder) {
		t.Errorf("%d blocks, roots %v", n, reader.Roots)
	}
}

// TestIncomplete wants exit code 1 for a root that is there and a block below
// it that is not, and nothing that looks like a result.
func TestIncomplete(t *testing.T) {
	r := newReading(t)
	dir := t.TempDir()
	gone := merkledag.NewRawNode([]byte("gone")).Cid().String()
	for _, args := range [][]string{
		{"get", r.lost.String(), "-o", filepath.Join(dir, "a")},
		{"get", r.lost.String() + "/gone", "-o", filepath.Join(dir, "a")},
		{"get", r.lost.String(), "--format", "car", "-o", filepath.Join(dir, "a")},
		{"get", r.lost.String() + "/gone", "--format", "raw", "-o", filepath.Join(dir, "a")},
		{"cat", r.lost.String() + "/gone"},
		{"dag", "export", r.lost.String()},
	} {
		code, _, stderr := r.run(args...)
		if code != exitFailed || !strings.Contains(stderr, gone) {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%q left %v, %v", args, entries, err)
		}
	}
	if got := r.must("cat", r.lost.String()+"/ok"); got != "ok" {
		t.Errorf("its neighbour: %q", got)
	}
}

func TestReadingExitCodes(t *testing.T) {
	r := newReading(t)
	t.Chdir(t.TempDir())
	const absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitNotFound, []string{"get", absent}},
		{exitNotFound, []string{"get", absent, "--format", "car"}},
		{exitNotFound, []string{"cat", absent}},
		{exitNotFound, []string{"block", "get", absent}},
		{exitNotFound, []string{"dag", "export", absent}},
		{exitNotFound, []string{"cat", r.folder.String() + "/nothing"}},
		{exitFailed, []string{"cat", r.folder.String()}},
		{exitUsage, []string{"cat"}},
		{exitUsage, []string{"cat", "a", "b"}},
		{exitUsage, []string{"cat", "nonsense"}},
		{exitUsage, []string{"cat", "/ipns/example.org"}},
		{exitUsage, []string{"get", r.file.String(), "--format", "tar"}},
		{exitUsage, []string{"get", r.file.String(), "-o", "-"}},
		{exitUsage, []string{"get", r.file.String(), "-o", ""}},
		{exitUsage, []string{"block", "get"}},
		{exitOK, []string{"block"}},
		{exitOK, []string{"dag"}},
	} {
		if code, _, stderr := r.run(c.args...); code != c.code {
			t.Errorf("%q: exit code %d, want %d: %s", c.args, code, c.code, stderr)
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	r.repo = filepath.Join(t.TempDir(), "none")
	if code, _, _ := r.run("cat", absent); code != exitNoStore {
		t.Errorf("no store: exit code %d", code)
	}
	if _, err := os.Stat(r.repo); err == nil {
		t.Error("cat made a store")
	}
}

// TestReadingInterrupted interrupts a command while it reads.
func TestReadingInterrupted(t *testing.T) {
	r := newReading(t)
	var out, errs bytes.Buffer
	a := &app{repo: r.repo, stdout: &out, stderr: &errs, getenv: os.Getenv, command: "dagstore get"}
	if err := a.configure(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	err := a.resolved(ctx, r.folder.String(), func(reader *extract.Reader, _ extract.Path, c cid.Cid) error {
		cancel()
		return a.get(ctx, reader, c, filepath.Join(dir, "dst"), "file")
	})
	if code := a.finish(ctx, err); code != exitInterrupted {
		t.Errorf("exit code %d: %v", code, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
