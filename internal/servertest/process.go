package servertest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// patience is how long a server may take until it answers, and to end.
const patience = 30 * time.Second

// T is what a test has for this package: *testing.T and *testing.B have it.
type T interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Need returns the path of a program: one that scripts/servers.sh has built,
// or one of the system. It skips the test where there is none.
func Need(t T, program string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if path := filepath.Join(dir, "bin", "tools", program); executable(path) {
			return path
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	for _, folder := range []string{"", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(folder, program)); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s; scripts/servers.sh installs it", program)
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Of these ports systems give none to who does not say which: such a one may be
// somebody else's before a server has begun to listen.
const (
	firstPort = 16 << 10
	endPort   = 32 << 10
)

// Address returns a loopback address with a port that is free now.
func Address(t T) string {
	t.Helper()
	var config net.ListenConfig
	for tries := 100; ; tries-- {
		port := firstPort + rand.IntN(endPort-firstPort)
		l, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if tries == 0 {
			t.Fatal(err)
		}
	}
}

// A Process is a server that runs.
type Process struct {
	cmd   *exec.Cmd
	out   output
	ended chan struct{} // closed when it has
	err   error         // how it ended; read after ended
}

// Start starts cmd and returns when addresses accept connections. It ends the
// process and all that it has started with the test, and shows what it printed
// if the test failed. The process must stay in the foreground.
func Start(t T, cmd *exec.Cmd, addresses ...string) *Process {
	t.Helper()
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = patience
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), p.out.String())
		}
	})
	for _, address := range addresses {
		if err := p.answers(address); err != nil {
			t.Fatalf("%s: %v\n%s", cmd.Path, err, p.out.String())
		}
	}
	return p
}

// answers waits until the process accepts connections at address.
func (p *Process) answers(address string) error {
	dialer := net.Dialer{Timeout: time.Second}
	for deadline := time.Now().Add(patience); ; {
		conn, err := dialer.DialContext(context.Background(), "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w", p.err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
}

// Stop kills the process and all that it has started, and waits for its end.
// It may be called more than once.
func (p *Process) Stop() {
	killGroup(p.cmd)
	<-p.ended
}

// output keeps the last bytes of what a process prints.
type output struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

const mostOutput = 64 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept.Write(p)
	if over := o.kept.Len() - mostOutput; over > 0 {
		o.kept.Next(over)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.String()
}
