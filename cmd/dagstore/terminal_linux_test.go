package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/pack"
)

// A terminal is one that nobody sits at: what is written to tty is on its screen.
type terminal struct {
	t   *testing.T
	tty *os.File

	mu      sync.Mutex
	written bytes.Buffer
	more    chan struct{} // closed and made anew when something is written
	ended   chan struct{}
}

// newTerminal opens a pseudo-terminal; it goes with the test.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, tty: tty, more: make(chan struct{}), ended: make(chan struct{})}
	go s.read(os.NewFile(uintptr(master), "ptmx"))
	t.Cleanup(func() { s.close() })
	return s
}

// read gathers what is written until nobody has the terminal open any more.
func (s *terminal) read(master *os.File) {
	defer close(s.ended)
	defer master.Close() // it was only read
	for buf := make([]byte, 4096); ; {
		n, err := master.Read(buf)
		s.mu.Lock()
		s.written.Write(buf[:n])
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil { // EIO, once it is closed
			return
		}
	}
}

// close ends it and returns what is on the screen.
func (s *terminal) close() string {
	_ = s.tty.Close() // a second time it is closed already
	<-s.ended
	return screen(s.written.String())
}

// shows waits until each text has been on the screen.
func (s *terminal) shows(texts ...string) {
	for {
		s.mu.Lock()
		all, more := s.written.String(), s.more
		s.mu.Unlock()
		missing := false
		for _, text := range texts {
			missing = missing || !strings.Contains(all, text)
		}
		if !missing {
			return
		}
		select {
		case <-more:
		case <-s.ended:
			s.t.Errorf("the terminal shows %q, want %q", all, texts)
			return
		case <-time.After(2 * time.Minute):
			s.t.Errorf("the terminal shows %q, want %q", all, texts)
			return
		}
	}
}

// screen is what text leaves on a screen: a line goes over what stood there.
func screen(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		var shown []rune
		for part := range strings.SplitSeq(line, "\r") {
			if over := []rune(part); len(over) < len(shown) {
				copy(shown, over)
			} else {
				shown = over
			}
		}
		lines = append(lines, strings.TrimRight(string(shown), " "))
	}
	return strings.Join(lines, "\n")
}

// TestBarOfPack: "pack" shows how far it is on a terminal, with what there is to do,
// and leaves nothing of that there.
func TestBarOfPack(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"in/a": 3 << 20, "in/b/c": 1 << 20, "in/.hidden": 5 << 20} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	screen := newTerminal(t)
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: screen.tty, getenv: os.Getenv}
	var done int64
	wait := sync.OnceFunc(func() { screen.shows("packing", "50%", "/4.0 MiB", "2.0") })
	err := a.pack(t.Context(), []string{filepath.Join(dir, "in")}, filepath.Join(dir, "out.car"), pack.Options{
		Profile: pack.V1,
		Progress: func(n int64) {
			if done += n; done >= 2<<20 {
				wait()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	left := screen.close()
	if want := fmt.Sprintf("dagstore: packed 2 files to %s: ", filepath.Join(dir, "out.car")); !strings.HasPrefix(left, want) || strings.Contains(left, "packing") {
		t.Errorf("the screen says %q, want %q and no bar", left, want)
	}
	if done != 4<<20 {
		t.Errorf("%d bytes were told of", done)
	}
}

// TestBarOfPackEnds: no bar stays where "pack" fails or is interrupted.
func TestBarOfPackEnds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 8<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	screen := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	a := &app{stdout: io.Discard, stderr: screen.tty, getenv: os.Getenv, command: "dagstore pack"}
	err := a.pack(ctx, []string{dir}, filepath.Join(dir, "out.car"), pack.Options{
		Profile: pack.V1,
		Progress: func(int64) {
			screen.shows("packing")
			interrupt()
		},
	})
	if code := a.finish(ctx, err); code != exitInterrupted {
		t.Errorf("it ends with %d, %v", code, err)
	}
	if left := screen.close(); left != "dagstore: interrupted\n" {
		t.Errorf("the screen says %q", left)
	}
}

// TestBarOfAdd: so it is with "add" and "import", by oneself and through the process
// that holds the store.
func TestBarOfAdd(t *testing.T) {
	data := carOf(strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20))
	var seen func()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead || r.Header.Get("Range") != "" {
			http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(data))
			return
		}
		w.Header().Set("Last-Modified", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2]) // who has gone needs no more of it
		_ = http.NewResponseController(w).Flush()
		seen()
		_, _ = w.Write(data[len(data)/2:])
	}))
	defer server.Close()
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte(server.URL+"/listed.car\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, held := range []bool{false, true} {
		r := newReading(t)
		if held {
			holder := start(t, nil, "--repo", r.repo, "serve", "--listen", "127.0.0.1:0", "--admin", "none", "--metrics", "none")
			holder.stderr.match(t, "serving http")
			defer func() {
				holder.stop()
				holder.ends(t)
			}()
		}
		for _, args := range [][]string{{"add", "--index", "scan", server.URL + "/a.car"}, {"import", list}} {
			screen := newTerminal(t)
			asked := false
			seen = func() {
				asked = true
				screen.shows("adding", "/2.0 MiB")
			}
			var out bytes.Buffer
			a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: screen.tty, getenv: os.Getenv}
			if code := a.run(t.Context(), append([]string{"--repo", r.repo}, args...)); code != exitOK {
				t.Errorf("%v: exit code %d: %s", args, code, screen.close())
			}
			if left := screen.close(); !strings.HasPrefix(strings.TrimLeft(left, "\n"), "dagstore: 1 added, 0 unchanged") || !strings.Contains(out.String(), "ready") || !asked {
				t.Errorf("held %v, %v: the screen says %q, and it says %q", held, args, left, out.String())
			}
		}
	}
}
