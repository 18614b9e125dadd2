package hosts

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A call that never returns is not the last one that may find out whether a host
// is back, once its caller has gone.
func TestProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Config{Failures: 1})
		s := &server{}
		s.answers(errRefused)
		bad, good := k.Wrap(hung{car{s, "https://a.example/bad"}, make(chan struct{})}), k.Wrap(car{s, "https://a.example/good"})
		_, _ = good.Stat(t.Context())
		s.answers(nil)
		for range 2 {
			time.Sleep(time.Until(k.Hosts()[0].Until))
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { _, _ = bad.Stat(ctx) }()
			synctest.Wait()
			if _, err := good.Stat(t.Context()); !errors.Is(err, mount.ErrUnreachable) {
				t.Errorf("while one finds out: %v", err)
			}
			cancel(shard.ErrStalled)
			pause := k.Hosts()[0].Until
			if _, err := good.Stat(t.Context()); !errors.Is(err, mount.ErrUnreachable) || !errors.Is(err, shard.ErrStalled) || !k.Hosts()[0].Until.After(pause) {
				t.Errorf("that is one more failure: %v", err)
			}
		}
		time.Sleep(time.Until(k.Hosts()[0].Until))
		if _, err := good.Stat(t.Context()); err != nil || k.Hosts()[0].Down {
			t.Errorf("it is refused though nobody finds out: %v", err)
		}
		close(bad.(kept).Mount.(hung).release)
	})
}

// hung is a car of which Stat heeds no context.
type hung struct {
	car
	release chan struct{}
}

func (h hung) Stat(context.Context) (mount.Stat, error) {
	<-h.release
	return mount.Stat{}, errRefused
}

// A host that was down and says that it is busy has answered.
func TestBusyIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		k := New(Config{Failures: 1, Changed: func(h Health) { told = append(told, h.Down) }})
		s := &server{}
		s.answers(errRefused)
		m := k.Wrap(car{s, "https://a.example/a"})
		_, _ = m.Stat(t.Context())
		time.Sleep(time.Second)
		s.answers(&mount.BusyError{After: time.Minute, Err: errors.New("503")})
		for range 2 {
			if _, err := m.Stat(t.Context()); !errors.Is(err, mount.ErrBusy) {
				t.Errorf("%v", err)
			}
		}
		if h := k.Hosts()[0]; h.Down || k.Down(m.URL()) != nil || !slices.Equal(told, []bool{true, false}) {
			t.Errorf("%+v, told %v", h, told)
		}
	})
}
