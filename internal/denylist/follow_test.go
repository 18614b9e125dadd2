package denylist

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

// A fixture is a folder of lists, followed by looks that the test takes.
type fixture struct {
	*Follower
	t   *testing.T
	dir string
	log *bytes.Buffer
	now time.Time // of the last write: each has another
}

func follow(t *testing.T, lists map[string]string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), log: new(bytes.Buffer), now: time.Now().Add(-time.Hour)}
	for name, text := range lists {
		f.write(name, text)
	}
	follower, err := Open(Config{Paths: []string{f.dir}, Logger: slog.New(slog.NewTextHandler(f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	f.Follower = follower
	return f
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// write writes a list in place.
func (f *fixture) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o666); err != nil {
		f.t.Fatal(err)
	}
	f.touch(name)
}

func (f *fixture) touch(name string) {
	f.t.Helper()
	f.now = f.now.Add(time.Second)
	if err := os.Chtimes(f.path(name), f.now, f.now); err != nil {
		f.t.Fatal(err)
	}
}

// put replaces a list by another file.
func (f *fixture) put(name, text string) {
	f.t.Helper()
	f.write("new", text)
	if err := os.Rename(f.path("new"), f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// denies looks, and wants just these domains to be denied.
func (f *fixture) denies(domains ...string) {
	f.t.Helper()
	f.Look()
	want := make(map[string]bool)
	for _, d := range domains {
		want[d] = true
	}
	for _, d := range []string{"a.x", "b.x", "c.x", "d.x"} {
		if got := f.Refuse(cid.Undef, "/ipns/"+d) == http.StatusGone; got != want[d] {
			f.t.Errorf("%s: denied is %v, want %v", d, got, want[d])
		}
	}
}

func (f *fixture) err(i int) error { return f.Statuses()[i].Err }

// head makes the list one that may be appended to at once.
const head = "name: test\n---\n"

func TestFollow(t *testing.T) {
	f := follow(t, map[string]string{"1.deny": head + "/ipns/a.x\n", "not": "x"})
	f.denies("a.x")

	f.write("1.deny", head+"/ipns/a.x\n/ipns/b.x\n")
	f.denies("a.x", "b.x")

	// A replacement counts when it has come to rest.
	f.put("1.deny", head+"/ipns/c.x\n")
	f.denies("a.x", "b.x")
	f.denies("c.x")
	f.write("1.deny", head)
	f.denies("c.x")
	f.write("1.deny", head+"/ipns/d")
	f.denies("c.x")
	f.write("1.deny", head+"/ipns/d.x\n")
	f.denies("c.x")
	f.denies("d.x")

	// Another list, which goes before the first one.
	f.write("2.deny", head+"!/ipns/d.x\n/ipns/a.x\n")
	f.denies("a.x")
	if s := f.Statuses(); len(s) != 2 || s[1].Rules != 2 || s[1].Name != "test" || s[1].Err != nil {
		t.Errorf("%+v", s)
	}
	if f.log.Len() > 0 {
		t.Errorf("all went well, and the log has:\n%s", f.log)
	}
}

// TestFailClosed: whatever becomes of a list, what it denied stays denied,
// and it is told once.
func TestFailClosed(t *testing.T) {
	for name, spoil := range map[string]func(f *fixture){
		"removed": func(f *fixture) { check(f.t, os.Remove(f.path("1.deny"))) },
		"folder":  func(f *fixture) { check(f.t, os.RemoveAll(f.dir)) },
		"no file": func(f *fixture) {
			check(f.t, os.Remove(f.path("1.deny")))
			check(f.t, os.Mkdir(f.path("1.deny"), 0o777))
		},
		"empty":       func(f *fixture) { f.write("1.deny", "") },
		"version":     func(f *fixture) { f.put("1.deny", "version: 2\n---\n") },
		"header":      func(f *fixture) { f.put("1.deny", "a: b: c\n---\n") },
		"long":        func(f *fixture) { f.put("1.deny", head+strings.Repeat("x", maxLine)+"\n") },
		"long append": func(f *fixture) { f.write("1.deny", head+"/ipns/a.x\n"+strings.Repeat("x", maxLine)+"\n") },
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t, map[string]string{"1.deny": head + "/ipns/a.x\n"})
			spoil(f)
			for range 4 {
				f.denies("a.x")
			}
			if f.err(0) == nil {
				t.Error("its status says that all is well")
			}
			if n := strings.Count(f.log.String(), "cannot be read again"); n != 1 {
				t.Errorf("told %d times:\n%s", n, f.log)
			}
			check(t, os.RemoveAll(f.path("1.deny")))
			check(t, os.MkdirAll(f.dir, 0o777))
			f.put("1.deny", head+"/ipns/b.x\n")
			f.denies("a.x")
			f.denies("b.x")
			if f.err(0) != nil {
				t.Errorf("it is good again, and its status says %v", f.err(0))
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBadLinesAreToldOnce also over readings.
func TestBadLinesAreToldOnce(t *testing.T) {
	f := follow(t, map[string]string{"1.deny": head + "bad\n"})
	f.write("1.deny", head+"bad\nworse\n/ipns/a.x\n")
	f.denies("a.x")
	f.put("1.deny", head+"bad\n/ipns/b.x\n"+strings.Repeat("/ipfs/x\n", 20))
	f.denies("a.x")
	f.denies("b.x")
	if n := strings.Count(f.log.String(), "bad line"); n != 3 {
		t.Errorf("%d bad lines in the log, want 3:\n%s", n, f.log)
	}
	if s := f.Statuses()[0]; s.Bad != 21 || s.Rules != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.deny")
	check(t, os.WriteFile(bad, []byte("version: 9\n---\n"), 0o666))
	good := filepath.Join(dir, "good")
	check(t, os.WriteFile(good, nil, 0o666))
	if _, err := Open(Config{Paths: []string{filepath.Join(dir, "none.deny")}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a list that is not there: %v", err)
	}
	if _, err := Open(Config{Paths: []string{good, bad}}); !errors.Is(err, ErrList) || !strings.Contains(err.Error(), bad) {
		t.Errorf("a bad list: %v", err)
	}
	if _, err := Open(Config{Paths: []string{t.TempDir()}}); !errors.Is(err, ErrList) {
		t.Errorf("a folder without lists: %v", err)
	}
	if f, err := Open(Config{Paths: []string{good, good}}); err != nil || len(f.Statuses()) != 1 {
		t.Errorf("an empty list, named twice: %v", err)
	}
}

// TestRun: the files are looked at by themselves, and whoever asks meanwhile
// is answered.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "1.deny")
	check(t, os.WriteFile(path, []byte(head), 0o666))
	f, err := Open(Config{Paths: []string{path}, Every: time.Millisecond})
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	out, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = out.WriteString("/ipns/a.x\n")
	check(t, err)
	check(t, out.Close())
	for deadline := time.Now().Add(time.Minute); f.Refuse(cid.Undef, "/ipns/a.x") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was appended does not count after a minute")
		}
	}
	stop()
	running.Wait()
	if f.Refuse(subjectOf(1), "") != 0 || f.Refuse(subjectOf(1), "/ipfs/"+subjectOf(1).String()+"/x") != 0 || f.Refuse(cid.Undef, "/x") != 0 {
		t.Error("what is in no list is denied")
	}
}
