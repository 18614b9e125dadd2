package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A rig is a store with its API, over both kinds of listeners.
type rig struct {
	t      *testing.T
	store  *dagstore.Store
	server *Server
	hub    *Hub
	local  *httptest.Server // as the socket
	tcp    *httptest.Server
	dir    string
	tokens map[string]string // secrets by name
	log    *logged
}

// logged keeps what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// newRig opens a store; adjust, which may be nil, changes the configuration.
func newRig(t *testing.T, adjust func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, hub: NewHub(), dir: t.TempDir(), tokens: make(map[string]string), log: new(logged)}
	mounts := mount.Registry{"file": filemount.Open}
	var err error
	r.store, err = dagstore.Open(t.Context(), filepath.Join(r.dir, "store"), &dagstore.Config{Events: r.hub.Events(), Mounts: mounts})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, "tokens")
	for name, scopes := range map[string][]Scope{"reader": {Read}, "writer": {Write}, "owner": {Write, Private}} {
		if r.tokens[name], err = AddToken(path, name, scopes); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &Config{
		Hub: r.hub, Mounts: mounts, Tokens: tokens, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		Program: "test", Folder: r.dir, Command: "test", Scratch: t.TempDir(),
		Admin: func() string { return r.tcp.URL },
	}
	if adjust != nil {
		adjust(cfg)
	}
	if r.server, err = New(r.store, cfg); err != nil {
		t.Fatal(err)
	}
	r.local = httptest.NewServer(r.server.Local())
	r.tcp = httptest.NewServer(r.server.Guarded())
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
		r.local.Close()
		r.tcp.Close()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// car writes a CAR of raw blocks and returns its URL.
func (r *rig) car(name string, texts ...string) string {
	r.t.Helper()
	return r.file(name, carOf(texts...))
}

// carOf is a CAR of raw blocks.
func carOf(texts ...string) []byte {
	blocks := make([]cartest.Block, len(texts))
	for i, text := range texts {
		blocks[i] = cartest.Raw([]byte(text))
	}
	return cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
}

func (r *rig) file(name string, data []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		r.t.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return m.URL()
}

// register registers a CAR of texts.
func (r *rig) register(key string, texts ...string) {
	r.t.Helper()
	m, err := filemount.Open(r.car(strings.NewReplacer("/", "_", ".", "_").Replace(key)+".car", texts...))
	if err == nil {
		err = r.store.Register(r.t.Context(), shard.Key(key), m, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// An ask is one request.
type ask struct {
	method, path string
	body         string
	kind         string // Content-Type; "": JSON if there is a body
	token        string
	header       map[string]string
	host         string
}

// do sends it over a listener and returns the answer with its body.
func (r *rig) do(over *httptest.Server, a ask) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), a.method, over.URL+strings.TrimSuffix(prefix, "/")+a.path, strings.NewReader(a.body))
	if err != nil {
		r.t.Fatal(err)
	}
	if a.body != "" || a.kind != "" {
		if a.kind == "" {
			a.kind = mimeJSON
		}
		request.Header.Set("Content-Type", a.kind)
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	for name, value := range a.header {
		request.Header.Set(name, value)
	}
	if a.host != "" {
		request.Host = a.host
	}
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	return response, string(text)
}

// want asks over the socket, wants a status, and reads the answer into v.
func (r *rig) want(status int, method, path string, body, v any) {
	r.t.Helper()
	a := ask{method: method, path: path}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		a.body = string(text)
	}
	response, text := r.do(r.local, a)
	if response.StatusCode != status {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, path, response.StatusCode, status, text)
	}
	if v == nil {
		return
	}
	reflect.ValueOf(v).Elem().SetZero()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		r.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

// poll calls f until it is true, for a minute at most.
func (r *rig) poll(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	r.t.Fatalf("waited for a minute: %s", what)
}

// problem reads a problem.
func problem(t *testing.T, text string) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("no problem: %v: %q", err, text)
	}
	return p
}

// listen reads events until the returned function is called.
func (r *rig) listen(query, last string) (<-chan wire.Event, func()) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.local.URL+prefix+"events"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	out := make(chan wire.Event)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e wire.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				e.Error = fmt.Sprint("not an event: ", err)
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, func() { stop(); <-ended }
}

// next is the next event.
func (r *rig) next(events <-chan wire.Event) wire.Event {
	r.t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(time.Minute):
		r.t.Fatal("no event for a minute")
		return wire.Event{}
	}
}
