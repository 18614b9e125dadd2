//go:build unix

package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSystemd is what systemd hears of a service: that it is ready, once it
// listens, that it is alive, and that it stops.
func TestSystemd(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // short: the path of a socket may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hear := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	p := startProcess(t, "--repo", filepath.Join(t.TempDir(), "store"), "serve", "--listen", "127.0.0.1:0")
	heard := []string{hear()}
	p.stderr.match(t, "serving")
	for range 3 {
		heard = append(heard, hear())
	}
	if want := []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"}; !slices.Equal(heard, want) {
		t.Errorf("systemd heard %q, not %q", heard, want)
	}
	if code := p.signalled(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, p.stderr.String())
	}
	for {
		switch said := hear(); said {
		case "WATCHDOG=1":
			continue
		case "STOPPING=1":
		default:
			t.Errorf("systemd heard %q", said)
		}
		break
	}
}

// TestWatchdog: a loop that answers no more is not called alive.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked, hung := 0, 0
		s := &supervisor{alive: func(ctx context.Context) error {
			if asked++; asked < 3 {
				return nil
			}
			<-ctx.Done()
			hung++
			return ctx.Err()
		}}
		go s.watch(ctx, time.Second)
		time.Sleep(10*time.Second + time.Millisecond)
		cancel()
		synctest.Wait()
		if asked < 5 || hung < 3 {
			t.Errorf("asked %d times, %d without an answer", asked, hung)
		}
	})
}
