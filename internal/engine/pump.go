package engine

import (
	"io"
	"sync"
)

const (
	pumpAhead = 4 << 20 // how far a pump reads ahead
	pumpRead  = 1 << 20 // of that, at once
)

// A pump reads a source in a goroutine of its own, ahead of who uses what it
// brings. It begins with the first call of next, and is to be stopped. All but
// stop is for one goroutine; the source is the pump's until stop has returned.
type pump struct {
	src  io.ReadCloser
	done chan struct{} // closed when the goroutine has ended; nil: it has not begun

	mu          sync.Mutex
	moved       sync.Cond
	ring        []byte
	read, taken int64 // bytes of the source that are in the ring, and that were used
	err         error // why no more comes
	panic       any   // of the source
	stopped     bool
	lent        int64 // bytes that next has returned last
}

// newPump returns a pump for a source of which size bytes are left (-1: nobody
// knows).
func newPump(src io.ReadCloser, size int64) *pump {
	p := &pump{src: src}
	p.moved.L = &p.mu
	ahead := int64(pumpAhead)
	if size >= 0 {
		ahead = min(ahead, size+1) // and one that should not be there
	}
	p.ring = make([]byte, ahead)
	return p
}

// next waits for bytes of the source, and returns them until it is called
// again. An error comes when all before it has been returned.
func (p *pump) next() ([]byte, error) {
	if p.done == nil {
		p.done = make(chan struct{})
		go p.run()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken += p.lent
	p.lent = 0
	p.moved.Broadcast()
	for p.read == p.taken && p.err == nil {
		p.moved.Wait()
	}
	if p.read == p.taken {
		if p.panic != nil {
			panic(p.panic) // for who has called us, as if it had called the source
		}
		return nil, p.err
	}
	at := p.taken % int64(len(p.ring))
	p.lent = min(p.read-p.taken, int64(len(p.ring))-at, pumpRead)
	return p.ring[at : at+p.lent], nil
}

// stop ends the pump and closes the source. It waits for the method of the
// source that runs, which ends with its context.
func (p *pump) stop() {
	if p.done == nil {
		_ = p.src.Close() // nothing was read of it
		return
	}
	p.mu.Lock()
	p.stopped = true
	p.moved.Broadcast()
	p.mu.Unlock()
	<-p.done
}

func (p *pump) run() {
	defer close(p.done)
	defer func() {
		if r := recover(); r != nil {
			p.came(0, io.ErrUnexpectedEOF, r)
		}
	}()
	defer p.src.Close() // what was to be read is read, or that it was not is known
	for stuck := 0; ; {
		buf := p.room()
		if buf == nil {
			return
		}
		n, err := p.src.Read(buf)
		if stuck++; n > 0 {
			stuck = 0
		}
		if err == nil && stuck == 100 {
			err = io.ErrNoProgress
		}
		p.came(n, err, nil)
		if err != nil {
			return
		}
	}
}

// room waits for a part of the ring that nobody uses; nil says that the pump is
// to end.
func (p *pump) room() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := int64(len(p.ring))
	for p.read-p.taken == all && !p.stopped {
		p.moved.Wait()
	}
	if p.stopped {
		return nil
	}
	at := p.read % all
	return p.ring[at : at+min(all-(p.read-p.taken), all-at, pumpRead)]
}

// came takes note of what the source has brought.
func (p *pump) came(n int, err error, panicked any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read += int64(n)
	p.err, p.panic = err, panicked
	p.moved.Broadcast()
}
