package admin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A clocked is a ResponseWriter that notes when it was given how much time.
type clocked struct {
	header      http.Header
	read, write []time.Time
	deadlines   []int // how many write deadlines there were before each write
	sizes       []int
}

func (c *clocked) Header() http.Header { return c.header }
func (c *clocked) WriteHeader(int)     {}
func (c *clocked) Write(p []byte) (int, error) {
	c.deadlines, c.sizes = append(c.deadlines, len(c.write)), append(c.sizes, len(p))
	return len(p), nil
}

func (c *clocked) SetReadDeadline(at time.Time) error {
	c.read = append(c.read, at)
	return nil
}

func (c *clocked) SetWriteDeadline(at time.Time) error {
	c.write = append(c.write, at)
	return nil
}

// TestPace: each piece has its own time, in either direction, so a client that
// moves is waited for.
func TestPace(t *testing.T) {
	s := &Server{patience: time.Hour}
	w := &clocked{header: make(http.Header)}
	body := strings.NewReader(strings.Repeat("x", 3*morsel))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", body)
	if err != nil {
		t.Fatal(err)
	}
	p := s.pace(w, r)
	if len(w.read) != 1 || len(w.write) != 1 {
		t.Fatalf("at the beginning: %v, %v", w.read, w.write)
	}
	if n, err := p.Write(make([]byte, 3*morsel+1)); n != 3*morsel+1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for i, n := range w.deadlines {
		if n != i+2 || w.sizes[i] > morsel {
			t.Errorf("piece %d, of %d bytes, comes after %d deadlines", i, w.sizes[i], n)
		}
	}
	in := limited(p, r.Body, 1<<30)
	reads := 0
	for buf := make([]byte, 2*morsel); ; reads++ {
		n, err := in.Read(buf)
		if n > morsel || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%d, %v", n, err)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if got := len(w.read); got != reads+2 || time.Until(w.read[got-1]) < time.Minute {
			t.Errorf("read %d comes after %d deadlines", reads, got)
		}
	}
	if last := w.read[len(w.read)-1]; reads < 3 || !last.IsZero() {
		t.Errorf("%d reads; after the end there is a deadline: %v", reads, last)
	}
}

// TestStandstill: a client that takes nothing of what it is sent is given up, and
// so is one that sends nothing of what it has to; neither keeps anything.
func TestStandstill(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Add = addLines })
	const large = 24 << 20 // no buffer on the way has as much
	m, err := filemount.Open(r.file("large.car", carOf(strings.Repeat("x", large), strings.Repeat("y", large))))
	if err == nil {
		err = r.store.Register(t.Context(), "large", m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.server.patience = 3 * time.Second
	conns := make(map[string]net.Conn)
	for name, request := range map[string]string{
		"a CAR":      "GET /api/v1/shards/large/file/car HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a list":     "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9\r\n\r\n",
		"a manifest": "PUT /api/v1/shards/large/manifests/m HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n",
		"JSON":       "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
		"nothing":    "POST /api/v1/gc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", r.local.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		conns[name] = conn
	}
	for name, conn := range conns {
		if name == "a CAR" {
			continue
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := io.ReadAll(response.Body)
		want := http.StatusRequestTimeout
		if name == "nothing" {
			want = http.StatusOK
		}
		if err != nil || response.StatusCode != want || want != http.StatusOK && !strings.HasSuffix(problem(t, string(text)).Type, "/slow-client") {
			t.Errorf("%s: %d, %s, %v", name, response.StatusCode, text, err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
	r.poll("nobody is in a room", func() bool {
		r.server.room.mu.Lock()
		defer r.server.room.mu.Unlock()
		return len(r.server.room.of) == 0
	})
}

// TestLaterOnOneConnection: the time that an answer had is not that of the next one
// on the same connection.
func TestLaterOnOneConnection(t *testing.T) {
	r := newRig(t, nil)
	r.register("a", "text")
	r.server.patience = 2 * time.Second
	conn, err := net.Dial("tcp", r.local.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, line := range []string{"GET /api/v1/export", "POST /api/v1/gc", "GET /api/v1/none"} {
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		time.Sleep(r.server.patience + 10*time.Millisecond)
	}
}

// TestCARBreaksOff: what goes wrong before the first byte of a CAR is a problem,
// and later the answer breaks off.
func TestCARBreaksOff(t *testing.T) {
	r := newRig(t, nil)
	data := carOf(strings.Repeat("x", 1<<20))
	r.file("a.car", data)
	m, err := filemount.New(filepath.Join(r.dir, "a.car"))
	if err == nil {
		err = r.store.Register(t.Context(), "a", m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	get := func(header map[string]string) (*http.Response, []byte, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.local.URL+prefix+"shards/a/file/car", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return response, text, err
	}
	if response, text, err := get(nil); err != nil || !bytes.Equal(text, data) || response.ContentLength != int64(len(data)) {
		t.Fatalf("the whole: %d of %d bytes, %v", len(text), len(data), err)
	}
	if response, text, err := get(map[string]string{"Range": "bytes=7-9"}); err != nil || response.StatusCode != http.StatusPartialContent || !bytes.Equal(text, data[7:10]) {
		t.Errorf("a range: %d, %q, %v", response.StatusCode, text, err)
	}
	if response, _, err := get(map[string]string{"Range": "bytes=9999999-"}); err != nil || response.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("no range: %d, %v", response.StatusCode, err)
	}
	if err := os.Truncate(filepath.Join(r.dir, "a.car"), int64(len(data)/2)); err != nil {
		t.Fatal(err)
	}
	half := map[string]string{"Range": fmt.Sprintf("bytes=%d-", len(data)*3/4)}
	r.poll("the end of a CAR that was cut", func() bool {
		response, text, err := get(half)
		return err == nil && response.StatusCode >= 400 && response.Header.Get("Content-Type") == mimeProblem &&
			response.Header.Get("Content-Range") == "" && problem(t, string(text)).Status == response.StatusCode
	})
	r.poll("that it broke off is written down", func() bool {
		if response, text, err := get(nil); err == nil && response.StatusCode < 300 {
			t.Fatalf("a CAR that was cut ends cleanly, with %d bytes", len(text))
		}
		return strings.Contains(r.log.String(), "was broken off")
	})
}

// TestExportAfter: the rest of a list is told, with how many are missing from all of
// it.
func TestExportAfter(t *testing.T) {
	r := newRig(t, nil)
	for _, key := range []string{"a", "b", "c"} {
		r.register(key, key)
	}
	keys := func(query string) (keys []string) {
		_, text := r.do(r.local, ask{method: "GET", path: "/export" + query})
		for entry, err := range wire.ReadList(strings.NewReader(text)) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, entry.Key)
		}
		return keys
	}
	for query, want := range map[string]string{"": "[a b c]", "?after=a": "[b c]", "?after=bb": "[c]", "?prefix=b&after=a": "[b]", "?after=c": "[]"} {
		if got := fmt.Sprint(keys(query)); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

// TestOldHTTP: an answer whose end cannot be told from its breaking off is not given.
func TestOldHTTP(t *testing.T) {
	r := newRig(t, nil)
	r.register("a", "a")
	for path, want := range map[string]int{"export": http.StatusHTTPVersionNotSupported, "shards/a/file/index": http.StatusHTTPVersionNotSupported, "shards/a/file/car": http.StatusOK, "stats": http.StatusOK} {
		conn, err := net.Dial("tcp", r.local.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET %s%s HTTP/1.0\r\nHost: localhost\r\n\r\n", prefix, path); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != want {
			t.Errorf("%s: %+v, %v", path, response, err)
		}
	}
}
