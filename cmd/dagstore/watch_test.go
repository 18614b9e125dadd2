package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/shard"
)

// watching starts "serve" with a configuration and returns its address.
func watching(t *testing.T, config string, args ...string) (*session, string) {
	t.Helper()
	s := start(t, nil, append([]string{"--config", config, "--repo", filepath.Join(t.TempDir(), "store"), "serve", "--listen", "127.0.0.1:0"}, args...)...)
	t.Cleanup(func() {
		s.stop()
		if code := s.ends(t); code != exitOK {
			t.Errorf("exit code %d:\n%s", code, s.stderr.String())
		}
	})
	return s, s.stderr.match(t, `serving (http://\S+/)\n`)
}

// serves waits until a block is served.
func (s *session) serves(t *testing.T, address, text string) {
	t.Helper()
	at := address + "ipfs/" + cartest.Raw([]byte(text)).CID.String() + "?format=raw"
	for deadline := time.Now().Add(mostWait); ; time.Sleep(20 * time.Millisecond) {
		status, body := fetch(t, at)
		if status == http.StatusOK && body == text {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not served: %d %s; it said:\n%s", text, status, body, s.stderr.String())
		}
	}
}

// configText writes a configuration, behind another one if that is not "".
func configText(t *testing.T, before, text string) string {
	t.Helper()
	if before != "" {
		data, err := os.ReadFile(before)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data) + text
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if before != "" {
		file = filepath.Join(filepath.Dir(before), "watching.toml")
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A folder that "serve" watches: what is moved there is served, what goes is
// told of and stays.
func TestServeWatch(t *testing.T) {
	dir, aside := t.TempDir(), t.TempDir()
	config := configText(t, "", fmt.Sprintf("[[watch]]\npath = %q\nevery = \"1s\"\nprefix = \"in/\"\nlabels = { from = \"there\" }\n", dir))
	s, address := watching(t, config, "--metrics", "127.0.0.1:0", "--watch", filepath.Join(aside, "absent"))
	s.stderr.match(t, `watched place.*what=trouble.*absent`)
	s.stderr.match(t, `msg=watching .*kind=folder cars=0`)
	writeCAR(t, aside, "a.car", "moved there")
	if err := os.Rename(filepath.Join(aside, "a.car"), filepath.Join(dir, "a.car")); err != nil {
		t.Fatal(err)
	}
	s.serves(t, address, "moved there")
	s.stderr.match(t, `msg=watched .*added=1`)
	if err := os.Remove(filepath.Join(dir, "a.car")); err != nil {
		t.Fatal(err)
	}
	s.stderr.match(t, `watched CAR.*what=vanished.*key=in/a`)
	_, body := fetch(t, s.stderr.match(t, `metrics and health on (http://127\.0\.0\.1:\d+)/`)+"/metrics")
	for _, line := range []string{
		`dagstore_watched_places{kind="folder",state="troubled"} 1`,
		`dagstore_watched_events_total{kind="folder",what="added"} 1`,
		`dagstore_watched_cars{kind="folder",state="vanished"} 1`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("the metrics do not have %s", line)
		}
	}
}

// methods stands before a server and counts its requests by what they are:
// LIST, or their method.
func methods(t *testing.T, server string) (address string, counts func() map[string]int) {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	pool := new(http.Transport)
	t.Cleanup(pool.CloseIdleConnections)
	front := httptest.NewServer(&httputil.ReverseProxy{Transport: pool, Rewrite: func(r *httputil.ProxyRequest) {
		what := r.In.Method
		if r.In.URL.Query().Get("list-type") == "2" {
			what = "LIST"
		}
		mu.Lock()
		seen[what]++
		mu.Unlock()
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
		r.Out.URL.Path, r.Out.URL.RawPath = r.In.URL.Path, r.In.URL.RawPath
	}})
	t.Cleanup(front.Close)
	return front.URL, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		out := make(map[string]int)
		for k, v := range seen {
			out[k] = v
		}
		return out
	}
}

// A bucket that is watched: objects appear and vanish. Looking at it takes
// LISTs alone, and they are all counted.
func TestWatchBucket(t *testing.T) {
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	server.Put(t, "/cars/out/b.car", carOf("elsewhere"))
	endpoint, counts := methods(t, server.Endpoint)
	a := &app{getenv: os.Getenv, config: bucketConfig(t, server, endpoint)}
	if err := a.configure(); err != nil {
		t.Fatal(err)
	}
	defer a.kinds.close()
	w := watchingPlaces(t, a, "s3://cars/in/")
	w.until("nothing is found", func() bool { return w.status().Looks > 0 }) // a page without an object is counted, too
	server.Put(t, "/cars/in/half.car.part", carOf("half"))
	server.Put(t, "/cars/in/a.car", carOf("the first"))
	w.until("the first is added", func() bool { return w.status().Added == 1 })
	server.Put(t, "/cars/in/sub/c.car", carOf("the second"))
	w.until("the second is added", func() bool { return w.status().Added == 2 })
	added := counts()
	looks := w.status().Looks
	w.until("it is looked at again", func() bool { return w.status().Looks >= looks+3 })
	idle := counts()
	delete(added, "LIST")
	lists := idle["LIST"]
	delete(idle, "LIST")
	if fmt.Sprint(added) != fmt.Sprint(idle) {
		t.Errorf("looking took other requests than LISTs: %v, before %v", idle, added)
	}
	w.until("all LISTs count", func() bool { // also one that is under way
		s := w.status()
		return s.Seen == 2 && s.Failed == 0 && s.Requests >= int64(lists)
	})
	if _, err := server.Do(http.MethodDelete, "/cars/in/a.car", "", nil); err != nil {
		t.Fatal(err)
	}
	w.until("one has vanished", func() bool { return w.status().Vanished == 1 })
	h := &holder{app: a}
	h.watcher.Store(w.w)
	if all := h.watchedPlaces(); len(all) != 1 || len(all[0].VanishedCARs) != 1 || all[0].VanishedCARs[0].Key != "a" || len(all[0].FailedCARs) != 0 {
		t.Errorf("the API says %+v", all)
	}
	server.Put(t, "/cars/in/a.car", carOf("the first"))
	w.until("it is back", func() bool { return w.status().Vanished == 0 })
	w.stop()
	if s, n := w.status(), int64(counts()["LIST"]); s.Requests != n && s.Requests != n-1 { // the last one may be cut off
		t.Errorf("the server has counted %d LISTs, we %d", n, s.Requests)
	}
	for _, text := range []string{"the first", "the second"} {
		if ok, err := w.store.Blockstore(nil).Has(t.Context(), cartest.Raw([]byte(text)).CID); !ok || err != nil {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
	}
	if fmt.Sprint(w.happened()) != "[added a added sub/c vanished a back a]" {
		t.Errorf("happened: %v", w.happened())
	}
}

// secureNginx serves a folder by HTTPS, and returns its address and the file
// with the certificate to trust.
func secureNginx(t *testing.T, dir string) (server *servertest.Nginx, address, ca string) {
	t.Helper()
	lent := httptest.NewTLSServer(nil) // it brings a certificate for this machine
	pair := lent.TLS.Certificates[0]
	lent.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(at, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secure := servertest.Address(t)
	server = servertest.StartNginx(t, dir, "listen "+secure+" ssl;",
		"ssl_certificate \""+filepath.Join(at, "cert")+"\";", "ssl_certificate_key \""+filepath.Join(at, "key")+"\";")
	return server, "https://" + secure, filepath.Join(at, "cert")
}

// A list behind HTTPS: it is read when it has changed and else only asked for.
func TestWatchList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		writeCAR(t, dir, name+".car", "block "+name)
	}
	server, address, ca := secureNginx(t, dir)
	list := func(lines ...string) {
		t.Helper()
		part := filepath.Join(dir, "list.part")
		if err := os.WriteFile(part, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(part, filepath.Join(dir, "list.ndjson")); err != nil {
			t.Fatal(err)
		}
	}
	list(address + "/one.car")
	a := &app{getenv: os.Getenv, config: configText(t, "", fmt.Sprintf("[sources]\nca = %q\n", ca))}
	if err := a.configure(); err != nil {
		t.Fatal(err)
	}
	defer a.kinds.close()
	w := watchingPlaces(t, a, address+"/list.ndjson")
	w.until("one is added", func() bool { return w.status().Added == 1 })
	w.until("it is asked for again", func() bool { return w.status().Skipped >= 2 })
	read := func() (heads, gets int) {
		for _, q := range server.Requests(t, 1) {
			switch {
			case q.URI != "/list.ndjson":
			case q.Method == http.MethodHead:
				heads++
			case q.Method == http.MethodGet:
				gets++
			}
		}
		return heads, gets
	}
	w.until("it was asked for three times", func() bool { heads, _ := read(); return heads >= 3 }) // nginx notes it later than it answers
	if _, gets := read(); gets != 1 {
		t.Errorf("it was read %d times", gets)
	}
	list(address+"/one.car", `{"key":"second","mount":"`+address+`/two.car","labels":{"a":"b"}}`, `{"mount":1}`)
	w.until("two is added", func() bool { return w.status().Added == 2 })
	w.until("the bad line is told of", func() bool { return w.status().Failed == 1 && w.status().Error != "" })
	list(`{"key":"second","mount":"` + address + `/two.car"}`)
	w.until("one has vanished", func() bool { return w.status().Vanished == 1 })
	w.until("nothing is wrong any more", func() bool { // which the end of that look tells
		s := w.status()
		return s.Error == "" && s.Failed == 0 && s.Seen == 1
	})
	if info, err := w.store.Info(t.Context(), "second"); err != nil || info.Labels["a"] != "b" {
		t.Errorf("%v, %v", info.Labels, err)
	}
	w.stop()
	heads, gets := read()
	if s := w.status(); s.Requests < int64(heads+gets)-1 || s.Requests > int64(heads+gets)+1 { // the last one may be cut off
		t.Errorf("nginx has counted %d and %d requests, we %d", heads, gets, s.Requests)
	}
}

// What a table of the configuration says is what is done.
func TestWatchOptions(t *testing.T) {
	dir := t.TempDir()
	a := &app{getenv: os.Getenv, config: configText(t, "", fmt.Sprintf(`[[watch]]
path = %q
every = "90s"
include = ["*.bin"]
prefix = "p/"
replace = true
lazy = true
pin = true
serve = "sparse"
index = "hop"
labels = { a = "b" }
[[watch]]
path = %q
verify = true
`, dir, filepath.Join(dir, "list.ndjson")))}
	if err := a.configure(); err != nil {
		t.Fatal(err)
	}
	places, err := a.places(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, o := places[0], places[0].Options
	if p.Kind != watch.Folder || p.Name != dir || p.Every != 90*time.Second || !p.Replace {
		t.Errorf("%+v", p)
	}
	if !o.Lazy || o.Verify || !o.Pin || o.Serve != shard.Sparse || o.Index != dagstore.Hop || o.Labels["a"] != "b" {
		t.Errorf("%+v", o)
	}
	for _, name := range []string{"in/a.bin", "a.car"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var keys []shard.Key
	for f, err := range p.Source.Look(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, f.Key)
	}
	if len(keys) != 1 || keys[0] != "p/in/a.bin" {
		t.Errorf("keys: %q", keys)
	}
	if p := places[1]; p.Kind != watch.List || p.Replace || !p.Options.Verify || p.Options.Lazy {
		t.Errorf("%+v", p)
	}
}

// A list on this machine.
func TestWatchListFile(t *testing.T) {
	dir := t.TempDir()
	writeCAR(t, dir, "one.car", "block one")
	file := filepath.Join(dir, "list.jsonl")
	if err := os.WriteFile(file, []byte("file://"+filepath.ToSlash(filepath.Join(dir, "one.car"))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-2 * time.Hour) // it has rested
	if err := os.Chtimes(file, past, past); err != nil {
		t.Fatal(err)
	}
	a := &app{getenv: os.Getenv, config: configText(t, "", "")}
	if err := a.configure(); err != nil {
		t.Fatal(err)
	}
	defer a.kinds.close()
	w := watchingPlaces(t, a, file)
	w.until("it is added", func() bool { return w.status().Added == 1 })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.until("that it is gone is told", func() bool { return strings.Contains(w.status().Error, "cannot read the list") })
	if s := w.status(); s.Vanished != 0 {
		t.Errorf("without a list, %d have vanished", s.Vanished)
	}
	h := &holder{app: a}
	answer := h.config(t.TempDir()).Watched
	if all := answer(); len(all) != 0 {
		t.Errorf("before there is a watcher: %+v", all)
	}
	h.watcher.Store(w.w)
	if all := answer(); len(all) != 1 || all[0].Place != file || all[0].Kind != "list" || all[0].Added != 1 || all[0].Seen != 1 ||
		all[0].Last == nil || !strings.Contains(all[0].Error, "cannot read the list") {
		t.Errorf("the API says %+v", all)
	}
}

// What cannot be watched is said before anything is opened.
func TestWatchMistakes(t *testing.T) {
	car := carFile(t, "x.car", "x")
	for _, c := range []struct{ config, arg, want string }{
		{"", car, "neither a folder nor a list"},
		{"", "https://user:hush@archive.example/cars/", "it cannot be watched"},
		{"", "gs://bucket/in/", "it cannot be watched"},
		{"", "s3://bucket/x.car", "it cannot be watched"},
		{"[[watch]]\nurl = \"s3://cars/\"\n", "s3://cars/", "it is watched twice"},
		{"[[watch]]\npath = \"x\"\nserve = \"never\"\n", "", "[[watch]] 1"},
		{"[[watch]]\npath = \"x\"\nindex = \"some\"\n", "", "[[watch]] 1"},
	} {
		repo := filepath.Join(t.TempDir(), "store")
		args := []string{"--config", configText(t, "", c.config), "--repo", repo, "serve", "--listen", "127.0.0.1:0"}
		if c.arg != "" {
			args = append(args, "--watch", c.arg)
		}
		s := start(t, nil, args...)
		code, said := s.ends(t), s.stderr.String()
		if code != exitUsage || !strings.Contains(said, c.want) || strings.Contains(said, "hush") {
			t.Errorf("%q %q: %d, %s", c.config, c.arg, code, said)
		}
		if _, err := os.Stat(repo); err == nil {
			t.Errorf("%q %q: a store was made", c.config, c.arg)
		}
	}
}
