package sftpmount_test

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
	"github.com/dagstore/dagstore/mount/sftpmount"
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
	r := newRig(t, sftpmount.Config{})
	data := sample(600_000)
	m := r.put("x", data)
	for at := int64(0); at < 640_000; at = at*3 + 17 {
		r.proxy.CutAfter(at)
		got, err := read(t.Context(), m)
		r.proxy.Heal()
		if err == nil && !bytes.Equal(got, data) {
			t.Errorf("cut after %d: %d bytes, no error", at, len(got))
		}
		if len(got) > 0 && err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d, %d bytes came: %v", at, len(got), err)
		}
		if got, err := read(t.Context(), m); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after a cut at %d: %d bytes, %v", at, len(got), err)
		}
	}
}

// A server that has gone silent holds nobody beyond the end of their context,
// at whatever point of the conversation it happens.
func TestCancelWhereverItHangs(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	data := sample(100_000)
	r.write("x", data)
	for at := int64(0); at < 5000; at += 117 {
		// A new client, so that it begins with the handshake.
		c := r.another(sftpmount.Config{})
		m := r.mountBy(c, "x")
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

// One who stops waiting does not disturb the others on the connection.
func TestCancelOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	data := sample(5_000_000)
	m := r.put("x", data)
	stream, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(stream, head); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		other, err := m.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := io.Copy(io.Discard, other); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		other.Close()
	}
	rest, err := io.ReadAll(stream)
	if err != nil || !bytes.Equal(append(head, rest...), data) {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if n := r.proxy.Dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// A server that has gone silent is given up also by who waits for ever.
func TestStall(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	r.write("x", sample(600_000))
	for _, at := range []int64{0, 1000, 100_000} {
		m := r.mountBy(r.another(sftpmount.Config{StallTime: 300 * time.Millisecond, ConnectTime: 2 * time.Second}), "x")
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

// A connection in use that says nothing because nobody asks is not given up.
func TestQuietIsNotStalled(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{StallTime: 5 * time.Second})
	data := sample(3_000_000)
	stream, err := r.put("x", data).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	passed := r.proxy.Passed()
	for deadline := time.Now().Add(soon); r.proxy.Passed() < passed+200; time.Sleep(5 * time.Millisecond) { // answers to keep-alives
		if time.Now().After(deadline) {
			t.Fatal("nothing keeps the connection alive")
		}
	}
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A connection that was lost while nobody used it is made again, unseen.
func TestReconnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	m := r.put("x", []byte("x"))
	for i := range 5 {
		if _, err := read(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if n := r.proxy.Dials(); n != i+1 {
			t.Fatalf("%d connections after %d losses", n, i)
		}
		r.proxy.CutAll()
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{IdleTime: 50 * time.Millisecond})
	m := r.put("x", []byte("x"))
	for range 2 {
		if _, err := read(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(soon); r.proxy.Open() > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are open", r.proxy.Open())
			}
		}
	}
}

// A server that allows one channel alone is served by one.
func TestOneChannel(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, folder: t.TempDir(), server: servertest.StartSSHD(t, "MaxSessions 1\n")}
	r.root = r.folder
	r.connect(sftpmount.Config{})
	data := sample(10_000)
	m := r.put("x", data)
	var streams []io.ReadCloser
	for range 30 {
		s, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		streams = append(streams, s)
	}
	for _, s := range streams {
		if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
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

// A server that is none costs what its answer takes, and no more.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	known := servertest.StartSSHD(t, "").KnownHosts
	for name, greeting := range map[string]string{
		"endless line":     "SSH-2.0-",
		"endless lines":    "hello\r\n",
		"password in it":   secret + "\r\n",
		"another protocol": "220 FTP\r\n",
		"hangs up":         "",
	} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
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
			for more := bytes.Repeat([]byte(greeting), 1000); err == nil && sent < 1<<30 && name[0] == 'e'; {
				n, err = conn.Write(more)
				sent += int64(n)
			}
			done <- sent
		}()
		c := sftpmount.New(sftpmount.Config{KnownHosts: []string{known}, Login: as(&sftpmount.Login{User: "ann", Password: secret}), ConnectTime: time.Second})
		m, err := c.Open("sftp://" + l.Addr().String() + "/x")
		if err != nil {
			t.Fatal(err)
		}
		within(t, name, func() {
			_, err := m.Stat(t.Context())
			if err == nil || bytes.Contains([]byte(err.Error()), []byte(secret)) {
				t.Errorf("%s: %v", name, err)
			}
		})
		t.Logf("%s: %d bytes", name, <-done)
		l.Close()
		c.Close()
	}
}

// A dial that the program refuses is refused in its own words.
func TestRefusedDial(t *testing.T) {
	t.Parallel()
	c := sftpmount.New(sftpmount.Config{
		Login: as(&sftpmount.Login{User: "ann", Password: secret}),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, mount.ErrDenied
		},
	})
	defer c.Close()
	m, err := c.Open("sftp://10.0.0.1/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context()); !errors.Is(err, mount.ErrDenied) {
		t.Errorf("%v", err)
	}
}
