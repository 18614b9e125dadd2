package engine

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A watch is guarded work of which a test knows when its context ended and
// when it was given up.
type watch struct {
	*guard
	t     *testing.T
	ctx   context.Context //nolint:containedctx // whose end is looked at
	stop  context.CancelCauseFunc
	began time.Time
	given chan time.Duration
}

const testStall = 30 * time.Second

func newWatch(t *testing.T) *watch {
	w := &watch{t: t, began: time.Now(), given: make(chan time.Duration, 1)}
	w.ctx, w.stop = context.WithCancelCause(t.Context())
	w.guard = newGuard(testStall, w.stop)
	w.gone = func() { w.given <- time.Since(w.began) }
	t.Cleanup(func() { w.stop(nil) })
	context.AfterFunc(w.ctx, w.cut)
	return w
}

// takes runs a method that takes d and heeds nothing.
func (w *watch) takes(d time.Duration, progress bool) error {
	return w.during(func() bool {
		time.Sleep(d)
		return progress
	})
}

func (w *watch) cutAfter(want time.Duration) {
	w.t.Helper()
	<-w.ctx.Done()
	if d := time.Since(w.began); d != want {
		w.t.Errorf("the context ended after %v, want %v", d, want)
	}
}

func (w *watch) alive() {
	w.t.Helper()
	synctest.Wait()
	if err := w.ctx.Err(); err != nil {
		w.t.Fatalf("after %v: %v", time.Since(w.began), context.Cause(w.ctx))
	}
}

func TestGuardLetsProgressGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		for range 100 {
			if err := w.takes(testStall-time.Second, true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // outside of the mount: nothing is charged
		}
		w.alive()
		if !w.end() || w.reason(io.EOF) != io.EOF {
			t.Error("the end does not count")
		}
	})
}

// Methods that return without a byte, again and again, stall as one that hangs.
func TestGuardAddsUpWhatBringsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		for range 2 {
			if err := w.takes(testStall/3, false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := w.takes(testStall/3-time.Second, true); err != nil {
			t.Fatal(err)
		}
		w.alive() // the last brought something: it begins anew
		w.began = time.Now()
		for range 2 {
			if err := w.takes(testStall/3, false); err != nil {
				t.Fatal(err)
			}
		}
		go func() { _ = w.takes(testStall/3+time.Second, false) }()
		w.cutAfter(testStall)
		if !errors.Is(context.Cause(w.ctx), shard.ErrStalled) {
			t.Errorf("cause: %v", context.Cause(w.ctx))
		}
		time.Sleep(2 * time.Second)
		if !w.end() || !errors.Is(w.reason(io.EOF), shard.ErrStalled) {
			t.Error("it returned in time, and that is not why it ended")
		}
	})
}

func TestGuardGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		late := make(chan error)
		go func() { late <- w.takes(time.Hour, true) }()
		w.cutAfter(testStall)
		if d := <-w.given; d != testStall+mostGrace {
			t.Errorf("given up after %v", d)
		}
		if err := <-late; !errors.Is(err, errGivenUp) {
			t.Errorf("what comes late is believed: %v", err)
		}
		if err := w.during(func() bool { t.Error("more is asked of the mount"); return true }); !errors.Is(err, errGivenUp) {
			t.Error(err)
		}
		if w.end() {
			t.Error("its end counts twice")
		}
		if len(w.given) > 0 {
			t.Error("given up twice")
		}
	})
}

// When the context ends for another reason, a mount that runs has the grace.
func TestGuardGivesUpWhenCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		go func() { _ = w.takes(time.Minute, true) }()
		time.Sleep(time.Second)
		w.stop(nil)
		if d := <-w.given; d != time.Second+mostGrace {
			t.Errorf("given up after %v", d)
		}
		if err := w.reason(context.Canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("why: %v", err)
		}
		time.Sleep(time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		w.stop(nil)
		synctest.Wait()
		time.Sleep(time.Minute) // not in the mount
		if err := w.takes(mostGrace/2, true); err != nil {
			t.Errorf("a method that is soon back: %v", err)
		}
		time.Sleep(time.Minute)
		if !w.end() {
			t.Error("its end does not count")
		}
	})
}

func TestGuardEndsWithPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		func() {
			defer func() { _ = recover() }()
			_ = w.during(func() bool { panic("no") })
		}()
		time.Sleep(time.Hour)
		w.alive()
		if !w.end() {
			t.Error("given up after a panic")
		}
	})
}

// lateMount returns what it opens a minute late, whatever its context says.
type lateMount struct {
	mount.Mount
	closed chan string
}

type lateFile struct {
	io.Reader
	io.ReaderAt
	name   string
	closed chan string
}

func (f lateFile) Close() error { f.closed <- f.name; return nil }

func (m lateMount) Open(context.Context) (io.ReadCloser, error) {
	time.Sleep(time.Minute)
	return lateFile{name: "stream", closed: m.closed}, nil
}

func (m lateMount) OpenFile(context.Context) (mount.File, error) {
	time.Sleep(time.Minute)
	return lateFile{name: "file", closed: m.closed}, nil
}

// What a mount opens for work that was given up is closed again.
func TestGuardedClosesWhatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan string, 2)
		for name, open := range map[string]func(context.Context, mount.Mount) error{
			"stream": func(ctx context.Context, m mount.Mount) error { _, err := m.Open(ctx); return err },
			"file":   func(ctx context.Context, m mount.Mount) error { _, err := mount.OpenFile(ctx, m); return err },
		} {
			w := newWatch(t)
			if err := open(w.ctx, guarded{lateMount{closed: closed}, w.guard}); !errors.Is(err, errGivenUp) {
				t.Errorf("%s: %v", name, err)
			}
			if got := <-closed; got != name {
				t.Errorf("%s was closed, not the %s", got, name)
			}
		}
	})
}

// Once the work has ended, what it opened is read with nobody watching.
func TestGuardRetires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		f := guardedFile{lateFile{ReaderAt: slowReader{}}, w.guard}
		if !w.end() {
			t.Fatal("given up")
		}
		if n, err := f.ReadAt(make([]byte, 5), 0); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		w.alive()
	})
}

type slowReader struct{}

func (slowReader) ReadAt(p []byte, _ int64) (int, error) {
	time.Sleep(time.Hour)
	return len(p), nil
}
