package logfold

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A sink is where lines end.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// take returns the lines since the last take.
func (s *sink) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.TrimSuffix(s.b.String(), "\n")
	s.b.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func rig(cfg Config) (*Handler, *slog.Logger, *sink) {
	to := new(sink)
	h := New(slog.NewTextHandler(to, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}), cfg)
	return h, slog.New(h), to
}

func expect(t *testing.T, to *sink, want ...string) {
	t.Helper()
	if have := to.take(); fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("the log has\n%s\nand not\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func TestFolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log, to := rig(Config{Burst: 2})
		for i := range 5000 {
			log.Warn("a shard could not be read", "key", i)
		}
		log.Error("a shard could not be read", "key", 1) // another level is another thing
		log.Warn("something else")
		expect(t, to,
			`level=WARN msg="a shard could not be read" key=0`,
			`level=WARN msg="a shard could not be read" key=1`,
			`level=ERROR msg="a shard could not be read" key=1`,
			`level=WARN msg="something else"`)
		time.Sleep(time.Minute + time.Second)
		expect(t, to, `level=WARN msg="a shard could not be read" key=4999 folded=4998`)
		log.Warn("a shard could not be read", "key", 7) // still the same trouble
		expect(t, to)
		time.Sleep(time.Minute)
		expect(t, to, `level=WARN msg="a shard could not be read" key=7 folded=1`)
		time.Sleep(2 * time.Minute)
		log.Warn("a shard could not be read", "key", 8) // new trouble
		expect(t, to, `level=WARN msg="a shard could not be read" key=8`)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		expect(t, to)
	})
}

func TestSameLineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log, to := rig(Config{})
		with := log.With("host", "a.example").WithGroup("disk")
		for range 3 {
			log.Warn("no space", "free", 1)
			with.Warn("no space", "free", 1)
		}
		expect(t, to, `level=WARN msg="no space" free=1`, `level=WARN msg="no space" host=a.example disk.free=1`)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		expect(t, to, `level=WARN msg="no space" host=a.example disk.free=1 disk.folded=4`)
		log.Warn("no space", "free", 1)
		log.Warn("no space", "free", 1)
		expect(t, to, `level=WARN msg="no space" free=1`, `level=WARN msg="no space" free=1`)
	})
}

// What is no trouble is never held back.
func TestLowerLevels(t *testing.T) {
	h, log, to := rig(Config{Burst: 1})
	defer h.Close()
	for range 3 {
		log.Info("ready")
		log.Debug("nobody listens")
	}
	expect(t, to, `level=INFO msg=ready`, `level=INFO msg=ready`, `level=INFO msg=ready`)
}

// Messages without number, as of servers that put addresses into them, take a
// bounded part of the memory, and stay bounded themselves.
func TestManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, to := rig(Config{Burst: 3})
		for i := range 100_000 {
			if err := h.Handle(t.Context(), slog.NewRecord(time.Time{}, slog.LevelWarn, fmt.Sprint("handshake with ", i), 0)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(to.take()); n != most+3 {
			t.Errorf("%d lines, not %d", n, most+3)
		}
		if n := h.fold.subjects(); n != most+1 {
			t.Errorf("%d messages are remembered", n)
		}
		time.Sleep(time.Minute + time.Second)
		expect(t, to, fmt.Sprintf(`level=WARN msg="handshake with 99999" folded=%d`, 100_000-most-3))
		time.Sleep(2 * time.Minute)
		if n := h.fold.subjects(); n != 0 {
			t.Errorf("%d messages are remembered", n)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestErrorsOfTheLog(t *testing.T) {
	h := New(slog.NewTextHandler(full{}, nil), Config{Burst: 1})
	log := slog.New(h)
	for range 3 {
		log.Warn("lost")
	}
	if err := h.Close(); err == nil || err.Error() != "full" {
		t.Errorf("Close: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	h, log, to := rig(Config{Burst: 1, Window: time.Millisecond})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				log.With("g", g).Warn("busy", "i", i)
			}
		})
	}
	wg.Wait()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	sum := 0
	for _, line := range to.take() {
		n := 1
		if _, folded, ok := strings.Cut(line, Attr+"="); ok {
			if _, err := fmt.Sscan(folded, &n); err != nil {
				t.Fatal(line)
			}
		}
		sum += n
	}
	if sum != 8000 {
		t.Errorf("the log tells of %d", sum)
	}
}

func (f *fold) subjects() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.windows)
}
