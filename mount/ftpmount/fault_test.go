package ftpmount_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/ftpmount"
)

// soon is much less than the time-outs of a rig's clients, which is late, and much
// more than a call that is canceled needs.
const (
	soon = time.Minute
	late = 10 * soon
)

// within calls f and fails the test if it takes too long.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatalf("%s hangs", what)
	}
}

// A connection that is cut after any number of bytes is an error, and never an
// end; the next call finds its way.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "explicit"} {
		r := newRig(t, servertest.FTP{User: user, Password: secret, TLS: mode}, ftpmount.Config{Login: login})
		data := sample(300_000)
		m := r.put("x", data)
		for at := int64(0); at < 320_000; at = at*3 + 17 {
			r.proxy.CutAfter(at)
			got, err := read(t.Context(), m)
			r.proxy.Heal()
			if err == nil && !bytes.Equal(got, data) {
				t.Errorf("%s, cut after %d: %d bytes, no error", mode, at, len(got))
			}
			if len(got) > 0 && err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut after %d, %d bytes came: %v", mode, at, len(got), err)
			}
			if got, err := read(t.Context(), m); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, after a cut at %d: %d bytes, %v", mode, at, len(got), err)
			}
		}
	}
}

// A server that has gone silent holds nobody beyond the end of their context,
// at whatever point of the conversation it happens.
func TestCancelWhereverItHangs(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	data := sample(100_000)
	r.write("x", data)
	for at := int64(0); at < 1500; at += 37 {
		// A new client, so that it begins with the login.
		c := ftpmount.New(ftpmount.Config{Login: login, Dial: r.proxy.Dial, ConnectTime: late, StallTime: late})
		m, err := c.Open(r.mount("x").URL())
		if err != nil {
			t.Fatal(err)
		}
		r.proxy.HangAfter(at)
		within(t, "a read", func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if got, err := read(ctx, m); !errors.Is(err, context.DeadlineExceeded) || !bytes.HasPrefix(data, got) {
				t.Errorf("silent after %d bytes: %d bytes, %v", at, len(got), err)
			}
		})
		within(t, "Close", func() { c.Close() })
		r.proxy.Heal()
	}
}

// A server that has gone silent is given up also by who waits for ever.
func TestStall(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{StallTime: 300 * time.Millisecond, ConnectTime: time.Second})
	m := r.put("x", sample(300_000))
	for _, at := range []int64{0, 100, 100_000} {
		r.proxy.HangAfter(at)
		within(t, "a read", func() {
			_, err := read(t.Context(), m)
			if !errors.Is(err, mount.ErrStalled) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("silent after %d bytes: %v", at, err)
			}
		})
		r.proxy.Heal()
	}
}

// The server ends and begins again, as after a restart: sessions that were kept
// are found dead and replaced.
func TestIdleSessionsThatDied(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	m := r.put("x", []byte("x"))
	for range 3 {
		if _, err := read(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		r.proxy.CutAfter(0)
		if _, err := m.Stat(t.Context()); err == nil {
			t.Error("nothing was cut")
		}
		r.proxy.Heal()
	}
	before := r.proxy.Dials()
	for range 5 {
		if _, err := m.Stat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.proxy.Dials() - before; n > 1 {
		t.Errorf("%d connections for 5 calls", n)
	}
}

func TestIdleSessionsAreClosed(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{IdleTime: 50 * time.Millisecond})
	if _, err := read(t.Context(), r.put("x", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(soon); r.proxy.Open() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open", r.proxy.Open())
		}
	}
}

// Streams that nobody reads do not keep others from being read, however few
// connections there are; and they go on where they were.
func TestParked(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{MaxConns: 1, ParkTime: time.Millisecond})
	data := sample(400_000)
	m := r.put("x", data)
	var streams []io.ReadCloser
	for range 4 {
		s, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		streams = append(streams, s)
	}
	got := make([][]byte, len(streams))
	buf := make([]byte, 150_000)
	for range 3 {
		for i, s := range streams {
			n, err := io.ReadFull(s, buf)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			got[i] = append(got[i], buf[:n]...)
		}
	}
	for i := range got {
		if !bytes.Equal(got[i], data) {
			t.Errorf("stream %d has %d bytes, or others", i, len(got[i]))
		}
	}
	for deadline := time.Now().Add(soon); r.proxy.Open() > 2; time.Sleep(time.Millisecond) { // it hears later of those that were closed
		if time.Now().After(deadline) {
			t.Fatalf("%d connections", r.proxy.Open())
		}
	}
}

// A stream that was parked does not go on in another file.
func TestParkedAndChanged(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{MaxConns: 1, ParkTime: time.Millisecond})
	m := r.put("x", sample(400_000))
	first, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := io.ReadFull(first, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	r.write("y", []byte("y"))
	if _, err := read(t.Context(), r.mount("y")); err != nil { // takes the only session
		t.Fatal(err)
	}
	r.write("x", sample(400_001))
	if _, err := io.ReadAll(first); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("%v", err)
	}
}

// Who waits for a connection waits no longer than their context.
func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{MaxConns: 1, ParkTime: time.Hour})
	m := r.put("x", sample(3_000_000))
	first, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	within(t, "Stat", func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := m.Stat(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	first.Close()
	if _, err := m.Stat(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	m := r.put("x", sample(3_000_000))
	stream, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	within(t, "Close", func() { r.client.Close() })
	if _, err := io.ReadAll(stream); err == nil {
		t.Error("a stream goes on")
	}
	if _, err := m.Stat(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// A server that leads nowhere costs what its answer takes, and no more.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	for name, greeting := range map[string]string{
		"endless line":     "220 ",
		"endless lines":    "220-hello\r\n",
		"no number":        "hello\r\n",
		"password in it":   "530 " + secret + "\r\n",
		"another protocol": "SSH-2.0-OpenSSH_9.2\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan int64, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				done <- 0
				return
			}
			defer conn.Close()
			n, err := io.WriteString(conn, greeting)
			sent := int64(n)
			for more := bytes.Repeat([]byte(greeting), 1000); err == nil && sent < 1<<30 && len(name) > 0 && name[0] == 'e'; {
				n, err = conn.Write(more)
				sent += int64(n)
			}
			done <- sent
		}()
		c := ftpmount.New(ftpmount.Config{Login: login, ConnectTime: late, StallTime: late})
		m, err := c.Open("ftp://" + l.Addr().String() + "/x")
		if err != nil {
			t.Fatal(err)
		}
		within(t, name, func() {
			_, err := m.Stat(t.Context())
			if err == nil || bytes.Contains([]byte(err.Error()), []byte(secret)) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if sent := <-done; sent > 64<<20 {
			t.Errorf("%s: %d bytes were taken", name, sent)
		}
		l.Close()
		c.Close()
	}
}
