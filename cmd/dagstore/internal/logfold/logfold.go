package logfold

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"
)

const (
	defaultWindow = time.Minute
	defaultBurst  = 10

	// most is how many messages are told apart at once. Those of the store are
	// some dozens; others have addresses in them.
	most = 512
	// others is what the messages beyond are counted under.
	others = "\x00"
)

// Attr is the attribute with the number of lines that were held back.
const Attr = "folded"

// Config says how much is written. The zero value is a good one.
type Config struct {
	Window time.Duration // default: a minute
	Burst  int           // lines with one message in a window; default: 10
}

// A Handler folds lines that repeat. It and those derived from it count
// together. It may be used by many goroutines, and has to be closed.
type Handler struct {
	next  slog.Handler
	fold  *fold
	about uint64 // what With has added
}

// New stands before next.
func New(next slog.Handler, cfg Config) *Handler {
	if cfg.Window <= 0 {
		cfg.Window = defaultWindow
	}
	if cfg.Burst <= 0 {
		cfg.Burst = defaultBurst
	}
	return &Handler{next: next, fold: &fold{cfg: cfg, seed: maphash.MakeSeed(), windows: map[subject]*window{}}}
}

// A fold is what handlers of one log share.
type fold struct {
	cfg  Config
	seed maphash.Seed

	mu      sync.Mutex
	windows map[subject]*window
	closed  bool
	telling sync.WaitGroup // of windows that have ended
}

// A subject is what lines are alike in.
type subject struct {
	level   slog.Level
	message string
}

// A window is a time in which lines of one subject are counted.
type window struct {
	lines []uint64 // hashes of those that were written
	held  int
	last  slog.Record // of those held
	to    slog.Handler
	timer *time.Timer
}

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	about := h.about
	for _, a := range attrs {
		about = h.fold.mix(about, a)
	}
	return &Handler{next: h.next.WithAttrs(attrs), fold: h.fold, about: about}
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name), fold: h.fold, about: h.fold.mix(h.about, slog.String("", name))}
}

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && h.fold.holds(h, r) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// Close writes what has been counted. What comes after it is written as it is.
func (h *Handler) Close() error {
	f := h.fold
	f.mu.Lock()
	windows := f.windows
	f.windows, f.closed = nil, true
	f.mu.Unlock()
	var errs []error
	for _, w := range windows {
		w.timer.Stop()
		errs = append(errs, w.tell())
	}
	f.telling.Wait()
	return errors.Join(errs...)
}

// mix adds an attribute to a hash.
func (f *fold) mix(about uint64, a slog.Attr) uint64 {
	var m maphash.Hash
	m.SetSeed(f.seed)
	maphash.WriteComparable(&m, about)
	m.WriteString(a.Key)
	m.WriteByte(0)
	m.WriteString(a.Value.String())
	return m.Sum64()
}

// holds counts r, and reports whether it is not to be written.
func (f *fold) holds(h *Handler, r slog.Record) bool {
	line := f.mix(h.about, slog.String(r.Message, ""))
	r.Attrs(func(a slog.Attr) bool {
		line = f.mix(line, a)
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	of := subject{r.Level, r.Message}
	if f.windows[of] == nil && len(f.windows) >= most {
		of.message = others
	}
	w := f.windows[of]
	if w == nil {
		w = &window{}
		w.timer = time.AfterFunc(f.cfg.Window, func() { f.end(of, w) })
		f.windows[of] = w
	}
	if len(w.lines) < f.cfg.Burst && !w.has(line) {
		w.lines = append(w.lines, line)
		return false
	}
	w.held++
	w.last, w.to = r.Clone(), h.next
	return true
}

func (w *window) has(line uint64) bool {
	for _, l := range w.lines {
		if l == line {
			return true
		}
	}
	return false
}

// end ends a window. While lines are held back the next one follows at once,
// so that what repeats all day is a line a window.
func (f *fold) end(of subject, w *window) {
	f.mu.Lock()
	if f.windows[of] != w { // Close has told
		f.mu.Unlock()
		return
	}
	held := *w
	f.telling.Add(1)
	defer f.telling.Done()
	if w.held == 0 {
		delete(f.windows, of)
	} else {
		w.held = 0
		w.timer.Reset(f.cfg.Window)
	}
	f.mu.Unlock()
	_ = held.tell() // a log that cannot be written has nobody to tell
}

// tell writes the line for those that were held back.
func (w *window) tell() error {
	if w.held == 0 {
		return nil
	}
	r := w.last
	r.AddAttrs(slog.Int(Attr, w.held))
	return w.to.Handle(context.Background(), r)
}
