package dagstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A lineLog keeps the lines of a log, but for those of Pebble.
type lineLog struct {
	mu    sync.Mutex
	lines []string          // level, message, and what the attributes say
	names map[string]string // attributes, and a message that has them
}

func (l *lineLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *lineLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lineLog) WithGroup(string) slog.Handler            { return l }

func (l *lineLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.HasPrefix(r.Message, "pebble: ") {
		return nil
	}
	line := fmt.Sprint(r.Level, " ", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		l.names[a.Key] = r.Message
		if a.Key != "seconds" && a.Key != "stack" {
			line += fmt.Sprint(" ", a)
		}
		return true
	})
	l.lines = append(l.lines, line)
	return nil
}

// The log says what the page says that it does, in the same words.
func TestLogIsAsDocumented(t *testing.T) {
	r := newRig(t)
	r.stop()
	log := &lineLog{names: map[string]string{}}
	r.cfg.Logger = slog.New(log)
	r.cfg.Events.Transition = func(tr Transition) {
		if tr.To == shard.Registered {
			panic("no callback")
		}
	}
	r.open()
	worn := cartest.RandomV1(7, 3, 100)
	worn[len(worn)-1] ^= 1
	r.register("lazy", r.putBytes("worn.car", worn), &RegisterOptions{Lazy: true})
	r.acquire("lazy").Close()
	if _, err := r.store.Blockstore(nil).Get(r.ctx(), cartest.RandomBlock(7, 2, 100).CID); !errors.Is(err, shard.ErrBlock) {
		t.Fatal(err)
	}
	if err := r.store.Register(r.ctx(), "bad", r.putBytes("bad.car", []byte("no CAR")), nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	_, release := r.holdCommit(errors.New("no disk"))
	release()
	if err := r.store.Destroy(r.ctx(), "bad", nil); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
	r.store.Close()

	all := strings.Join(log.lines, "\n")
	for _, want := range []string{
		"DEBUG shard moved key=lazy from=gone state=registered",
		"DEBUG work ended key=lazy op=index",
		"DEBUG work ended key=lazy op=acquire",
		"WARN a block is damaged key=lazy op=read err=bad block",
		"WARN a shard could not be indexed key=bad op=index err=",
		"DEBUG shard moved key=bad from=initializing state=errored",
		"ERROR trouble in the background what=a commit failed",
		"ERROR an event callback panicked panic=no callback",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the log never says %q", want)
		}
	}
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| attribute |")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(table, -1) {
		for one := range strings.SplitSeq(name[1], ", ") {
			documented[strings.Trim(one, "`")] = true
		}
	}
	for name, message := range log.names {
		if !documented[name] {
			t.Errorf("the attribute %q of %q is not in docs/operations.md", name, message)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
}
