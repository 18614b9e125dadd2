package client_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A rig is a store with its API on a unix socket, and a client of that.
type rig struct {
	t      *testing.T
	dir    string
	socket string
	store  *dagstore.Store
	api    *admin.Server
	server atomic.Pointer[http.Server]
	client *client.Client
	// around, which may be nil, answers in the place of the API.
	around atomic.Pointer[func(http.ResponseWriter, *http.Request, http.Handler)]
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	short, err := os.MkdirTemp("", "d") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	r.socket = filepath.Join(short, "s")
	hub, mounts := admin.NewHub(), mount.Registry{"file": filemount.Open}
	if r.store, err = dagstore.Open(t.Context(), filepath.Join(r.dir, "store"), &dagstore.Config{Events: hub.Events(), Mounts: mounts}); err != nil {
		t.Fatal(err)
	}
	r.api, err = admin.New(r.store, &admin.Config{Hub: hub, Mounts: mounts, Folder: r.dir, Scratch: t.TempDir(), Add: r.add})
	if err != nil {
		t.Fatal(err)
	}
	r.serve()
	r.client = client.New(client.Unix(r.socket))
	if _, err := r.client.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.client.Close() // it always succeeds
		r.end()
		if err := r.api.Close(); err != nil {
			t.Error(err)
		}
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// serve begins to answer.
func (r *rig) serve() {
	r.t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(r.t.Context(), "unix", r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if f := r.around.Load(); f != nil {
			(*f)(w, request, r.api.Local())
			return
		}
		r.api.Local().ServeHTTP(w, request)
	})}
	r.server.Store(server)
	go func() { _ = server.Serve(listener) }()
}

// end answers nobody any more.
func (r *rig) end() { _ = r.server.Load().Close() }

// meanwhile has f answer those requests whose path has this in it.
func (r *rig) meanwhile(path string, f func(w http.ResponseWriter, request *http.Request, api http.Handler)) {
	g := func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		if strings.Contains(request.URL.Path, path) {
			f(w, request, api)
			return
		}
		api.ServeHTTP(w, request)
	}
	r.around.Store(&g)
}

// cut is an answer that breaks off after some bytes, or a little into its second
// line.
type cut struct {
	http.ResponseWriter
	left int // -1: the end of the first line is looked for
}

func (c *cut) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Write implements [http.ResponseWriter].
func (c *cut) Write(p []byte) (int, error) {
	if c.left < 0 {
		c.left = bytes.IndexByte(p, '\n') + 5
	}
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; n < len(p) || err != nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // they leave
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// file writes a file and returns its mount.
func (r *rig) file(name string, data []byte) mount.Mount {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		r.t.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// carOf is a CAR of raw blocks.
func carOf(texts ...string) ([]byte, []cartest.Block) {
	blocks := make([]cartest.Block, len(texts))
	for i, text := range texts {
		blocks[i] = cartest.Raw([]byte(text))
	}
	return cartest.V1([]cid.Cid{blocks[0].CID}, blocks), blocks
}

// register registers a CAR of texts over the client.
func (r *rig) register(key string, texts ...string) []cartest.Block {
	r.t.Helper()
	data, blocks := carOf(texts...)
	if err := r.client.Register(r.t.Context(), shard.Key(key), r.file(strings.ReplaceAll(key, "/", "_")+".car", data), nil); err != nil {
		r.t.Fatal(err)
	}
	return blocks
}

// add tells of each line of the list of a job.
func (r *rig) add(ctx context.Context, job wire.AddJob, list admin.ListReader, _ func(string) string, told *admin.Progress) error {
	if list == nil {
		list = bytes.NewBufferString(strings.Join(job.Sources, "\n"))
	}
	for entry, err := range wire.ReadList(list) {
		result := wire.Result{Name: entry.Mount, Size: int64(entry.Line)}
		if ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			p := wire.ProblemOf(err)
			result.Problem = &p
		}
		if err := told.Result(result); err != nil {
			return err
		}
	}
	return nil
}
