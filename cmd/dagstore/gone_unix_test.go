//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A dying is a process that holds a store until a request comes that is its last
// one: it is ended before its answer, and after or before it has carried it out.
type dying struct {
	last    string // method and path of it, the end of which may be left out
	carries bool
	lives   bool // it is not ended: the request has no answer, and the next one has
}

// hold has it hold the store in repo.
func (d dying) hold(t *testing.T, repo string) {
	t.Helper()
	hub, mounts := admin.NewHub(), mount.Registry{"file": filemount.Open}
	store, err := dagstore.Open(t.Context(), repo, &dagstore.Config{Events: hub.Events(), Mounts: mounts, NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	api, err := admin.New(store, &admin.Config{Hub: hub, Mounts: mounts, Folder: repo, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := meet(repo, "", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := r.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server, ended := new(http.Server), make(chan struct{})
	var came atomic.Bool
	end := func() {
		_ = server.Close()
		if err := api.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Method+" "+r.URL.Path, d.last) {
			api.Local().ServeHTTP(w, r)
			return
		}
		if d.carries {
			api.Local().ServeHTTP(httptest.NewRecorder(), r)
		}
		if came.Store(true); !d.lives {
			end()
			close(ended)
		}
		panic(http.ErrAbortHandler)
	})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		switch {
		case !came.Load():
			t.Errorf("%s did not come", d.last)
			end()
		case d.lives:
			end()
		default:
			<-ended
		}
	})
}

// TestHolderDies: what a command has asked of a process that dies then is done
// once, and told as done, whether it was done just before or not.
func TestHolderDies(t *testing.T) {
	tests := []struct {
		name, last string
		args       []string
		says       []string // on standard output, in this order
		errs       string
	}{
		{"rm", "DELETE /api/v1/shards/a", []string{"rm", "a", "b"}, []string{"removed  a", "removed  b"}, "going on without it"},
		{"the second of rm", "DELETE /api/v1/shards/b", []string{"rm", "a", "b"}, []string{"removed  a", "removed  b"}, "going on without it"},
		{"remount", "POST /api/v1/shards/a/remount", []string{"remount", "a", "moved/a.car"}, []string{"remounted  a  file://"}, ""},
		{"remount --map", "POST /api/v1/shards/b/remount", []string{"remount", "-j", "1", "--map", "cars", "moved"}, []string{"remounted  a", "remounted  b", "remounted  c"}, "3 remounted, 0 failed"},
		{"replace", "POST /api/v1/shards/a/replace", []string{"replace", "a", "moved/a.car"}, []string{"replaced  a"}, "going on without it"},
		{"pin", "POST /api/v1/shards/a/pin", []string{"pin", "a", "b"}, []string{"pinned  a", "pinned  b"}, ""},
		{"manifest rm", "DELETE /api/v1/shards/a/manifests/m", []string{"manifest", "rm", "a", "m"}, nil, ""},
		{"gc", "POST /api/v1/gc", []string{"gc"}, []string{"removed"}, ""},
		{"stat", "GET /api/v1/shards/b", []string{"stat", "a", "b"}, []string{"a\n", "b\n"}, ""},
		{"backup", "POST /api/v1/backup", []string{"backup", "backup"}, []string{"backed up to"}, "but the backup is whole"},
	}
	for _, test := range tests {
		for _, carries := range []bool{true, false} {
			name := test.name + ", not done"
			if carries {
				name = test.name + ", done"
			}
			t.Run(name, func(t *testing.T) {
				t.Chdir(dirOfThree(t))
				repo := filepath.Join(t.TempDir(), "store")
				for _, args := range [][]string{{"add", "-j", "1", "cars"}, {"manifest", "put", "--loose", "a", "m", "members"}} {
					if got := runs(t, "", append([]string{"--repo", repo}, args...)...); got.code != exitOK {
						t.Fatalf("%v: %+v", args, got)
					}
				}
				dying{last: test.last, carries: carries}.hold(t, repo)
				got := runs(t, "", append([]string{"--repo", repo}, test.args...)...)
				if test.name == "backup" && !carries {
					if got.code != exitFailed || !strings.Contains(got.stderr, "there is no backup: run the command again") {
						t.Errorf("%+v", got)
					}
					return
				}
				if got.code != exitOK || !strings.Contains(got.stderr, test.errs) {
					t.Errorf("exit code %d: %s", got.code, got.stderr)
				}
				rest := got.stdout
				for _, want := range test.says {
					_, after, ok := strings.Cut(rest, want)
					if !ok || strings.Count(got.stdout, want) != 1 && test.name != "stat" {
						t.Errorf("it said, and not once %q:\n%s", want, got.stdout)
					}
					rest = after
				}
			})
		}
	}
}

// TestRecoverHolderDies: of shards that are tried again, one that a process has made
// good just before it died is told of as the others are.
func TestRecoverHolderDies(t *testing.T) {
	for name, carries := range map[string]bool{"done": true, "not done": false} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dirOfThree(t))
			repo := filepath.Join(t.TempDir(), "store")
			if got := runs(t, "", "--repo", repo, "add", "--lazy", "cars"); got.code != exitOK {
				t.Fatalf("%+v", got)
			}
			swap := func(from, to string) {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			// They fail while they are somewhere else.
			swap("cars", "aside")
			for _, key := range []string{"a", "b", "c"} {
				if got := runs(t, "", "--repo", repo, "index", "verify", key); got.code != exitFailed {
					t.Fatalf("%+v", got)
				}
			}
			swap("aside", "cars")
			dying{last: "POST /api/v1/shards/b/recover", carries: carries}.hold(t, repo)
			got := runs(t, "", "--repo", repo, "recover", "-j", "1", "--match", "*")
			if got.code != exitOK || strings.Count(got.stdout, "\n") != 3 || !strings.Contains(got.stderr, "3 recovered, 0 failed again") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestBackupWithoutAnswer: a process that has not answered and goes on is not told as
// one that has ended: it may be at work.
func TestBackupWithoutAnswer(t *testing.T) {
	t.Chdir(dirOfThree(t))
	repo := filepath.Join(t.TempDir(), "store")
	if got := runs(t, "", "--repo", repo, "add", "cars"); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	dying{last: "POST /api/v1/backup", lives: true}.hold(t, repo)
	got := runs(t, "", "--repo", repo, "backup", "backup")
	if got.code != exitFailed || strings.Contains(got.stderr, "gone away") || !strings.Contains(got.stderr, "look before you run the command again") {
		t.Errorf("%+v", got)
	}
}

// dirOfThree is a folder with the CARs of three shards, at two places.
func dirOfThree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"cars/a", "cars/b", "cars/c", "moved/a", "moved/b", "moved/c"} {
		path := filepath.Join(dir, name+".car")
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, carOf(filepath.Base(name)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text := "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\n"
	if err := os.WriteFile(filepath.Join(dir, "members"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}
