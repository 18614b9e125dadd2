package dagstore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/shard"
)

// The secrets of this test, and what stands on the wire for one of them.
const (
	markedToken    = "marker-bearer-Zm9v"
	markedPassword = "marker-password-YmFy"
	markedHeader   = "marker-header-YmF6"
	markedQuery    = "marker-query-cXV4"
)

// A heard is all that a store and its sources say, in any way.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) say(what string, v any) {
	text, err := json.Marshal(v)
	fmt.Fprintf(h, "%s: %+v\n%#v\n%s %v\n", what, v, v, text, err)
}

// error is an error with all that it wraps.
func (h *heard) error(what string, err error) {
	h.say(what, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		fmt.Fprintf(h, verb+"\n", err)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			h.error("wrapped", inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			h.error("wrapped", inner)
		}
	}
}

// leaks names the secrets that are in text.
func leaks(text []byte, secrets []string) (found []string) {
	for _, s := range secrets {
		if bytes.Contains(text, []byte(s)) {
			found = append(found, s)
		}
	}
	return found
}

// guarded is a server that wants a bearer token, a password or a header of its
// own, each for a folder, and shows what it has to those alone who bring it.
func guarded(t *testing.T, dir string) *servertest.Nginx {
	t.Helper()
	want := func(folder, variable, value string) string {
		return fmt.Sprintf(`location /%s/ { if (%s != "%s") { return 401; } }`, folder, variable, value)
	}
	basic := base64.StdEncoding.EncodeToString([]byte("reader:" + markedPassword))
	return servertest.StartNginx(t, dir,
		want("bearer", "$http_authorization", "Bearer "+markedToken),
		want("basic", "$http_authorization", "Basic "+basic),
		want("header", "$http_x_api_key", markedHeader),
		`location /gone/ { return 404; }`)
}

// TestSecrets: secrets that sources are read with are in nothing that a store
// writes, logs, counts, lists or says, whether it goes well or not.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	kinds := []string{"bearer", "basic", "header"}
	cars := map[string][]byte{}
	for i, kind := range kinds {
		cars[kind] = cartest.RandomV1(uint64(i), 20, 3000)
		if err := os.Mkdir(filepath.Join(dir, kind), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"good.car": cars[kind], "bad.car": []byte("this is no CAR"), "cut.car": cars[kind][:5000]} {
			if err := os.WriteFile(filepath.Join(dir, kind, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	server, busy := guarded(t, dir), servertest.StartNginx(t, dir, `location / { return 503; }`)
	b := newBucket(t)
	b.put(t, "good.car", cartest.RandomV1(9, 20, 3000))
	b.put(t, "bad.car", []byte("this is no CAR either"))

	host := strings.TrimPrefix(server.URL, "http://")
	var clients []*httpmount.Client
	for _, c := range []httpmount.Credential{
		{Bearer: markedToken}, {User: "reader", Password: markedPassword}, {Header: "X-Api-Key", Value: markedHeader},
	} {
		c.Hosts, c.PlainHTTP = []string{host}, true
		web, err := httpmount.New(&httpmount.Config{Credentials: []httpmount.Credential{c}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(web.CloseIdle)
		clients = append(clients, web)
	}
	// One host has one credential, so each folder has a client of its own.
	web := func(url string) (mount.Mount, error) {
		for i, kind := range kinds {
			if strings.Contains(url, "/"+kind+"/") {
				return clients[i].Open(url)
			}
		}
		return clients[0].Open(url)
	}
	secrets := []string{
		markedToken, markedPassword, markedHeader, markedQuery, b.SecretKey,
		base64.StdEncoding.EncodeToString([]byte("reader:" + markedPassword)),
	}
	var all heard
	registry := prometheus.NewRegistry()
	folder := t.TempDir()
	cfg := &dagstore.Config{
		Mounts:  mount.Registry{"http": web, "s3": b.s3.Open},
		Logger:  slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: registry,
		Hosts:   dagstore.Hosts{Patience: time.Millisecond},
		Events: dagstore.Events{
			Transition: func(e dagstore.Transition) { all.say("transition", e) },
			Work:       func(e dagstore.WorkEvent) { all.say("work", e) },
			Fault:      func(e dagstore.FaultEvent) { all.say("fault", e) },
			Host:       func(e dagstore.HostHealth) { all.say("host", e) },
			Trouble:    func(err error) { all.error("trouble", err) },
		},
	}
	store, err := dagstore.Open(t.Context(), folder, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	good := map[shard.Key]string{"s3": "s3://" + bucketName + "/good.car"}
	bad := map[shard.Key]string{
		"s3 bad": "s3://" + bucketName + "/bad.car", "s3 gone": "s3://" + bucketName + "/gone.car", "s3 none": "s3://nobody-has-this/x.car",
		"gone": server.URL + "/gone/x.car", "busy": busy.URL + "/x.car", "closed": server.URL + "/basic/../bearer/absent.car",
		"dead": "http://127.0.0.1:1/x.car",
	}
	for i, kind := range kinds {
		good[shard.Key(kind)] = server.URL + "/" + kind + "/good.car"
		bad[shard.Key(kind+" bad")] = server.URL + "/" + kind + "/bad.car"
		bad[shard.Key(kind+" cut")] = server.URL + "/" + kind + "/cut.car"
		// The credential of one is shown where another is wanted.
		wrong, err := clients[(i+1)%len(clients)].Open(server.URL + "/" + kind + "/good.car")
		if err != nil {
			t.Fatal(err)
		}
		_, err = wrong.Stat(t.Context())
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s with another credential: %v", kind, err)
		}
		all.error("refused", err)
	}
	useSecrets(t, store, cfg.Mounts, good, bad, &all)
	refuseSecrets(t, store, cfg.Mounts, host, &all)

	for info, err := range store.Shards(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all.say("info", info)
	}
	all.say("stats", store.Stats())
	all.say("hosts", store.Hosts())
	all.say("config", cfg)
	for _, c := range clients {
		all.say("client", c)
	}
	all.say("client of S3", b.s3)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		fmt.Fprintln(&all, f)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(all.text.Bytes(), []byte("/bearer/good.car")) || !bytes.Contains(all.text.Bytes(), []byte("dagstore_index_seconds")) {
		t.Error("what was said is not all here")
	}
	for _, secret := range leaks(all.text.Bytes(), secrets) {
		at := bytes.Index(all.text.Bytes(), []byte(secret))
		t.Errorf("%s was said: …%s…", secret, all.text.Bytes()[max(0, at-300):][:300])
	}
	noneInFiles(t, folder, secrets)
}

// useSecrets reads what can be read and fails at the rest.
func useSecrets(t *testing.T, store *dagstore.Store, mounts mount.Registry, good, bad map[shard.Key]string, all *heard) {
	t.Helper()
	open := func(url string) mount.Mount {
		m, err := mounts.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for key, url := range good {
		err := store.Register(t.Context(), key, open(url), &dagstore.RegisterOptions{Verify: true, Labels: map[string]string{"of": "a test"}})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	for seed, key := range []shard.Key{"bearer", "basic", "header"} {
		if err := holdAndRead(t.Context(), store, key, cartest.RandomBlock(uint64(seed), 7, 3000)); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	if err := holdAndRead(t.Context(), store, "s3", cartest.RandomBlock(9, 7, 3000)); err != nil {
		t.Error(err)
	}
	for key, url := range bad {
		err := store.Register(t.Context(), key, open(url), nil)
		if err == nil {
			t.Errorf("%q is registered", key)
		}
		all.error("register", err)
		all.error("recover", store.Recover(t.Context(), key, nil))
		all.error("remount", store.Remount(t.Context(), "bearer", open(url), dagstore.CompareFull))
		all.error("replace", store.Replace(t.Context(), "bearer", open(url), nil))
	}
}

// refuseSecrets offers URLs that hold a secret: they are refused, and not
// repeated.
func refuseSecrets(t *testing.T, store *dagstore.Store, mounts mount.Registry, host string, all *heard) {
	t.Helper()
	for _, url := range []string{
		"http://reader:" + markedQuery + "@" + host + "/x.car",
		"http://" + markedQuery + "@" + host + "/x.car",
		"http://" + host + "/x.car?X-Amz-Credential=a&X-Amz-Signature=" + markedQuery,
		"http://" + host + "/x.car?token=" + markedQuery,
		"s3://owner:" + markedQuery + "@" + bucketName + "/x.car",
		"s3://" + bucketName + "/x.car?X-Amz-Signature=" + markedQuery,
	} {
		_, err := mounts.Open(url)
		if !errors.Is(err, mount.ErrURL) {
			t.Errorf("a URL with a secret: %v", err)
		}
		all.error("open", err)
		err = store.Register(t.Context(), "told", lying{url}, nil)
		if err == nil {
			t.Error("a mount whose URL holds a secret is taken")
		}
		all.error("register", err)
		err = store.Register(t.Context(), "told", lying{"http://" + host + "/bearer/good.car"}, &dagstore.RegisterOptions{IndexURL: url})
		if err == nil {
			t.Error("an index at a URL with a secret is taken")
		}
		all.error("index", err)
	}
	if _, err := store.Info(t.Context(), "told"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("what was refused is known: %v", err)
	}
}

// lying is a mount of somebody's own, with a URL that no kind would give it.
type lying struct{ url string }

func (l lying) URL() string { return l.url }
func (lying) Stat(context.Context) (mount.Stat, error) {
	return mount.Stat{}, fs.ErrNotExist
}
func (lying) Open(context.Context) (io.ReadCloser, error) { return nil, fs.ErrNotExist }

// noneInFiles reads every file of a store.
func noneInFiles(t *testing.T, folder string, secrets []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if found := leaks([]byte(path), secrets); len(found) > 0 {
			t.Errorf("the name %s holds %q", path, found)
		}
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if found := leaks(text, secrets); len(found) > 0 {
			t.Errorf("%s holds %q", path, found)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files were read: %v", files, err)
	}
}
