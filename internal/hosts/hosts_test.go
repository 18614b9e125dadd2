package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/shard"
)

// server is a host of which every call does what answer says.
type server struct {
	mu     sync.Mutex
	calls  int
	answer func() error
	data   []byte
}

func (s *server) ask() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.answer == nil {
		return nil
	}
	return s.answer()
}

func (s *server) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *server) answers(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func() error { return err }
}

// car is one source on a server.
type car struct {
	on  *server
	url string
}

func (c car) URL() string { return c.url }

func (c car) Stat(context.Context) (mount.Stat, error) {
	return mount.Stat{Size: int64(len(c.on.data))}, c.on.ask()
}

func (c car) Open(context.Context) (io.ReadCloser, error) {
	if err := c.on.ask(); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(c.on.data)), nil
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// A dead host is asked a few times, whatever number of CARs lie on it, and is
// found again when it is back.
func TestDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		k := New(Config{Changed: func(h Health) { told = append(told, h.Down) }})
		s := &server{}
		s.answers(errRefused)
		cars := make([]mount.Mount, 5000)
		for i := range cars {
			cars[i] = k.Wrap(car{s, fmt.Sprintf("https://dead.example/%d.car", i)})
		}
		for i, m := range cars {
			_, err := m.Stat(t.Context())
			if i >= defaultFailures && !errors.Is(err, mount.ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		if n := s.asked(); n != defaultFailures {
			t.Errorf("it was asked %d times, want %d", n, defaultFailures)
		}
		if err := k.Down(cars[7].URL()); !errors.Is(err, mount.ErrUnreachable) {
			t.Errorf("Down: %v", err)
		}
		// One call each time that the pause is over, which doubles.
		begun, longest := time.Now(), time.Duration(0)
		for n := range 20 {
			h := k.Hosts()[0]
			longest = max(longest, time.Until(h.Until))
			time.Sleep(time.Until(h.Until))
			for _, m := range cars[:10] {
				if _, err := m.Stat(t.Context()); err == nil {
					t.Fatal("it answered")
				}
			}
			if got := s.asked(); got != defaultFailures+n+1 {
				t.Fatalf("after pause %d it was asked %d times", n, got)
			}
		}
		if longest != defaultLongest || time.Since(begun) < 10*defaultLongest {
			t.Errorf("the longest pause was %v, all were %v", longest, time.Since(begun))
		}
		s.answers(nil)
		time.Sleep(defaultLongest)
		for _, m := range cars {
			if _, err := m.Stat(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if h := k.Hosts(); len(h) != 1 || h[0].Down || h[0].Err != nil || h[0].Host != "https://dead.example" || k.Down(cars[0].URL()) != nil {
			t.Errorf("in the end: %+v", h)
		}
		if !slices.Equal(told, []bool{true, false}) {
			t.Errorf("told: %v", told)
		}
	})
}

// What says nothing about the host is not held against it; what does is.
func TestVerdicts(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	stalled, stall := context.WithCancelCause(t.Context())
	stall(shard.ErrStalled)
	for _, c := range []struct {
		ctx  context.Context //nolint:containedctx // of one row
		err  error
		want verdict
	}{
		{t.Context(), nil, reached},
		{t.Context(), io.EOF, reached},
		{t.Context(), fs.ErrNotExist, reached},
		{t.Context(), fs.ErrPermission, reached},
		{t.Context(), mount.ErrChanged, reached},
		{t.Context(), mount.ErrAnswer, reached},
		{t.Context(), fmt.Errorf("redirected: %w", mount.ErrDenied), neutral},
		{t.Context(), &net.OpError{Op: "dial", Err: mount.ErrDenied}, neutral},
		{t.Context(), &mount.UnreachableError{Err: errRefused}, neutral},
		{ended, context.Canceled, neutral},
		{ended, errRefused, neutral},
		{stalled, context.Canceled, missed},
		{t.Context(), &mount.BusyError{Err: errors.New("503")}, busy},
		{t.Context(), errRefused, missed},
		{t.Context(), fmt.Errorf("get: %w", &net.DNSError{Err: "no such host", IsNotFound: true}), missed},
		{t.Context(), syscall.ECONNRESET, missed},
		{t.Context(), io.ErrUnexpectedEOF, missed},
		{t.Context(), mount.ErrStalled, missed},
	} {
		if got := judge(c.ctx, c.err); got != c.want {
			t.Errorf("%v means %d, want %d", c.err, got, c.want)
		}
	}
}

// A host whose sources hang says so, and a URL without a server is of none.
func TestStalls(t *testing.T) {
	s := &server{}
	s.answers(context.Canceled)
	k := New(Config{})
	far, none := k.Wrap(car{s, "https://a.example/a"}), k.Wrap(car{s, "mem:a"})
	for range 5 {
		ctx, stall := context.WithCancelCause(t.Context())
		stall(shard.ErrStalled)
		_, _ = far.Stat(ctx)
		_, _ = none.Stat(ctx)
	}
	if _, err := far.Stat(t.Context()); !errors.Is(err, mount.ErrUnreachable) || !errors.Is(err, shard.ErrStalled) {
		t.Errorf("%v", err)
	}
	if _, err := none.Stat(t.Context()); err != context.Canceled {
		t.Errorf("without a server: %v", err)
	}
	if h := k.Hosts(); len(h) != 1 {
		t.Errorf("%+v", h)
	}
}

// Some failures are borne with, if others go well between.
func TestBearsWith(t *testing.T) {
	k := New(Config{Failures: 3})
	s := &server{}
	m := k.Wrap(car{s, "https://a.example/a"})
	for n := range 30 {
		s.answers(errRefused)
		if n%3 == 2 {
			s.answers(fs.ErrNotExist)
		}
		if _, err := m.Stat(t.Context()); errors.Is(err, mount.ErrUnreachable) {
			t.Fatalf("after %d calls: %v", n, err)
		}
	}
	if h := k.Hosts()[0]; h.Calls != 30 || h.Failed != 20 {
		t.Errorf("%+v", h)
	}
}

// A busy host is left alone as long as it wants, and calls wait if that is not
// long.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Config{})
		s := &server{}
		m, other := k.Wrap(car{s, "https://a.example/a"}), k.Wrap(car{s, "https://a.example/b"})
		back := time.Now().Add(4 * time.Second)
		s.answer = func() error {
			if wait := time.Until(back); wait > 0 {
				return &mount.BusyError{After: wait, Err: errors.New("429")}
			}
			return nil
		}
		var both sync.WaitGroup
		for _, m := range []mount.Mount{m, other} {
			both.Go(func() {
				if _, err := m.Stat(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if got := time.Now(); !got.Equal(back) || s.asked() > 4 {
			t.Errorf("it was %v, asked %d times; want %v", got, s.asked(), back)
		}
		// Too long to wait for: told at once, and not asked again meanwhile.
		s.answers(&mount.BusyError{After: time.Minute, Err: errors.New("503")})
		begun, before := time.Now(), s.asked()
		for range 100 {
			_, err := m.Stat(t.Context())
			if b, ok := errors.AsType[*mount.BusyError](err); !ok || b.After <= 50*time.Second {
				t.Fatalf("%v", err)
			}
		}
		if time.Since(begun) != 0 || s.asked() != before+1 {
			t.Errorf("it took %v, asked %d times", time.Since(begun), s.asked()-before)
		}
		if h := k.Hosts()[0]; h.Down || h.Until.IsZero() {
			t.Errorf("%+v", h)
		}
		// One that does not say how long is asked some times and then told.
		time.Sleep(time.Minute)
		s.answers(&mount.BusyError{Err: errors.New("503")})
		begun, before = time.Now(), s.asked()
		if _, err := m.Stat(t.Context()); !errors.Is(err, mount.ErrBusy) || s.asked()-before != mostTries || time.Since(begun) > defaultPatience {
			t.Errorf("%v after %v, asked %d times", err, time.Since(begun), s.asked()-before)
		}
		// Who leaves is let go at once.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := m.Stat(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who leaves: %v", err)
		}
	})
}

// A call that panics while it finds out whether a host is back is not the last
// one that may.
func TestPanicOfAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Config{Failures: 1})
		s := &server{}
		s.answers(errRefused)
		m := k.Wrap(car{s, "https://a.example/a"})
		_, _ = m.Stat(t.Context())
		time.Sleep(time.Second)
		s.answer = func() error { panic("a mount") }
		func() {
			defer func() { _ = recover() }()
			_, _ = m.Stat(t.Context())
			t.Error("no panic")
		}()
		s.answer = nil
		if _, err := m.Stat(t.Context()); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// All streams together keep to the bandwidth, and a stream that ends says so
// as it did.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, size, streams = 1 << 20, 1 << 20, 4
		k := New(Config{Bandwidth: rate})
		s := &server{data: make([]byte, size)}
		begun := time.Now()
		var all sync.WaitGroup
		for i := range streams {
			all.Go(func() {
				r, err := k.Wrap(car{s, fmt.Sprintf("https://%d.example/a", i)}).Open(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				if data, err := io.ReadAll(r); len(data) != size || err != nil {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			})
		}
		all.Wait()
		if took, want := time.Since(begun), streams*size/rate*time.Second; took < want*9/10 || took > want*11/10 {
			t.Errorf("it took %v, want some %v", took, want)
		}
		// A reader who leaves does not wait for bytes that are not due yet.
		ctx, cancel := context.WithCancel(t.Context())
		r, err := k.Wrap(car{s, "https://a.example/a"}).Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cancel()
		if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves: %v", err)
		}
	})
}

// A stream that breaks off counts against its host.
func TestBrokenStreams(t *testing.T) {
	k := New(Config{Failures: 2})
	var cars memmount.Set
	m := elsewhere{remote{cars.Put("a", make([]byte, 100))}}
	broken := mounttest.Fault{At: 10, Do: mounttest.Fail, Err: syscall.ECONNRESET}
	w := k.Wrap(mounttest.Faulty(m, broken, broken))
	var streams [2]io.ReadCloser
	for i := range streams {
		var err error
		if streams[i], err = w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range streams {
		for range 2 { // an error that is given again counts once
			if _, err := io.ReadAll(r); !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	if _, err := w.Open(t.Context()); !errors.Is(err, mount.ErrUnreachable) {
		t.Errorf("after two: %v", err)
	}
	if h := k.Hosts()[0]; h.Failed != 2 {
		t.Errorf("%+v", h)
	}
}

// remote hides that a mount lies on this machine.
type remote struct{ m mount.Mount }

func (r remote) URL() string                                     { return r.m.URL() }
func (r remote) Stat(ctx context.Context) (mount.Stat, error)    { return r.m.Stat(ctx) }
func (r remote) Open(ctx context.Context) (io.ReadCloser, error) { return r.m.Open(ctx) }
func (r remote) OpenSibling(suffix string) (mount.Mount, error) {
	return mount.OpenSibling(r.m, suffix)
}
func (r remote) OpenRange(ctx context.Context, at mount.Range) (io.ReadCloser, error) {
	return mount.OpenRange(ctx, r.m, at)
}

// elsewhere is a mount whose URL names a server.
type elsewhere struct{ remote }

func (elsewhere) URL() string { return "far://host.example/a" }

// plain hides everything but the three methods.
type plain struct{ mount.Mount }

// onlyRanges and onlySiblings hide one of the two.
type onlyRanges struct{ mount.RangeOpener }
type onlySiblings struct{ mount.SiblingOpener }

func (p plain) Stat(ctx context.Context) (mount.Stat, error) { return noRanges(p.Mount.Stat(ctx)) }
func (o onlySiblings) Stat(ctx context.Context) (mount.Stat, error) {
	return noRanges(o.SiblingOpener.Stat(ctx))
}

func noRanges(st mount.Stat, err error) (mount.Stat, error) {
	st.Ranges = false
	return st, err
}

// A wrapped mount keeps the laws, and offers what it offered.
func TestLaws(t *testing.T) {
	k := New(Config{Bandwidth: 1 << 40})
	var cars memmount.Set
	data := []byte("0123456789abcdefghij")
	local := cars.Put("car", data)
	if k.Wrap(local) != local {
		t.Error("a source on this machine is wrapped")
	}
	hide := map[string]func(mount.Mount) mount.Mount{
		"all":      func(m mount.Mount) mount.Mount { return remote{m} },
		"ranges":   func(m mount.Mount) mount.Mount { return onlyRanges{remote{m}} },
		"siblings": func(m mount.Mount) mount.Mount { return onlySiblings{remote{m}} },
		"nothing":  func(m mount.Mount) mount.Mount { return plain{remote{m}} },
	}
	for name, hide := range hide {
		open := func(url string) (mount.Mount, error) {
			m, err := cars.Open(url)
			if err != nil {
				return nil, err
			}
			return hide(m), nil
		}
		reg := k.Registry(mount.Registry{"mem": open})
		m := k.Wrap(hide(local))
		if err := mounttest.Test(t.Context(), reg, m, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, ranges := m.(mount.RangeOpener)
		_, siblings := m.(mount.SiblingOpener)
		if ranges != (name == "all" || name == "ranges") || siblings != (name == "all" || name == "siblings") {
			t.Errorf("%s: offers ranges %v, siblings %v", name, ranges, siblings)
		}
	}
	if m, err := mount.OpenSibling(k.Wrap(remote{local}), ".idx"); err != nil {
		t.Error(err)
	} else if _, is := m.(mount.FileOpener); !is {
		t.Errorf("what lies beside it is a %T", m)
	}
	bad := k.Opener(func(string) (mount.Mount, error) { return nil, mount.ErrURL })
	if m, err := bad("x:y"); m != nil || !errors.Is(err, mount.ErrURL) {
		t.Errorf("%v, %v", m, err)
	}
}

// The number of hosts that are remembered is bounded, and one that is down is
// not what is forgotten.
func TestManyHosts(t *testing.T) {
	k := New(Config{Failures: 1})
	dead, well := &server{}, &server{}
	dead.answers(errRefused)
	down := k.Wrap(car{dead, "https://dead.example/a"})
	_, _ = down.Stat(t.Context())
	for i := range 2 * mostHosts {
		if _, err := k.Wrap(car{well, fmt.Sprintf("https://%d.example/a", i)}).Stat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.Hosts()); n != mostHosts {
		t.Errorf("%d hosts", n)
	}
	if err := k.Down(down.URL()); !errors.Is(err, mount.ErrUnreachable) {
		t.Errorf("the dead one: %v", err)
	}
}
