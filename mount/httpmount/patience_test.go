package httpmount_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

// served is a client whose every connection leads to answer. It must be made
// within a bubble, whose clock is then that of the server, too.
func served(t *testing.T, cfg *httpmount.Config, answer func(conn net.Conn)) *httpmount.Client {
	c, err := httpmount.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.DialBy(func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				answer(theirs)
			}
		}()
		return ours, nil
	})
	return c
}

// gone waits until the client has closed the connection.
func gone(conn net.Conn) { io.Copy(io.Discard, conn) }

// drip sends bytes one at a time, with a pause after each.
func drip(conn net.Conn, s string, pause time.Duration) {
	for i := range len(s) {
		if _, err := io.WriteString(conn, s[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// Servers that keep a caller waiting are given up after a while that is known.
func TestPatience(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
	for name, c := range map[string]struct {
		answer func(conn net.Conn)
		within time.Duration
	}{
		"no answer":         {gone, 30 * time.Second},
		"half an answer":    {func(conn net.Conn) { io.WriteString(conn, head[:20]); gone(conn) }, 30 * time.Second},
		"a dripping answer": {func(conn net.Conn) { drip(conn, head, time.Second); gone(conn) }, 30 * time.Second},
		"no body":           {func(conn net.Conn) { io.WriteString(conn, head); gone(conn) }, 30 * time.Second},
		"half a body":       {func(conn net.Conn) { io.WriteString(conn, head+strings.Repeat("x", 50_000)); gone(conn) }, 30 * time.Second},
		"one byte a minute": {func(conn net.Conn) { io.WriteString(conn, head); drip(conn, strings.Repeat("x", 9999), time.Minute) }, 30 * time.Second},
		"one byte a second": {func(conn net.Conn) { io.WriteString(conn, head); drip(conn, strings.Repeat("x", 9999), time.Second) }, 30 * time.Second},
		"a slow answer, then nothing": {func(conn net.Conn) {
			time.Sleep(29 * time.Second)
			io.WriteString(conn, head)
			gone(conn)
		}, 59 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := open(t, served(t, nil, c.answer), "http://cars.example.org/photos.car")
				begin := time.Now()
				_, err := read(m.Open(t.Context()))
				if took := time.Since(begin); !errors.Is(err, mount.ErrStalled) || took != c.within {
					t.Errorf("after %v: %v", took, err)
				}
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
					t.Errorf("it looks like the end of the caller's context: %v", err)
				}
				time.Sleep(2 * time.Minute) // the server finds that nobody listens, and nothing is left behind
			})
		})
	}
}

// A source that is slow but goes on is not given up, and neither is one whose
// reader takes its time.
func TestPatienceHolds(t *testing.T) {
	body := strings.Repeat("x", 64<<10)
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
	synctest.Test(t, func(t *testing.T) {
		web := served(t, nil, func(conn net.Conn) {
			io.WriteString(conn, head)
			for at := 0; at < len(body); at += 5000 {
				time.Sleep(25 * time.Second)
				io.WriteString(conn, body[at:min(at+5000, len(body))])
			}
		})
		defer web.CloseIdle()
		if got, err := read(open(t, web, "http://cars.example.org/").Open(t.Context())); got != body || err != nil {
			t.Errorf("a slow source gives %d bytes, %v", len(got), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		web := served(t, nil, func(conn net.Conn) { io.WriteString(conn, head+body) })
		defer web.CloseIdle()
		r, err := open(t, web, "http://cars.example.org/").Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for buf, n := make([]byte, 1000), 0; n < len(body); {
			got, err := r.Read(buf)
			if err != nil {
				t.Fatalf("a slow reader gets %v after %d bytes", err, n)
			}
			n += got
			time.Sleep(time.Hour)
		}
	})
	synctest.Test(t, func(t *testing.T) { // for ever
		web := served(t, &httpmount.Config{Patience: -1}, func(conn net.Conn) {
			time.Sleep(1000 * time.Hour)
			io.WriteString(conn, head+body)
		})
		defer web.CloseIdle()
		if _, err := read(open(t, web, "http://cars.example.org/").Open(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// The context of a caller ends a wait at once, wherever it is.
func TestContextEndsAWait(t *testing.T) {
	for name, answer := range map[string]func(conn net.Conn){
		"for an answer": gone,
		"for a body":    func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"); gone(conn) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := open(t, served(t, nil, answer), "http://cars.example.org/")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			if _, err := read(m.Open(ctx)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("a wait %s ends after %v with %v", name, time.Since(begin), err)
			}
			synctest.Wait()
		})
	}
}

// A host that does not take connections stalls, too: the time-out of a dial is
// not the end of the caller's context, which it resembles.
func TestDialTimeOut(t *testing.T) {
	web := client(t, nil)
	web.DialBy(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Deadline: time.Unix(1, 0)}).DialContext(ctx, network, "127.0.0.1:1")
	})
	_, err := open(t, web, "http://cars.example.org/").Stat(t.Context())
	if !errors.Is(err, mount.ErrStalled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it gives %v", err)
	}
}

// Nobody waits long for the page about an error.
func TestErrorPageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := served(t, nil, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nx")
			gone(conn)
		})
		begin := time.Now()
		_, err := open(t, web, "http://cars.example.org/").(mount.RangeOpener).OpenRange(t.Context(), mount.Range{Length: -1})
		if took := time.Since(begin); !errors.Is(err, fs.ErrNotExist) || took > time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		synctest.Wait()
	})
}

// Who closes a stream ends its Read.
func TestCloseEndsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := served(t, &httpmount.Config{PerHost: 1}, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
			gone(conn)
		})
		r, err := open(t, web, "http://cars.example.org/").Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(r)
			ended <- err
		}()
		synctest.Wait()
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("the read ends with %v", err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("a closed stream can be read")
		}
	})
}

// A stream that has been read to its end holds up nobody.
func TestPerHostAtTheEnd(t *testing.T) {
	for name, size := range map[string]int{"all that there is": 1, "the end, too": 2} {
		synctest.Test(t, func(t *testing.T) {
			web := served(t, &httpmount.Config{PerHost: 1}, func(conn net.Conn) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nAccept-Ranges: bytes\r\nContent-Length: 1\r\n\r\n")
				io.WriteString(conn, "x")
				gone(conn)
			})
			defer web.CloseIdle()
			m := open(t, web, "http://cars.example.org/")
			r, err := m.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if n, err := io.ReadFull(r, make([]byte, size)); n != 1 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			begin := time.Now()
			if _, err := m.Stat(t.Context()); err != nil || time.Since(begin) > time.Second {
				t.Errorf("after %s has been read, another request takes %v, %v", name, time.Since(begin), err)
			}
		})
	}
}

// No more requests than allowed are under way, and who came first goes first.
func TestPerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := served(t, &httpmount.Config{PerHost: 2}, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nAccept-Ranges: bytes\r\nContent-Length: 1\r\n\r\nx")
			gone(conn)
		})
		m := open(t, web, "http://cars.example.org/")
		var held []io.Closer
		for range 2 {
			r, err := m.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, r)
		}
		order := make(chan int, 10)
		ctxs := make([]context.CancelFunc, 10)
		for i := range 10 {
			var ctx context.Context
			ctx, ctxs[i] = context.WithCancel(t.Context())
			defer ctxs[i]()
			go func() {
				r, err := m.Open(ctx)
				if errors.Is(err, context.Canceled) {
					order <- -i
					return
				}
				order <- i
				r.Close()
			}()
			synctest.Wait()
		}
		if waiting, _ := web.Waiting("cars.example.org"); waiting != 10 || len(order) > 0 {
			t.Errorf("%d wait, %d have gone through", waiting, len(order))
		}
		if _, err := open(t, web, "http://other.example.org/").Stat(t.Context()); err != nil {
			t.Errorf("another host: %v", err)
		}
		ctxs[3]()
		if got := <-order; got != -3 {
			t.Errorf("%d left the line", got)
		}
		held[0].Close()
		for _, want := range []int{0, 1, 2, 4, 5, 6, 7, 8, 9} {
			if got := <-order; got != want {
				t.Errorf("%d came instead of %d", got, want)
			}
		}
		held[1].Close()
		synctest.Wait()
		if _, hosts := web.Waiting("cars.example.org"); hosts != 0 {
			t.Errorf("%d hosts are remembered", hosts)
		}
		web.CloseIdle()
	})
}
