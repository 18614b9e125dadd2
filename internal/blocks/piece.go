package blocks

import (
	"context"
	"math"
	"time"

	"github.com/dagstore/dagstore/internal/local"
)

// A piece is bytes of the payload of a shard that are read ahead with one
// request. What has come of it can be read while the rest is on its way.
type piece struct {
	off, size int64
	buf       *buffer       // nil until it is fetched
	have      int           // bytes that have come, which nobody writes to any more
	over      bool          // no more come
	fetching  bool          // by a goroutine that may be writing to buf
	users     int           // its window, and those who read
	stop      func()        // ends the fetching; nil: it has not begun
	need      int           // have of the first reader who waits
	moved     chan struct{} // closed when need has come, or it is over; nil: nobody waits
	proof     proof
}

func (x *piece) end() int64 { return x.off + x.size }

// whole says whether all of it has come.
func (x *piece) whole() bool { return int64(x.have) == x.size }

// cost is how much memory it takes.
func (x *piece) cost() int { return bufferSize(int(x.size)) }

// fetch brings x, which is of w. It ends when ctx does, and when nobody wants x
// any more.
func (a *ahead) fetch(ctx context.Context, h *local.Handle, w *window, x *piece) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A mount may go on although its context has ended. Nobody waits for it then.
	defer context.AfterFunc(ctx, func() { a.came(x, 0, true) })()
	if a.stall > 0 {
		timer := time.AfterFunc(a.stall, cancel)
		defer timer.Stop()
		defer a.arrived(h, w, x)
		a.bring(ctx, h, x, cancel, func() { timer.Reset(a.stall) })
		return
	}
	defer a.arrived(h, w, x)
	a.bring(ctx, h, x, cancel, func() {})
}

// bring reads x in one request. alive is called with each part that comes.
func (a *ahead) bring(ctx context.Context, h *local.Handle, x *piece, stop, alive func()) {
	a.mu.Lock()
	left := x.users == 0
	x.stop = stop
	a.mu.Unlock()
	if left {
		return
	}
	buf := newBuffer(int(x.size))
	a.mu.Lock()
	x.buf = buf
	a.mu.Unlock()
	r, err := h.Stream(ctx, h.Payload().Offset+x.off, x.size)
	if err != nil {
		return
	}
	for have := 0; ; {
		n, err := r.Read(buf.b[have:])
		have += n
		alive()
		if have == len(buf.b) || err != nil {
			_ = r.Close() // before the next request: it can have the connection
			a.came(x, n, false)
			return
		}
		if !a.came(x, n, false) {
			_ = r.Close() // nobody wants the rest
			return
		}
	}
}

// came tells of n more bytes of x. It is false when no more are wanted.
func (a *ahead) came(x *piece, n int, over bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.over {
		return false
	}
	x.have += n
	x.over = over || x.whole()
	x.tell()
	return !x.over
}

// arrived ends the fetching of x, whether it has come or not. If it has not, w
// begins to count anew. If the reader has come far meanwhile, the next follows.
func (a *ahead) arrived(h *local.Handle, w *window, x *piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x.over, x.fetching, x.stop = true, false, nil
	x.tell()
	if x.users == 0 {
		a.free(x)
		return
	}
	if len(w.pieces) == 0 || w.pieces[len(w.pieces)-1] != x {
		return // it was dropped, and somebody reads it
	}
	if !x.whole() {
		a.rest(w)
		return
	}
	a.renew(h, w)
}

// What follows is called with the lock held.

// await returns the bytes of x from off on, n of them or up to its end, once
// they have come; fewer if the rest does not come. Whoever calls it is a user of x.
func (a *ahead) await(ctx context.Context, x *piece, off int64, n int) ([]byte, error) {
	from := int(off - x.off)
	to := min(from+n, int(x.size))
	for x.have < to && !x.over {
		if x.moved == nil {
			x.moved, x.need = make(chan struct{}), math.MaxInt
		}
		x.need = min(x.need, to)
		moved := x.moved
		a.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-ctx.Done():
			err = ctx.Err()
		}
		a.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	if to = min(to, x.have); to <= from {
		return nil, nil
	}
	return x.buf.b[from:to], nil
}

// tell wakes those who wait, if there is something for one of them.
func (x *piece) tell() {
	if x.moved != nil && (x.over || x.have >= x.need) {
		close(x.moved)
		x.moved = nil
	}
}

// leave ends the use of x. What nobody uses is fetched no further.
func (a *ahead) leave(x *piece) {
	switch x.users--; {
	case x.users > 0:
	case !x.fetching:
		a.free(x)
	case x.stop != nil:
		x.stop()
	}
}

func (a *ahead) free(x *piece) {
	a.bytes -= x.cost()
	x.buf.free()
	x.buf = nil
}
