package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A paced source brings so much a second over each stream, and over all of them
// together. What lies where can be told from the place.
type paced struct {
	size        int64
	each, all   int64 // bytes a second; 0: no limit
	mu          sync.Mutex
	free        time.Time // when all streams together may bring more
	opened      int
	open, most  int
	opening     func(n int, r mount.Range) error // asked before stream n is opened
	reading     func(off int64) error            // asked before each read
	unversioned bool
	sent        int64
}

func (s *paced) URL() string { return "https://a.example/a.car" }

func (s *paced) Stat(context.Context) (mount.Stat, error) {
	st := mount.Stat{Size: s.size, Ranges: true, Version: "1"}
	if s.unversioned {
		st.Version = ""
	}
	return st, nil
}

func (s *paced) Open(ctx context.Context) (io.ReadCloser, error) {
	return s.OpenRange(ctx, mount.Range{Length: -1})
}

func (s *paced) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if want := "1"; r.Version != want && !s.unversioned {
		return nil, fmt.Errorf("it is asked for version %q", r.Version)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	if s.opening != nil {
		if err := s.opening(s.opened, r); err != nil {
			return nil, err
		}
	}
	s.open++
	s.most = max(s.most, s.open)
	end := s.size
	if r.Length >= 0 {
		end = r.Offset + r.Length
	}
	return &pacedStream{s: s, ctx: ctx, off: r.Offset, end: end}, nil
}

type pacedStream struct {
	s        *paced
	ctx      context.Context //nolint:containedctx // of the one reading
	off, end int64
	closed   bool
}

// placed is the byte at off. It is told of one byte in a few hundred: to make and to
// look at all of them would be what these tests do.
func placed(off int64) byte { return byte(off * 0x9E3779B1 >> 13) }

// someOf yields the places of those bytes, of n from off on, behind off.
func someOf(off int64, n int) func(yield func(i int) bool) {
	const every = 509
	return func(yield func(i int) bool) {
		for i := int(every - 1 - (off+every-1)%every); i < n; i += every {
			if !yield(i) {
				return
			}
		}
	}
}

func (r *pacedStream) Read(p []byte) (int, error) {
	if r.closed {
		return 0, errors.New("it is closed")
	}
	n := min(int64(len(p)), r.end-r.off, 64<<10)
	if n == 0 {
		return 0, io.EOF
	}
	r.s.mu.Lock()
	wait := time.Duration(0)
	if r.s.each > 0 {
		wait = time.Duration(n * int64(time.Second) / r.s.each)
	}
	if r.s.all > 0 {
		now := time.Now()
		if r.s.free.Before(now) {
			r.s.free = now
		}
		r.s.free = r.s.free.Add(time.Duration(n * int64(time.Second) / r.s.all))
		wait = max(wait, r.s.free.Sub(now))
	}
	reading := r.s.reading
	r.s.mu.Unlock()
	if reading != nil {
		if err := reading(r.off); err != nil {
			return 0, err
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	for i := range someOf(r.off, int(n)) {
		p[i] = placed(r.off + int64(i))
	}
	r.off += n
	r.s.mu.Lock()
	r.s.sent += n
	r.s.mu.Unlock()
	return int(n), nil
}

func (r *pacedStream) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.s.open--
	}
	return nil
}

// readAll reads a spread as a pump does, and says what it came to. slow is how long
// who uses it takes for each MiB.
func readAll(ctx context.Context, s *paced, room *streams, off int64, slow time.Duration) (n int64, took time.Duration, err error) {
	began := time.Now()
	st, err := s.Stat(ctx)
	if err != nil {
		return 0, 0, err
	}
	from := newSpread(ctx, s, st, off, room)
	defer from.Close()
	buf := make([]byte, 1<<20)
	for {
		var k int
		k, err = from.Read(buf)
		for i := range someOf(off+n, k) {
			if buf[i] != placed(off+n+int64(i)) {
				return n, 0, fmt.Errorf("byte %d is another", off+n+int64(i))
			}
		}
		n += int64(k)
		time.Sleep(slow * time.Duration(k) / (1 << 20))
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, time.Since(began), err
		}
	}
}

// Where a server holds back each stream, more of them bring more; where it holds back
// all of them together, or who uses what comes is the slow one, one is enough, and
// hardly slower for the trial.
func TestSpread(t *testing.T) {
	const size = 64 << 20
	for name, c := range map[string]struct {
		*paced
		room     int
		slow     time.Duration
		off      int64
		most     int
		at, till float64 // of the time that one stream takes
	}{
		"each is held back":               {paced: &paced{each: 1 << 20}, room: 8, most: 4, at: 0.25, till: 0.36},
		"each is held back, of a half":    {paced: &paced{each: 1 << 20}, room: 8, off: size / 2, most: 4, at: 0.25, till: 0.45},
		"each is held back, few may be":   {paced: &paced{each: 1 << 20}, room: 3, most: 2, at: 0.5, till: 0.6},
		"each is held back, one may be":   {paced: &paced{each: 1 << 20}, room: 1, most: 1, at: 1, till: 1},
		"each and two of them":            {paced: &paced{each: 1 << 20, all: 2 << 20}, room: 8, most: 4, at: 0.5, till: 0.6},
		"all together are held back":      {paced: &paced{all: 4 << 20}, room: 8, most: 2, at: 1, till: 1.05},
		"nobody is":                       {paced: &paced{each: 512 << 20}, room: 8, most: 1, at: 1, till: 1},
		"who uses it is slow":             {paced: &paced{each: 2 << 20}, room: 8, slow: time.Second, most: 1, at: 3, till: 3.01},
		"each is held back, no version":   {paced: &paced{each: 1 << 20, unversioned: true}, room: 8, most: 1, at: 1, till: 1},
		"two in all, three do not matter": {paced: &paced{each: 2 << 20, all: 2 << 20}, room: 8, most: 2, at: 1, till: 1.1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := c.paced
				s.size = size
				room := &streams{most: c.room}
				n, took, err := readAll(t.Context(), s, room, c.off, c.slow)
				rate := s.each
				if rate == 0 || s.all > 0 && s.all < rate {
					rate = s.all
				}
				one := float64(size-c.off) / float64(rate)
				if ratio := took.Seconds() / one; err != nil || n != size-c.off || ratio < c.at-0.001 || ratio > c.till+0.001 {
					t.Errorf("%d bytes in %v, %.3f of the time of one stream: %v", n, took, ratio, err)
				}
				if s.most != c.most || s.open != 0 || len(room.n) != 0 {
					t.Errorf("there were %d streams at once; %d are left, %v are counted", s.most, s.open, room.n)
				}
				if over := float64(s.sent) / float64(size-c.off); over > 1.01 {
					t.Errorf("%.3f times the bytes were sent", over)
				}
				t.Logf("%.3f of the time of one stream, %d requests", took.Seconds()/one, s.opened)
			})
		})
	}
}

// A range that breaks off is gone on with; one that is of another version ends all; a
// source that has too much to do gets one stream from then on, after the time that it
// says; and one that refuses more streams, too.
func TestSpreadOfBadSources(t *testing.T) {
	const size = 48 << 20
	broke := errors.New("it broke")
	run := func(t *testing.T, s *paced) (n int64, took time.Duration, err error) {
		s.size, s.each = size, 1<<20
		room := &streams{most: 8}
		n, took, err = readAll(t.Context(), s, room, 0, 0)
		if s.open != 0 || len(room.n) != 0 {
			t.Errorf("%d streams are left, %v are counted", s.open, room.n)
		}
		return n, took, err
	}
	t.Run("breaks off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &paced{}
			var mu sync.Mutex
			calls := 0
			s.reading = func(int64) error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls%20 == 0 {
					return io.ErrUnexpectedEOF
				}
				return nil
			}
			if n, took, err := run(t, s); err != nil || n != size || took > 40*time.Second || s.most != 4 {
				t.Errorf("%d bytes in %v over %d streams: %v", n, took, s.most, err)
			}
		})
	})
	t.Run("changes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &paced{opening: func(n int, _ mount.Range) error {
				if n == 4 {
					return mount.ErrChanged
				}
				return nil
			}}
			if n, took, err := run(t, s); !errors.Is(err, shard.ErrChanged) || n > size/2 || took > 15*time.Second {
				t.Errorf("%d bytes in %v: %v", n, took, err)
			}
		})
	})
	t.Run("is busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var until time.Time
			s := &paced{}
			s.opening = func(n int, _ mount.Range) error {
				if n == 5 {
					until = time.Now().Add(7 * time.Second)
					return &mount.BusyError{After: 7 * time.Second, Err: broke}
				}
				if n > 8 && s.open > 0 && time.Now().After(until) {
					t.Error("there is more than one stream")
				}
				return nil
			}
			if n, took, err := run(t, s); err != nil || n != size || s.opened > 9 {
				t.Errorf("%d bytes in %v, %d requests: %v", n, took, s.opened, err)
			}
		})
	})
	t.Run("wants to be left alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &paced{opening: func(n int, _ mount.Range) error {
				if n > 4 {
					return &mount.BusyError{After: time.Hour, Err: broke}
				}
				return nil
			}}
			if n, took, err := run(t, s); !errors.Is(err, mount.ErrBusy) || n == size || s.opened > 8 {
				t.Errorf("%d bytes in %v, %d requests: %v", n, took, s.opened, err)
			}
		})
	})
	t.Run("refuses more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &paced{}
			s.opening = func(int, mount.Range) error {
				if s.open > 0 {
					return broke
				}
				return nil
			}
			if n, took, err := run(t, s); err != nil || n != size || s.most != 1 {
				t.Errorf("%d bytes in %v over %d streams: %v", n, took, s.most, err)
			}
		})
	})
	t.Run("panics", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &paced{opening: func(n int, _ mount.Range) error {
				if n == 4 {
					panic("a mount")
				}
				return nil
			}}
			defer func() {
				if p := recover(); p != "a mount" {
					t.Errorf("it panics with %v", p)
				}
			}()
			_, _, err := run(t, s)
			t.Errorf("it does not panic: %v", err)
		})
	})
}

// Wherever a spread is when it is cut off, nobody is left in the source.
func TestSpreadIsCutOff(t *testing.T) {
	for at := range 30 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(at)*500*time.Millisecond)
			defer cancel()
			s := &paced{size: 64 << 20, each: 2 << 20}
			room := &streams{most: 8}
			if n, took, err := readAll(ctx, s, room, 0, 0); !errors.Is(err, context.DeadlineExceeded) && n < s.size || took > time.Duration(at)*500*time.Millisecond {
				t.Errorf("%d bytes in %v: %v", n, took, err)
			}
			if s.open != 0 || len(room.n) != 0 {
				t.Errorf("%d streams are left, %v are counted", s.open, room.n)
			}
		})
	}
}
