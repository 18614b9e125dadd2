package httpmount_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// counted is a server that counts its connections.
type counted struct {
	*httptest.Server
	mu   sync.Mutex
	all  int
	live map[net.Conn]bool
}

func newCounted(t *testing.T, handler http.Handler) *counted {
	c := &counted{live: make(map[net.Conn]bool)}
	c.Server = httptest.NewUnstartedServer(handler)
	c.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch state {
		case http.StateNew:
			c.all++
			c.live[conn] = true
		case http.StateClosed, http.StateHijacked:
			delete(c.live, conn)
		case http.StateActive, http.StateIdle:
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func (c *counted) connections() (all, live int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all, len(c.live)
}

// until polls.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

// big is a source of 64 MiB, more than lies in any buffer on the way.
func big() http.Handler {
	data := make([]byte, 64<<20)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "car", time.Time{}, bytes.NewReader(data))
	})
}

// One after the other, reads share one connection, whatever they ask for and
// whatever comes of it.
func TestConnectionIsKept(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/car", big())
	mux.Handle("/away", http.RedirectHandler("/car", http.StatusFound))
	server := newCounted(t, mux)
	web := client(t, nil)
	m := open(t, web, server.URL+"/car")
	ctx := t.Context()
	for i := range int64(30) {
		if _, err := m.Stat(ctx); err != nil {
			t.Fatal(err)
		}
		r := mount.Range{Offset: i * 1000, Length: 3000, Version: `"v1"`}
		if got, err := read(mount.OpenRange(ctx, m, r)); err != nil || len(got) != 3000 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if _, err := read(open(t, web, server.URL+"/absent").Open(ctx)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := read(mount.OpenRange(ctx, m, mount.Range{Offset: 64 << 20, Length: 1})); !errors.Is(err, mount.ErrRange) {
			t.Fatal(err)
		}
		if _, err := read(mount.OpenRange(ctx, m, mount.Range{Length: 1, Version: `"v2"`})); !errors.Is(err, mount.ErrChanged) {
			t.Fatal(err)
		}
		if got, err := read(mount.OpenRange(ctx, open(t, web, server.URL+"/away"), r)); err != nil || len(got) != 3000 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		// Closed when all bytes are there, though the end was not read.
		body, err := mount.OpenRange(ctx, m, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if all, _ := server.connections(); all != 1 {
		t.Errorf("240 requests took %d connections", all)
	}
}

// A body that is closed before its end costs its connection and no more.
func TestClosedEarly(t *testing.T) {
	server := newCounted(t, big())
	web := client(t, nil)
	m := open(t, web, server.URL+"/car")
	for range 20 {
		body, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "every connection is closed", func() bool { _, live := server.connections(); return live == 0 })
}

// After a storm of requests no more connections are kept than are of use.
func TestIdleConnectionsAreBounded(t *testing.T) {
	var together sync.WaitGroup
	server := newCounted(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			together.Done()
			together.Wait() // so that each needs a connection
		}
		io.WriteString(w, "CAR")
	}))
	web := client(t, nil)
	m := open(t, web, server.URL+"/car")
	storm := func(requests int) {
		together.Add(requests)
		var wg sync.WaitGroup
		for range requests {
			wg.Go(func() {
				if got, err := read(m.Open(t.Context())); got != "CAR" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wg.Wait()
	}
	storm(64)
	if all, _ := server.connections(); all != 64 {
		t.Errorf("64 requests at once took %d connections", all)
	}
	until(t, "16 connections", func() bool { _, live := server.connections(); return live == 16 })
	storm(16)
	if all, live := server.connections(); all != 64 || live != 16 {
		t.Errorf("16 more took %d connections, and %d are open", all-64, live)
	}
	web.CloseIdle()
	until(t, "every connection is closed", func() bool { _, live := server.connections(); return live == 0 })
}
