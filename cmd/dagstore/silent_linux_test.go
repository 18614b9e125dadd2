package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStoppedHolder: a process that holds a store and is stopped keeps nobody
// waiting without a word: who comes is told what to do and goes, who waits is told
// and waits.
func TestStoppedHolder(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	p := startProcess(t, "--repo", repo, "serve", "--listen", "127.0.0.1:0", "--admin", "none", "--metrics", "none")
	p.stderr.match(t, `serving http`)
	defer func() {
		if code := p.signalled(t, syscall.SIGKILL); code != -1 {
			t.Errorf("exit code %d", code)
		}
	}()
	watching := start(t, nil, "--repo", repo, "watch")
	n := 0
	eventually(t, "an event", func() bool {
		n++
		name := "k" + string(rune('a'+n))
		if got := runs(t, "", "--repo", repo, "add", carFile(t, name+".car", name)); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
		return strings.Contains(watching.stdout.String(), "transition  k")
	})
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	got := runs(t, "", "--repo", repo, "ls")
	if got.code != exitInUse || !strings.Contains(got.stderr, "is stopped, as by Ctrl-Z") || !strings.Contains(got.stderr, `"kill -CONT `) || strings.Contains(got.stderr, "wait until") {
		t.Errorf("a command: %+v", got)
	}
	watching.stderr.match(t, `waiting: process \d+, which holds the store, is stopped`)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := runs(t, "", "--repo", repo, "ls"); got.code != exitOK || !strings.Contains(got.stdout, "ready      k") {
		t.Errorf("once it goes on: %+v", got)
	}
	watching.stop()
	if code := watching.ends(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, watching.stderr.String())
	}
}
