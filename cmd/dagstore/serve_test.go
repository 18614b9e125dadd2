package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

// mostWait bounds what a test waits for: on a busy machine a program takes its time.
const mostWait = 5 * time.Minute

// A session is one run of the program, inside of this process.
type session struct {
	stdout, stderr watched
	exit           chan int
	gone           chan struct{} // closed when it has ended
	stop           context.CancelFunc
}

// start runs the program in the background. The test ends when it has ended.
func start(t *testing.T, stdin io.Reader, args ...string) *session {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &session{exit: make(chan int, 1), gone: make(chan struct{}), stop: stop}
	go func() {
		defer close(s.gone)
		s.exit <- run(ctx, args, stdin, &s.stdout, &s.stderr)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-s.gone:
		case <-time.After(mostWait):
			t.Errorf("the program does not end with its context; it said:\n%s", s.stderr.String())
		}
	})
	return s
}

// ends waits for the end of the program and returns its exit code.
func (s *session) ends(t *testing.T) int {
	t.Helper()
	select {
	case code := <-s.exit:
		return code
	case <-time.After(mostWait):
		t.Fatalf("the program does not end; it said:\n%s", s.stderr.String())
		return 0
	}
}

// A watched is what a program has written so far.
type watched struct {
	mu      sync.Mutex
	written bytes.Buffer
	more    chan struct{} // closed and replaced by each Write
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return w.written.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written.String()
}

// match waits until a pattern is found and returns its first group.
func (w *watched) match(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(mostWait)
	for {
		w.mu.Lock()
		found := re.FindStringSubmatch(w.written.String())
		if found != nil {
			w.mu.Unlock()
			return found[len(found)-1]
		}
		if w.more == nil {
			w.more = make(chan struct{})
		}
		more := w.more
		w.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("waited for %q, got:\n%s", pattern, w.String())
		}
	}
}

// carFile writes a CAR of raw blocks and returns its path.
func carFile(t *testing.T, name string, texts ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, carOf(texts...), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// fetch gets a URL and returns the status and the body.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true // or the connection would be kept, and its goroutines
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServe(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	good := carFile(t, "good.car", "served", "another")
	bad := filepath.Join(t.TempDir(), "bad.car")
	if err := os.WriteFile(bad, []byte("no CAR"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, "--repo", repo, "serve", "--listen", "127.0.0.1:0", bad, good)
	url := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	s.stdout.match(t, `ready +good`)
	s.stderr.match(t, `adding: 1 of 2 failed`)
	if text := s.stderr.String(); strings.Count(text, "not a CAR") != 1 {
		t.Errorf("a bad CAR is to be told of once:\n%s", text)
	}

	block := url + "/ipfs/" + cartest.Raw([]byte("another")).CID.String() + "?format=raw"
	if status, body := fetch(t, block); status != http.StatusOK || body != "another" {
		t.Errorf("%d %q, want the block", status, body)
	}
	if status, _ := fetch(t, url+"/ipfs/"+cartest.Raw([]byte("nowhere")).CID.String()+"?format=raw"); status != http.StatusNotFound {
		t.Errorf("a block that is nowhere: %d, want 404", status)
	}

	// Others use it through this process, but nobody else can hold it.
	ls := start(t, nil, "--repo", repo, "ls")
	if code := ls.ends(t); code != exitOK || !strings.Contains(ls.stdout.String(), "ready      good") {
		t.Errorf("ls while the store is served: exit code %d, %q, %q", code, ls.stdout.String(), ls.stderr.String())
	}
	second := start(t, nil, "--repo", repo, "serve", "--listen", "127.0.0.1:0")
	if code := second.ends(t); code != exitInUse {
		t.Errorf("a second serve: exit code %d, want %d", code, exitInUse)
	}
	if text := second.stderr.String(); !strings.Contains(text, "wait until that process ends, or stop it") {
		t.Errorf("a second serve: %q", text)
	}

	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("stopped: exit code %d, want 0:\n%s", code, s.stderr.String())
	}
	// It let go of the store, which has everything.
	again := start(t, nil, "--repo", repo, "ls")
	if code := again.ends(t); code != exitOK || !strings.Contains(again.stdout.String(), "ready      good") {
		t.Errorf("afterwards: exit code %d, %q", code, again.stdout.String())
	}
}

// TestServeTellsWhatItCannotRead: the answer names no source, so that the
// operator has to be told.
func TestServeTellsWhatItCannotRead(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	file := carFile(t, "gone.car", "text")
	if code := start(t, nil, "--repo", repo, "add", file).ends(t); code != exitOK {
		t.Fatalf("add: exit code %d", code)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, "--repo", repo, "serve", "--listen", "127.0.0.1:0")
	url := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	block := url + "/ipfs/" + cartest.Raw([]byte("text")).CID.String() + "?format=raw"
	if status, body := fetch(t, block); status != http.StatusServiceUnavailable || strings.Contains(body, "gone") {
		t.Errorf("%d %q, want 503 and no name of a shard", status, body)
	}
	if said := s.stderr.String(); !strings.Contains(said, "block cannot be served") || !strings.Contains(said, "gone") {
		t.Errorf("the operator is told %q", said)
	}
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestServeWhereItCannot(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	first := start(t, nil, "--repo", repo, "serve", "--listen", "127.0.0.1:0")
	address := first.stderr.match(t, `serving http://(127\.0\.0\.1:\d+)/`)
	second := start(t, nil, "--repo", repo+"2", "serve", "--listen", address)
	if code := second.ends(t); code != exitFailed || !strings.Contains(second.stderr.String(), "choose another address by --listen") {
		t.Errorf("exit code %d, %q", code, second.stderr.String())
	}
}

// TestAddInterrupted ends "add" while its list is silent and repeats it.
func TestAddInterrupted(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	one, two := carFile(t, "one.car", "1"), carFile(t, "two.car", "2")
	list, typed := io.Pipe()
	defer typed.Close()
	s := start(t, list, "--repo", repo, "add", "--from", "-", one)
	s.stdout.match(t, `ready +one`)
	if _, err := io.WriteString(typed, "file://"+filepath.ToSlash(two)+"\n"); err != nil {
		t.Fatal(err)
	}
	s.stdout.match(t, `ready +two`)
	s.stop()
	if code := s.ends(t); code != exitInterrupted {
		t.Errorf("exit code %d, want %d:\n%s", code, exitInterrupted, s.stderr.String())
	}
	again := start(t, nil, "--repo", repo, "add", one, two)
	if code := again.ends(t); code != exitOK || !strings.Contains(again.stderr.String(), "0 added, 2 unchanged") {
		t.Errorf("repeated: exit code %d, %q", code, again.stderr.String())
	}
}

// TestForeseeFailed: a failed shard is read again although its source is the
// one that was indexed.
func TestForeseeFailed(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	file := carFile(t, "a.car", "text")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	add := func(want int, flags ...string) *session {
		t.Helper()
		s := start(t, nil, append([]string{"--repo", repo, "add", file}, flags...)...)
		if code := s.ends(t); code != want {
			t.Fatalf("add %v: exit code %d, want %d: %s", flags, code, want, s.stderr.String())
		}
		return s
	}
	add(exitOK)
	if err := os.WriteFile(file, []byte("no CAR"), 0o666); err != nil {
		t.Fatal(err)
	}
	add(exitFailed)
	// As it was, its time too.
	if err := os.WriteFile(file, good, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, stat.ModTime(), stat.ModTime()); err != nil {
		t.Fatal(err)
	}
	if said := add(exitOK, "--dry-run").stderr.String(); !strings.Contains(said, "; "+showBytes(int64(len(good)))+" to read") {
		t.Errorf("dry run: %q", said)
	}
	if said := add(exitOK).stderr.String(); !strings.Contains(said, "1 added") {
		t.Errorf("add: %q", said)
	}
}

func TestForeignFolders(t *testing.T) {
	good := carFile(t, "good.car", "x")
	// A folder with something else in it is left alone.
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, "--repo", foreign, "add", good)
	if code := s.ends(t); code != exitNoStore || !strings.Contains(s.stderr.String(), "thesis.txt") {
		t.Errorf("a folder of somebody else: exit code %d, %q", code, s.stderr.String())
	}
	// A store of another version is refused.
	repo := filepath.Join(t.TempDir(), "store")
	store, err := dagstore.Open(t.Context(), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "VERSION"), []byte("dagstore 999\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	s = start(t, nil, "--repo", repo, "ls")
	if code := s.ends(t); code != exitVersion {
		t.Errorf("another version: exit code %d, want %d: %q", code, exitVersion, s.stderr.String())
	}
}
