package copies

import (
	"context"
	"errors"
	"io"
	"sync"
)

// What is kept of a source is written beside whoever reads it, so that a first
// read costs what it costs without a copy. Units wait in memory, where they can be
// read already. If the disk cannot keep up some are not kept: they were read. The
// files themselves are made with the first unit, and not with the opening of a
// shard: many are opened of which nothing is ever read.

// mostQueued is how many bytes wait to be written, of all sparse copies together.
const mostQueued = 16 << 20

// mostSeen is how many units are remembered that were read once, of all sparse
// copies together: 16 GiB of sources, in some 10 MiB of memory.
const mostSeen = 1 << 18

// line is of what size pieces are that are remembered: 64 to a unit.
const line = unit / 64

// farApart is how many units have to be here in a row for a stream to end its
// request before them, and make another behind them.
const farApart = 16

// A Birth is how a sparse copy comes to be that no record names yet.
type Birth struct {
	// ID gives it a number. It may do I/O.
	ID func() (uint32, error)
	// Made is told that its files are there, and empty: a record may name it.
	Made func(id uint32)
}

// NewSparse returns a sparse copy of a CAR of size bytes whose source has the
// version, which must not be "". It is made once there is something to be kept.
// One that is spare was asked for by nobody: it makes no other copy go but those
// that are spare too, and goes before any other.
func (k *Keeper) NewSparse(size int64, version string, spare bool, birth Birth) *Sparse {
	s := k.newSparse(size, version, spare)
	s.birth = birth
	if (size-1)/unit >= mostUnits {
		s.failed = true // nothing is kept of it
	}
	return s
}

// A waiting is a unit that waits to be written.
type waiting struct {
	data   []byte
	pooled *[unit]byte // what it lies in; nil: that is nobody's
}

var units = sync.Pool{New: func() any { return new([unit]byte) }} // a cache: of no meaning to anybody

// keeps says whether what is read may be kept, as far as that is known. The lock
// is held.
func (s *Sparse) keeps() bool {
	if s.failed || s.ending || s.k.queued.Load() >= mostQueued {
		return false
	}
	if !s.k.mayTake(unit, s.spare) {
		s.k.want(s.spare)
		return false
	}
	return true
}

// has says whether unit n is here. The lock is held.
func (s *Sparse) has(n int) bool {
	_, ok := s.units[n]
	return ok || s.queued[n] != nil
}

// again says whether the n bytes from off on were read before, if that matters,
// and remembers that they were read. It knows lines of 1 KiB. The lock is held.
func (s *Sparse) again(off, n int64) bool {
	if !s.spare {
		return true
	}
	is := true
	for end := off + n; off < end; {
		u := int(off / unit)
		in, to := off-int64(u)*unit, min(end-int64(u)*unit, unit)
		off += to - in
		lines := ^uint64(0) << (in / line) & (^uint64(0) >> (unit/line - 1 - (to-1)/line))
		was, ok := s.seen[u]
		is = is && was&lines == lines
		if !ok && s.k.seen.Add(1) > mostSeen {
			s.k.seen.Add(-1)
			s.forget() // its own: whoever reads most
			s.k.seen.Add(1)
		}
		if s.seen == nil {
			s.seen = map[int]uint64{}
		}
		s.seen[u] = was | lines
	}
	return is
}

// forget forgets what was read once. The lock is held.
func (s *Sparse) forget() {
	s.k.seen.Add(-int64(len(s.seen)))
	s.seen = nil
}

// offer keeps unit n, if that can be: data is no longer the caller's. pooled says
// that it is a unit of the pool.
func (s *Sparse) offer(n int, data []byte, pooled bool) {
	w := &waiting{data: data}
	if pooled {
		w.pooled = (*[unit]byte)(data[:unit])
	}
	s.mu.Lock()
	if s.has(n) || s.failed || s.ending || !s.k.mayQueue() {
		s.mu.Unlock()
		w.free()
		return
	}
	s.queued[n] = w
	s.order = append(s.order, n)
	begin := !s.writing
	s.writing = true
	s.mu.Unlock()
	if begin && (s.k.beside == nil || !s.k.beside(s.drain)) {
		s.drain()
	}
}

// mayQueue counts one more unit that waits, unless there are too many.
func (k *Keeper) mayQueue() bool {
	if k.queued.Add(unit) <= mostQueued {
		return true
	}
	k.queued.Add(-unit)
	return false
}

func (w *waiting) free() {
	if w.pooled != nil {
		units.Put(w.pooled)
	}
}

// drain writes what waits.
func (s *Sparse) drain() {
	s.draining.Lock()
	defer s.draining.Unlock()
	for {
		s.mu.Lock()
		if len(s.order) == 0 {
			s.writing, s.order = false, nil
			s.mu.Unlock()
			return
		}
		n := s.order[0]
		s.order = s.order[1:]
		w := s.queued[n]
		s.mu.Unlock()
		if s.born() {
			s.write(n, w.data)
		}
		s.mu.Lock()
		delete(s.queued, n)
		s.mu.Unlock()
		s.k.queued.Add(-unit)
		w.free()
	}
}

// born makes the files if there are none, and says whether there are. One at a
// time calls it.
func (s *Sparse) born() bool {
	s.mu.Lock()
	is, failed := s.e != nil, s.failed
	s.mu.Unlock()
	if is || failed {
		return is && !failed
	}
	if !s.k.mayTake(block+unit, s.spare) {
		s.k.want(s.spare)
		return false
	}
	id, err := s.birth.ID()
	made := false
	if err == nil {
		made, err = s.create(id)
	}
	if err != nil {
		s.mu.Lock()
		s.failed = true
		s.mu.Unlock()
	}
	if made {
		s.birth.Made(id)
	}
	return made
}

// Flush writes what waits, and returns once it is written.
func (s *Sparse) Flush() { s.drain() }

// A partial is the beginning of a unit.
type partial struct {
	n    int
	have int64
	buf  *[unit]byte
}

// A stream reads a part of a CAR in order: what is here from the disk, the rest
// with as few requests as that takes, and keeps what it brings.
type stream struct {
	s        *Sparse
	ctx      context.Context //nolint:containedctx // the stream is made for one use
	open     Range
	off, end int64

	r      io.ReadCloser // what is not here; nil: none is open
	until  int64         // where that ends
	gather *partial
}

// Stream returns n bytes from off on in the CAR, which must lie within it. It is
// for one goroutine, which closes it.
func (s *Sparse) Stream(ctx context.Context, off, n int64, open Range) io.ReadCloser {
	return &stream{s: s, ctx: ctx, open: open, off: off, end: off + n}
}

// Read implements [io.Reader].
func (t *stream) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), t.end-t.off)]
	switch {
	case t.off >= t.end:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	for t.r == nil {
		if n := t.here(p); n > 0 {
			t.off += int64(n)
			return n, nil
		}
		t.until = t.s.missing(t.off, t.end)
		r, err := t.open(t.ctx, t.off, t.until-t.off)
		if err != nil {
			return 0, err
		}
		t.r = r
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.until-t.off)])
	t.collect(p[:n])
	t.off += int64(n)
	if t.off >= t.until {
		_ = t.r.Close() // before the next request: it can have the connection
		t.r, err = nil, nil
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// here reads into p what is here, to the end of a unit.
func (t *stream) here(p []byte) int {
	n := int(t.off / unit)
	in := t.off - int64(n)*unit
	p = p[:min(int64(len(p)), t.s.length(n)-in)]
	if !t.s.here(p, n, in) {
		return 0
	}
	return len(p)
}

// missing is how far a request goes that begins at off.
func (s *Sparse) missing(off, end int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.units)+len(s.queued) == 0 {
		return end
	}
	row := 0
	for n := int(off/unit) + 1; int64(n)*unit < end; n++ {
		if !s.has(n) {
			row = 0
			continue
		}
		if row++; row == farApart || int64(n+1)*unit >= end {
			return int64(n+1-row) * unit
		}
	}
	return end
}

// collect keeps units of what comes.
func (t *stream) collect(p []byte) {
	s, off := t.s, t.off
	for len(p) > 0 {
		n := int(off / unit)
		in := off - int64(n)*unit
		part := p[:min(int64(len(p)), s.length(n)-in)]
		p, off = p[len(part):], off+int64(len(part))
		if t.gather == nil || t.gather.n != n || t.gather.have != in {
			t.drop()
			t.gather = s.begin(n, in, int64(len(part)))
		}
		g := t.gather
		if g == nil {
			continue
		}
		copy(g.buf[in:], part)
		if g.have += int64(len(part)); g.have == s.length(n) {
			t.gather = nil
			s.offer(n, g.buf[:g.have], true)
		}
	}
}

// begin returns what unit n is gathered in from in on, of which size bytes are
// here, or nil if it is not to be kept, or its beginning was not read.
func (s *Sparse) begin(n int, in, size int64) *partial {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tail; t != nil && t.n == n && t.have == in {
		s.tail = nil
		return t
	}
	if !s.again(int64(n)*unit+in, size) || in > 0 || s.has(n) || !s.keeps() {
		return nil
	}
	return &partial{n: n, buf: units.Get().(*[unit]byte)}
}

// drop leaves what was gathered of a unit to whoever reads on there.
func (t *stream) drop() {
	if t.gather == nil {
		return
	}
	t.s.mu.Lock()
	old := t.s.tail
	t.s.tail, t.gather = t.gather, nil
	t.s.mu.Unlock()
	if old != nil {
		units.Put(old.buf)
	}
}

// Close implements [io.Closer].
func (t *stream) Close() (err error) {
	t.drop()
	t.end = t.off
	if t.r != nil {
		err = t.r.Close()
		t.r = nil
	}
	return err
}
