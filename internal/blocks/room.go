package blocks

import "sync"

// maxRoom is the most that is made ready before it is known what for.
const maxRoom = 64 << 10

// A room is memory for a section, made before it is known how long that is: new
// memory is in no cache, and filling it with zeros then goes on while the processor
// waits for what the index says. It is made for as much as the last one was, since
// blocks of one kind have one size. If that proves to be wrong it is kept for
// another time.
type room struct {
	b    []byte
	size int // of the last section; 0: of no use as a guess
}

var rooms = sync.Pool{New: func() any { return new(room) }} // a cache: of no meaning to anybody

// getRoom returns a room; its receiver frees it.
func getRoom() *room { return rooms.Get().(*room) }

func (r *room) free() { rooms.Put(r) }

// ready makes what will probably be taken. A nil room is left alone.
func (r *room) ready() {
	if r != nil && r.b == nil && r.size > 0 {
		r.b = make([]byte, r.size)
	}
}

// take returns n bytes of zeros, which are the caller's. No more than a tenth
// as much lies idle behind them.
func (r *room) take(n int) []byte {
	b := r.b
	if n <= len(b) && n >= len(b)-len(b)/10 {
		r.b, r.size = nil, n
		return b[:n:n]
	}
	r.size = 0
	if n <= maxRoom {
		r.size = n
	}
	return make([]byte, n)
}
