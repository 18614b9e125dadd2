package blocks

import (
	"context"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/local"
)

// Reading ahead is for sources that are not on this machine, where a request
// takes as long as megabytes do: the kernel reads ahead in files. It begins when
// reads of a shard have gone forward aheadAfter times, and grows with what was
// read in this way: whoever stops, at the end of a file say, has paid for a
// part of it more than was of use. A reader who jumps about never pays for it.
//
// Who has come far enough has the next piece fetched while reading this one, so
// that the source and the hashing do not wait for each other.
const (
	aheadAfter   = 2
	aheadFirst   = 256 << 10
	aheadShare   = 8        // a piece is an eighth of what was read so far
	aheadMost    = 4 << 20  // bytes of one piece
	aheadAlign   = 64 << 10 // a piece ends at a multiple of it in the source: what keeps parts of that keeps such ones
	aheadAll     = 32 << 20 // bytes of all pieces together
	aheadForward = runGap   // the longest way over which it still goes forward
	aheadStale   = 256      // reads of anything, after which a window makes room for another
)

// ahead is what is read ahead of all shards. It knows each as long as it is open.
type ahead struct {
	begin func(f func(ctx context.Context)) bool // [Config.Go]
	stall time.Duration                          // [Config.Stall]

	mu     sync.Mutex
	shards map[*local.Handle]*window
	bytes  int    // in pieces, and on their way there
	clock  uint64 // counts reads, to tell which window was used last
	pieces int    // that were begun, for tests
	most   int    // who may hash beside readers
	others int    // who do
	proofs int    // sections that were found good by them, for tests
}

// A window is the reads of one shard: where the last was, and what was read
// ahead.
type window struct {
	last, end int64    // the last read, from its first byte to behind its last
	forward   int      // reads in a row that went forward
	run       int64    // bytes of them
	limit     int64    // where the payload ends
	pieces    []*piece // each begins where the one before ends
	used      uint64
}

// read fills p from off of the payload of h, which is pinned and has limit
// bytes of it. direct asks the source for just what it is given. The error is
// that of direct, of h or of ctx: what goes wrong with bytes that nobody asked
// for nobody hears of. kept says that some of p was read ahead.
func (a *ahead) read(ctx context.Context, h *local.Handle, p []byte, off, limit int64, direct func(p []byte, off int64) error) (kept bool, err error) {
	if len(p) == 0 {
		return false, direct(p, off)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	w := a.meet(h)
	a.mu.Lock()
	w.limit = limit
	a.used(w)
	if forward := w.note(off, len(p)); !w.covers(off, len(p)) {
		if !forward {
			a.rest(w)
			a.mu.Unlock()
			return false, direct(p, off)
		}
		w.forward++
	}
	if err := h.Err(); err != nil {
		a.mu.Unlock()
		return false, err
	}
	a.renew(h, w)
	rest, err := a.fill(ctx, h, w, p, off)
	a.mu.Unlock()
	kept = len(rest) < len(p)
	if err == nil && len(rest) > 0 {
		err = direct(rest, off+int64(len(p)-len(rest)))
	}
	return kept, err
}

// fill reads into p from the pieces of w, and begins one where the last ends.
// It returns what of p it cannot fill. It is called with the lock held, as is
// all that follows here, and gives it up while it waits or copies.
func (a *ahead) fill(ctx context.Context, h *local.Handle, w *window, p []byte, off int64) (rest []byte, err error) {
	for len(p) > 0 {
		x := w.at(off)
		if x == nil {
			if x = a.extend(h, w, off, len(p)); x == nil {
				return p, nil
			}
			if a.begin == nil {
				a.mu.Unlock()
				a.fetch(ctx, h, w, x)
				a.mu.Lock()
			}
		}
		x.users++
		data, err := a.await(ctx, x, off, len(p))
		a.mu.Unlock()
		n := copy(p, data)
		a.mu.Lock()
		a.leave(x)
		if err != nil || n == 0 {
			return p, err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil, nil
}

// lend returns the n bytes at off in the payload of h if they lie together in a
// piece. They must not be changed, and are given back by giveBack. It waits if
// they are on their way. good says that they were found to be what their CID says;
// unless check is set nobody looks for that.
func (a *ahead) lend(ctx context.Context, h *local.Handle, off int64, n int, check bool) (x *piece, data []byte, good bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.shards[h]
	if w == nil || n <= 0 {
		return nil, nil, false
	}
	if x = w.at(off); x == nil || x.end()-off < int64(n) {
		return nil, nil, false
	}
	x.users++
	data, err := a.await(ctx, x, off, n)
	if err != nil || len(data) < n || h.Err() != nil {
		a.leave(x)
		return nil, nil, false
	}
	a.used(w)
	w.note(off, n)
	a.renew(h, w)
	if check {
		from := int(off - x.off)
		a.prove(x, from, from+n)
		good = a.proven(ctx, x, from)
	}
	return x, data, good
}

func (a *ahead) giveBack(x *piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(x)
}

// warm says whether anything of h was read ahead.
func (a *ahead) warm(h *local.Handle) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.shards[h]
	return w != nil && len(w.pieces) > 0
}

// meet returns the window of h, which is pinned, and lets go of it once h is
// closed. Of two who meet h at once one has it forgotten twice, which is nothing.
func (a *ahead) meet(h *local.Handle) *window {
	a.mu.Lock()
	w := a.shards[h]
	if w != nil {
		a.mu.Unlock()
		return w
	}
	if a.shards == nil {
		a.shards = make(map[*local.Handle]*window)
	}
	w = &window{last: -1, end: -1}
	a.shards[h] = w
	a.mu.Unlock()
	h.OnClose(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if gone := a.shards[h]; gone != nil {
			a.drop(gone)
			delete(a.shards, h)
		}
	})
	return w
}

// distrust drops what was read ahead of h.
func (a *ahead) distrust(h *local.Handle) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.shards[h]; w != nil {
		a.rest(w)
	}
}

// What follows is called with the lock held.

func (a *ahead) used(w *window) {
	a.clock++
	w.used = a.clock
}

// at is the piece that has the byte at off, or will have it.
func (w *window) at(off int64) *piece {
	for _, x := range w.pieces {
		if off >= x.off && off < x.end() {
			return x
		}
	}
	return nil
}

// covers says whether n bytes at off are in the window, or on their way there.
func (w *window) covers(off int64, n int) bool {
	if len(w.pieces) == 0 || off < w.pieces[0].off {
		return false
	}
	return w.pieces[len(w.pieces)-1].end()-off >= int64(n)
}

// note remembers a read, and says whether it went forward from the one before.
func (w *window) note(off int64, n int) bool {
	forward := w.last >= 0 && off > w.last && off <= w.end+aheadForward
	w.last, w.end = off, off+int64(n)
	w.run += int64(n)
	return forward
}

// want is how long the next piece is.
func (w *window) want() int64 { return min(max(aheadFirst, w.run/aheadShare), aheadMost) }

// size is how long the next piece is if it begins at off in the payload of h.
func (w *window) size(h *local.Handle, off int64) int64 {
	size := w.want()
	over := (h.Payload().Offset + off + size) % aheadAlign
	if more := aheadAlign - over; more < over && size+more <= aheadMost {
		size += more
	} else if over < size {
		size -= over
	}
	return min(size, w.limit-off)
}

// extend begins a piece at off, where the window ends or beyond, for a read of n
// bytes there. It returns nil where that read has to go alone: where it is early
// to read ahead, or would be no more than the read itself.
func (a *ahead) extend(h *local.Handle, w *window, off int64, n int) *piece {
	size := w.size(h, off)
	if w.forward < aheadAfter || w.busy() || int64(n) >= size {
		return nil
	}
	if k := len(w.pieces); k > 0 && w.pieces[k-1].end() != off {
		a.drop(w)
	}
	return a.start(h, w, off, size, 0)
}

// renew begins the next piece if half of what was to be read ahead is read, and
// so much has been read forward that stopping now costs no more than a part of
// it. It makes no room where others are reading.
func (a *ahead) renew(h *local.Handle, w *window) {
	if a.begin == nil || w.forward < aheadAfter || w.run < aheadShare*aheadFirst || w.busy() || len(w.pieces) == 0 {
		return
	}
	end := w.pieces[len(w.pieces)-1].end()
	if size := w.size(h, end); size > 0 && end-w.end <= w.want()/2 {
		a.start(h, w, end, size, aheadStale)
	}
}

// busy says whether a piece is on its way, or has failed and is still there.
func (w *window) busy() bool {
	k := len(w.pieces)
	return k > 0 && !w.pieces[k-1].whole()
}

// start begins a piece, for which windows make room that were not used for idle
// reads.
func (a *ahead) start(h *local.Handle, w *window, off, size int64, idle uint64) *piece {
	for len(w.pieces) > 0 && w.pieces[0].end() <= w.last {
		a.shift(w)
	}
	x := &piece{off: off, size: size, users: 1, fetching: true}
	for a.bytes+x.cost() > aheadAll {
		if !a.forget(w, idle) {
			return nil
		}
	}
	if a.begin != nil {
		if !h.Pin() {
			return nil
		}
		if !a.begin(func(ctx context.Context) {
			defer h.Unpin()
			a.fetch(ctx, h, w, x)
		}) {
			h.Unpin() // not the last: who reads has another
			return nil
		}
	}
	w.pieces = append(w.pieces, x)
	a.bytes += x.cost()
	a.pieces++
	return x
}

// rest drops what was read ahead, and begins to count anew.
func (a *ahead) rest(w *window) {
	a.drop(w)
	w.forward, w.run = 0, 0
}

// drop lets go of what was read ahead.
func (a *ahead) drop(w *window) {
	for len(w.pieces) > 0 {
		a.shift(w)
	}
}

// shift lets go of the first piece.
func (a *ahead) shift(w *window) {
	x := w.pieces[0]
	w.pieces = append(w.pieces[:0], w.pieces[1:]...)
	a.leave(x)
}

// forget drops what was read ahead longest ago, if there is any but that of but
// that was not used for idle reads.
func (a *ahead) forget(but *window, idle uint64) bool {
	var oldest *window
	for _, w := range a.shards {
		if w != but && len(w.pieces) > 0 && a.clock-w.used >= idle && (oldest == nil || w.used < oldest.used) {
			oldest = w
		}
	}
	if oldest == nil {
		return false
	}
	a.drop(oldest)
	return true
}
