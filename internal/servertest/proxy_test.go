package servertest

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A proxy passes what it may, and not a byte more.
func TestProxy(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(data)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	p := NewProxy(t)
	dial := func() net.Conn {
		t.Helper()
		c, err := p.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	if got, err := io.ReadAll(dial()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	p.CutAfter(12_345)
	if got, _ := io.ReadAll(dial()); len(got) != 12_345 {
		t.Errorf("%d bytes before the cut", len(got))
	}
	p.HangAfter(777)
	c := dial()
	got := make([]byte, 777)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	more, _ := io.ReadAll(c)
	got = append(got, more...)
	p.Heal()
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c)
	if len(got) != 777 || err != nil || !bytes.Equal(append(got, rest...), data) {
		t.Errorf("%d bytes before it hangs, then %d, %v", len(got), len(rest), err)
	}
	if p.Dials() != 3 || p.Passed() != int64(2*len(data)+12_345) {
		t.Errorf("%d connections, %d bytes", p.Dials(), p.Passed())
	}
}
