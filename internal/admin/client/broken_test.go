package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// TestGone: that nobody is there any more is told apart from all else, and so is
// what may have been done by who was there.
func TestGone(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	r.register("a", "one")
	// Sent, and it is not known what has come of it.
	r.meanwhile("/shards/a", func(http.ResponseWriter, *http.Request, http.Handler) {
		r.end()
		panic(http.ErrAbortHandler)
	})
	if err := c.Destroy(ctx, "a", nil); !errors.Is(err, client.ErrGone) || !errors.Is(err, client.ErrUnsure) {
		t.Errorf("what was sent: %v", err)
	}
	// Not sent, as nobody is there.
	for name, err := range map[string]error{"a removal": c.Destroy(ctx, "a", nil), "a look": func() error { _, err := c.Info(ctx, "a"); return err }()} {
		if !errors.Is(err, client.ErrGone) || errors.Is(err, client.ErrUnsure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What can be made twice leaves no doubt that it can.
	r.serve()
	if err := c.Pin(ctx, "a"); !errors.Is(err, client.ErrGone) || errors.Is(err, client.ErrUnsure) {
		t.Errorf("a pin: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.Pin(ended, "a"); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrGone) {
		t.Errorf("one that was given up: %v", err)
	}
}

// TestAnotherProcess: whoever answers at the same place later is not the one that
// was asked.
func TestAnotherProcess(t *testing.T) {
	r := newRig(t)
	r.register("a", "one")
	r.meanwhile("", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		if strings.HasSuffix(request.URL.Path, "/store") {
			writeStore(w, wire.Store{PID: 1})
			return
		}
		panic(http.ErrAbortHandler)
	})
	if err := r.client.Destroy(t.Context(), "a", nil); !errors.Is(err, client.ErrGone) || !errors.Is(err, client.ErrUnsure) {
		t.Errorf("%v", err)
	}
}

func writeStore(w io.Writer, is wire.Store) { _, _ = fmt.Fprintf(w, `{"api":1,"pid":%d}`, is.PID) }

// TestBroken: an answer that breaks off is no sign that nobody is there.
func TestBroken(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	blocks := r.register("a", strings.Repeat("one", 1000))
	r.meanwhile("/api/v1/", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		if strings.HasSuffix(request.URL.Path, "/store") {
			api.ServeHTTP(w, request)
			return
		}
		api.ServeHTTP(&cut{w, 10}, request)
	})
	_, indexErr := c.OpenIndex(ctx, "a")
	_, blockErr := c.Blocks().Get(ctx, blocks[0].CID)
	_, infoErr := c.Info(ctx, "a")
	_, exportErr := gather(c.Export(ctx, ""))
	_, eventsErr := gather(c.Events(ctx, ""))
	for name, err := range map[string]error{"an index": indexErr, "a block": blockErr, "a shard": infoErr, "a list": exportErr, "events": eventsErr} {
		if !errors.Is(err, client.ErrBroken) || errors.Is(err, client.ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of what was asked for once it is known that it was done.
	if err := c.Pin(ctx, "a"); err != nil {
		t.Errorf("a pin whose answer breaks off: %v", err)
	}
}

// TestSaysNo: who is not let in any more is told so, and not that nobody is there.
func TestSaysNo(t *testing.T) {
	r := newRig(t)
	r.register("a", "one")
	r.meanwhile("", func(w http.ResponseWriter, request *http.Request, _ http.Handler) {
		if strings.HasSuffix(request.URL.Path, "/store") {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"type":"/api/v1/problems/unauthorized"}`)
			return
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := r.client.Info(t.Context(), "a"); !errors.Is(err, client.ErrBroken) || errors.Is(err, client.ErrGone) {
		t.Errorf("%v", err)
	}
}

// TestGoesOn: who was cut off by the other side, as too slow, gets the rest.
func TestGoesOn(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	for _, key := range []string{"a", "b", "c", "d"} {
		r.register(key, key, strings.Repeat(key, 50_000))
	}
	asks := 0
	r.meanwhile("/export", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		asks++
		api.ServeHTTP(&cut{w, -1}, request)
	})
	entries, err := gather(c.Export(ctx, ""))
	if err != nil || len(entries) != 4 || asks < 3 {
		t.Errorf("%d entries, %d requests, %v", len(entries), asks, err)
	}
	for i, key := range []string{"a", "b", "c", "d"} {
		if i < len(entries) && entries[i].Key != key {
			t.Errorf("number %d is %q", i, entries[i].Key)
		}
	}

	asks = 0
	r.meanwhile("/file/car", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		if request.Method == http.MethodGet {
			asks++
		}
		api.ServeHTTP(&cut{w, 20_000}, request)
	})
	in, err := c.CAR(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	want, _ := carOf("a", strings.Repeat("a", 50_000))
	if got, err := io.ReadAll(in); err != nil || string(got) != string(want) || asks < 3 {
		t.Errorf("%d of %d bytes, %d requests, %v", len(got), len(want), asks, err)
	}

	asks = 0
	r.meanwhile("/jobs", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		asks++
		api.ServeHTTP(&cut{w, 1000}, request)
	})
	var job wire.AddJob
	for i := range 40 {
		job.Sources = append(job.Sources, fmt.Sprintf("file:///%d", i))
	}
	var names []string
	var last *wire.Job
	for result, err := range c.BeginAndFollow(ctx, wire.NewJob{Kind: wire.JobAdd, Add: &job}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case result.Job != nil:
			last = result.Job
		default:
			names = append(names, result.Name)
		}
	}
	if fmt.Sprint(names) != fmt.Sprint(job.Sources) || last == nil || last.State != wire.JobDone || asks < 3 {
		t.Errorf("%v, %+v, %d requests", names, last, asks)
	}
}

// TestSourceFails: what is wrong with a CAR is told, however much of it had come.
func TestSourceFails(t *testing.T) {
	r := newRig(t)
	data, _ := carOf("one", strings.Repeat("two", 1<<20))
	m := r.file("a.car", data)
	if err := r.client.Register(t.Context(), "a", m, nil); err != nil {
		t.Fatal(err)
	}
	in, err := r.client.CAR(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.Truncate(filepath.Join(r.dir, "a.car"), int64(len(data)/2)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, in)
	if one, ok := errors.AsType[*shard.Error](err); errors.Is(err, client.ErrGone) || errors.Is(err, client.ErrBroken) || !ok || one.Key != "a" {
		t.Errorf("%v", err)
	}
}

// TestNonsense: an answer that makes no sense is no sign that nobody is there.
func TestNonsense(t *testing.T) {
	for name, text := range map[string]string{"a bad line": `{"key":"a","mount":"file:///a"}` + "\nnonsense\n", "a cut one": `{"key":"a","mount":"fi`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		c := client.New(client.HTTP(server.URL, ""))
		_, exportErr := gather(c.Export(t.Context(), ""))
		_, eventsErr := c.Info(t.Context(), "a")
		_, membersErr := gather(c.Members(t.Context(), "a", "m"))
		for what, err := range map[string]error{"a list": exportErr, "a shard": eventsErr, "members": membersErr} {
			if what == "a shard" && name == "a bad line" {
				continue // that is one
			}
			if !errors.Is(err, client.ErrAnswer) || errors.Is(err, client.ErrGone) {
				t.Errorf("%s of %s: %v", name, what, err)
			}
		}
		_ = c.Close() // it always succeeds
		server.Close()
	}
}

// TestAnswerBeforeMembers: who is told no is not kept waiting by whoever gives the
// members, and has nothing more to give for now.
func TestAnswerBeforeMembers(t *testing.T) {
	r := newRig(t)
	r.meanwhile("/manifests/", func(w http.ResponseWriter, request *http.Request, api http.Handler) {
		w.Header().Set("Connection", "close") // nothing more of what is sent is read
		request.Body = http.NoBody
		api.ServeHTTP(w, request)
	})
	leave, ended := make(chan struct{}), make(chan struct{})
	members := func(func(multihash.Multihash, error) bool) {
		defer close(ended)
		<-leave
	}
	told := make(chan error, 1)
	go func() {
		_, err := r.client.PutManifest(t.Context(), "none", dagstore.Manifest{Name: "m"}, members, nil)
		told <- err
	}()
	select {
	case err := <-told:
		if !errors.Is(err, shard.ErrUnknown) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it is not told")
	}
	close(leave)
	<-ended
}
