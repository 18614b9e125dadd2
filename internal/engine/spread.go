package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dagstore/dagstore/mount"
)

const (
	spreadMost  = 4           // streams
	spreadPiece = 2 << 20     // bytes of a range
	spreadLeast = 16 << 20    // bytes that must be left for it to be worth anything
	spreadTrial = time.Second // how long is measured
	fastEnough  = 128 << 20   // bytes a second; hardly a server that holds back its streams gives as much
	mostlyBound = 0.75        // of the time is spent waiting for the source, if more streams may help
	worthIt     = 1.5         // twice the streams must bring so much more
)

// A spread reads a source from some byte on, in order: by one stream, and by several
// ranges at once where that proves quicker. It begins with one stream. While more
// than that is spent waiting for it, twice as many are tried for a while, and kept if
// they bring clearly more. It is for one goroutine.
type spread struct {
	ctx   context.Context //nolint:containedctx // of the one reading
	mount mount.Mount
	stat  mount.Stat
	room  *streams
	host  string

	one    *download // the one stream; nil: there are ranges
	spans  *spans    // nil: there is one stream
	off    int64     // of what is read next
	pinned bool      // what was read is of one version
	extra  int       // streams beside the first

	settled bool // no more are tried
	trial   trial
	rate    float64 // of half as many streams
}

// A trial measures what streams bring.
type trial struct {
	since   time.Time
	at      int64         // bytes at that time
	waited  time.Duration // for the source, since then
	warming bool          // it does not count yet
}

// newSpread returns a spread from off on. It is to be closed.
func newSpread(ctx context.Context, m mount.Mount, st mount.Stat, off int64, room *streams) *spread {
	s := &spread{ctx: ctx, mount: m, stat: st, room: room, host: mount.Host(m.URL()), off: off, pinned: off > 0}
	s.settled = !st.Ranges || st.Version == "" || st.Size < 0
	s.one = &download{ctx: ctx, mount: m, stat: st, off: off, pinned: off > 0}
	room.begin(s.host)
	s.trial.since, s.trial.at = time.Now(), off
	return s
}

// Read implements [io.Reader].
func (s *spread) Read(p []byte) (n int, err error) {
	if s.spans == nil {
		return s.readOne(p)
	}
	n, err = s.spans.read(p)
	s.off += int64(n)
	switch {
	case err == nil:
		s.weigh()
		return n, nil
	case errors.Is(err, io.EOF) && s.off < s.stat.Size, errors.Is(err, errOneStream):
		s.together()
		return n, nil
	}
	return n, err
}

func (s *spread) readOne(p []byte) (int, error) {
	began := time.Now()
	n, err := s.one.Read(p)
	s.off += int64(n)
	s.pinned = s.one.pinned
	if s.settled || err != nil {
		return n, err
	}
	now := time.Now()
	s.trial.waited += now.Sub(began)
	if took := now.Sub(s.trial.since); took >= spreadTrial {
		s.rate = float64(s.off-s.trial.at) / took.Seconds()
		bound := float64(s.trial.waited) / float64(took)
		s.trial = trial{since: now, at: s.off}
		if s.pinned && bound >= mostlyBound && s.rate < fastEnough && s.stat.Size-s.off >= spreadLeast && s.room.more(s.host, 1) {
			s.apart()
		}
	}
	return n, err
}

// apart goes on by two ranges at once.
func (s *spread) apart() {
	_ = s.one.Close() // the ranges are of what follows
	s.one = nil
	s.extra = 1
	s.spans = newSpans(s.ctx, s.mount, s.stat, s.off)
	s.spans.grow(2)
	s.trial = trial{since: time.Now(), warming: true}
}

// together goes on by one stream.
func (s *spread) together() {
	s.spans.close()
	s.spans = nil
	s.settled = true
	s.room.end(s.host, s.extra)
	s.extra = 0
	s.one = &download{ctx: s.ctx, mount: s.mount, stat: s.stat, off: s.off, pinned: true}
}

// weigh decides whether as many streams as there are now are worth it.
func (s *spread) weigh() {
	n, fetched, busy := s.spans.state()
	if busy && n > 1 {
		s.settled = true
		s.spans.shrink(1)
	}
	now := time.Now()
	took := now.Sub(s.trial.since)
	if s.settled || took < spreadTrial {
		return
	}
	if s.trial.warming {
		s.trial = trial{since: now, at: fetched}
		return
	}
	rate := float64(fetched-s.trial.at) / took.Seconds()
	switch {
	case rate < worthIt*s.rate:
		s.settled = true
		s.spans.shrink(n / 2)
		s.room.end(s.host, n-n/2)
		s.extra -= n - n/2
	case 2*n > spreadMost || !s.room.more(s.host, n):
		s.settled = true
	default:
		s.extra += n
		s.rate = rate
		s.spans.grow(2 * n)
		s.trial = trial{since: now, warming: true}
	}
}

// Close implements [io.Closer].
func (s *spread) Close() (err error) {
	if s.one != nil {
		err = s.one.Close()
	} else {
		s.spans.close()
	}
	s.room.end(s.host, 1+s.extra)
	s.extra = -1 // a second Close gives nothing back
	return err
}

// errOneStream says that a range has failed, for a reason that one stream may not meet.
var errOneStream = errors.New("engine: one stream goes on")

// spans reads a source by several ranges at once, in order. Its memory is bounded:
// who fetches waits for who reads.
type spans struct {
	ctx     context.Context //nolint:containedctx // of those who fetch
	cancel  context.CancelFunc
	mount   mount.Mount
	stat    mount.Stat
	workers sync.WaitGroup

	mu      sync.Mutex
	moved   sync.Cond
	pieces  []*stretch // in order; the first is being read
	next    int64      // where the next begins
	end     int64      // where the last ends
	want, n int        // workers that there are to be, and are
	off     int64      // of what is read next
	fetched int64
	busy    bool // the source wants less
	err     error
	panic   any
	spare   [][]byte
}

// A stretch is one range.
type stretch struct {
	off int64
	buf []byte
	n   int // bytes that are here
	err error
}

func newSpans(ctx context.Context, m mount.Mount, st mount.Stat, off int64) *spans {
	r := &spans{mount: m, stat: st, next: off, off: off, end: st.Size}
	r.moved.L = &r.mu
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// grow has n workers fetch.
func (r *spans) grow(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.want = n; r.n < n; r.n++ {
		r.workers.Go(r.work)
	}
}

// shrink has n workers fetch; if that is one, it goes on by one stream after what is
// under way.
func (r *spans) shrink(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want = n; n == 1 {
		r.end, r.want = r.next, 0
	}
	r.moved.Broadcast()
}

// state is how many workers there are to be, what they have fetched, and whether
// the source wants less.
func (r *spans) state() (n int, fetched int64, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want, r.fetched, r.busy
}

// close waits until nobody fetches.
func (r *spans) close() {
	r.cancel()
	r.mu.Lock()
	r.want = 0
	r.moved.Broadcast()
	r.mu.Unlock()
	r.workers.Wait()
}

// read reads what is next. An error of a range comes after what is before it, but
// for one that says that all is of another version.
func (r *spans) read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.panic != nil {
			panic(r.panic)
		}
		if r.err != nil {
			return 0, r.err
		}
		if len(r.pieces) == 0 && r.off >= r.end {
			return 0, io.EOF
		}
		if len(r.pieces) > 0 {
			f := r.pieces[0]
			at := int(r.off - f.off)
			if at < f.n {
				n := copy(p, f.buf[at:f.n])
				r.off += int64(n)
				if at+n == len(f.buf) {
					r.pieces = r.pieces[1:]
					r.spare = append(r.spare, f.buf[:cap(f.buf)])
					r.moved.Broadcast()
				}
				return n, nil
			}
			if f.err != nil {
				return 0, f.err
			}
		}
		r.moved.Wait()
	}
}

// work fetches one range after the other.
func (r *spans) work() {
	defer func() {
		p := recover()
		r.mu.Lock()
		defer r.mu.Unlock()
		if p != nil {
			r.panic = p
		}
		r.n--
		r.moved.Broadcast()
	}()
	for {
		f := r.take()
		if f == nil {
			return
		}
		err := r.fetch(f)
		if err == nil {
			continue
		}
		r.mu.Lock()
		f.err = r.judge(err)
		if errors.Is(err, mount.ErrChanged) {
			r.err = err
		}
		r.want = 0 // what follows is of no use, or for one stream
		r.moved.Broadcast()
		r.mu.Unlock()
		return
	}
}

// judge is what who reads is told of the error of a range. The lock is held.
func (r *spans) judge(err error) error {
	if r.ctx.Err() != nil || errors.Is(err, mount.ErrChanged) || errors.Is(err, mount.ErrBusy) {
		return err // to ask again by one stream is in vain, or not what the source wants
	}
	return fmt.Errorf("%w: %w", errOneStream, err)
}

// take waits until another range may be fetched; nil says that none is to be.
func (r *spans) take() *stretch {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.n > r.want || r.next >= r.end {
			return nil
		}
		if len(r.pieces) < 2*r.want {
			break
		}
		r.moved.Wait()
	}
	f := &stretch{off: r.next}
	size := min(spreadPiece, r.end-r.next)
	if n := len(r.spare); n > 0 {
		f.buf, r.spare = r.spare[n-1][:size], r.spare[:n-1]
	} else {
		f.buf = make([]byte, size, spreadPiece)
	}
	r.next += size
	r.pieces = append(r.pieces, f)
	return f
}

func (r *spans) fetch(f *stretch) error {
	d := &download{
		ctx: r.ctx, mount: r.mount, stat: r.stat, off: f.off, end: f.off + int64(len(f.buf)), pinned: true,
		busy: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.busy = true
		},
	}
	defer func() { _ = d.Close() }() // what was to be read is read, or that it was not is known
	for f.n < len(f.buf) {
		n, err := d.Read(f.buf[f.n:])
		r.mu.Lock()
		f.n += n
		r.fetched += int64(n)
		r.moved.Broadcast()
		r.mu.Unlock()
		if err != nil && f.n < len(f.buf) {
			return err
		}
	}
	return nil
}
