//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A process is a run of the program in a process of its own.
type process struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr watched
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // of a test that has failed; else it has ended
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// signalled sends a signal and returns the exit code, -1 for one that killed it.
func (p *process) signalled(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func TestSignals(t *testing.T) {
	good := carFile(t, "good.car", "x")
	tests := []struct {
		name  string
		sig   os.Signal
		args  []string
		ready string // on standard error or output, before the signal is sent
		want  int
	}{
		{"serve by SIGINT", syscall.SIGINT, []string{"serve", "--listen", "127.0.0.1:0"}, "serving", exitOK},
		{"serve by SIGTERM", syscall.SIGTERM, []string{"serve", "--listen", "127.0.0.1:0"}, "serving", exitOK},
		{"add by SIGINT", syscall.SIGINT, []string{"add", "--from", "-", good}, "ready", exitInterrupted},
		{"add by SIGTERM", syscall.SIGTERM, []string{"add", "--from", "-", good}, "ready", exitInterrupted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			repo := filepath.Join(t.TempDir(), "store")
			p := startProcess(t, append([]string{"--repo", repo}, test.args...)...)
			if test.args[0] == "serve" {
				p.stderr.match(t, test.ready)
			} else {
				p.stdout.match(t, test.ready)
			}
			if got := p.signalled(t, test.sig); got != test.want {
				t.Errorf("exit code %d, want %d:\n%s", got, test.want, p.stderr.String())
			}
		})
	}
}

// TestKilled: what was said to be ready is there after kill -9.
func TestKilled(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	one, two := carFile(t, "one.car", "1"), carFile(t, "two.car", "2")
	p := startProcess(t, "--repo", repo, "add", "--from", "-", one)
	p.stdout.match(t, `ready +one`)
	// While it lives it holds the store, and others use that through it.
	if other := start(t, nil, "--repo", repo, "ls"); other.ends(t) != exitOK || !strings.Contains(other.stdout.String(), "ready      one") {
		t.Errorf("ls beside an add: %q, %q", other.stdout.String(), other.stderr.String())
	}
	if got := p.signalled(t, syscall.SIGKILL); got != -1 {
		t.Fatalf("exit code %d after kill -9", got)
	}
	again := start(t, nil, "--repo", repo, "add", "-j", "1", one, two)
	if code := again.ends(t); code != exitOK {
		t.Errorf("exit code %d: %q", code, again.stderr.String())
	}
	if out := again.stdout.String(); !strings.HasPrefix(out, "unchanged  one\nready      two") {
		t.Errorf("%q, want one to be there and two to be added", out)
	}
}
