package car

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/dagstore/dagstore/shard"
)

const (
	// joinMax is the longest body that is brought into one buffer to be hashed
	// at once. The pieces of longer ones are hashed where they lie.
	joinMax = 64 << 10

	// turnMin is the least room for which a buffer is read into once more.
	turnMin = 64 << 10

	// itemsMax is how many items a load may have. It takes as much memory as
	// the buffer then; a CAR of sections of a few bytes would have many more.
	itemsMax = 8 << 10
)

// A pipeline hashes bodies beside the goroutine that reads them. That one reads
// into one buffer after the other and notes what lies in each; goroutines hash
// what was noted; and the first one emits it, in the order of the CAR, before
// it reads into the same buffer again. So what is emitted, counted and listed
// is just what it would be without.
type pipeline struct {
	sc    *scanner
	cur   *load   // of the buffer that is read into
	queue []*load // handed to the goroutines, in order
	spare []*load
	room  int // loads that may still be made

	work   chan *load
	quit   chan struct{}
	all    sync.WaitGroup
	faulty int  // sections that were found faulty without hashing
	failed bool // nothing is to be emitted any more
}

// A load is a buffer and what lies in it.
type load struct {
	buf   []byte
	items []item
	done  chan struct{} // has a value once all is hashed
	err   error         // of hashing
}

// An item is a section, or a piece of a long one.
type item struct {
	sec   Section
	body  []byte
	kind  itemKind
	good  bool
	piece *piece       // of piecemeal items
	fault *shard.Fault // of faulty ones; nil if it will not be listed
}

type itemKind uint8

const (
	whole itemKind = iota
	judged
	faulty
	piecemeal
)

// A piece of a body takes over the hash of what is before it, and hands it on.
type piece struct {
	in, out chan hash.Hash // in is nil for the first; out has room for one
	last    bool
}

// newPipeline begins to hash with n goroutines. It is to be stopped.
func newPipeline(s *scanner, n int) *pipeline {
	p := &pipeline{
		sc:   s,
		room: n + 2, // one is read into, and one waits
		quit: make(chan struct{}),
	}
	p.work = make(chan *load, p.room)
	p.cur = p.newLoad(s.src.buf)
	for range n {
		p.all.Go(p.hash)
	}
	s.src.pipe = p
	return p
}

func (p *pipeline) newLoad(buf []byte) *load {
	p.room--
	return &load{buf: buf, done: make(chan struct{}, 1)}
}

// stop ends the goroutines.
func (p *pipeline) stop() {
	close(p.quit)
	p.all.Wait()
}

// hash hashes loads until the pipeline is stopped.
func (p *pipeline) hash() {
	var h hashes
	for {
		select {
		case l := <-p.work:
			l.err = p.hashLoad(&h, l)
			l.done <- struct{}{}
		case <-p.quit:
			return
		}
	}
}

// hashLoad goes from the last item to the first: the first may wait for the
// hash of a load before, and somebody else may wait for that of the last.
func (p *pipeline) hashLoad(h *hashes, l *load) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: a hash function panicked: %v", shard.ErrIndex, r)
		}
	}()
	for i := len(l.items) - 1; i >= 0; i-- {
		it := &l.items[i]
		switch it.kind {
		case whole:
			it.good = h.match(it.sec.Code, it.sec.Digest(), it.body)
		case piecemeal:
			it.good = p.hashPiece(h, it)
		case judged, faulty: // known already
		}
	}
	return nil
}

func (p *pipeline) hashPiece(h *hashes, it *item) (good bool) {
	var w hash.Hash // stays nil where the function cannot be had
	if it.piece.in == nil {
		w = newHash(it.sec.Code, len(it.sec.Digest()))
	} else {
		select {
		case w = <-it.piece.in:
		case <-p.quit: // what comes before has failed
			return false
		}
	}
	if w != nil {
		_, _ = w.Write(it.body) // a hash.Hash never fails
	}
	if !it.piece.last {
		it.piece.out <- w
		return false
	}
	return w != nil && h.matchSum(w, it.sec.Digest())
}

// holds says whether something in the buffer that is read into is still needed.
func (p *pipeline) holds() bool { return len(p.cur.items) > 0 }

// relieve goes on in another buffer if the items of this one are many.
func (p *pipeline) relieve() error {
	if len(p.cur.items) < itemsMax {
		return nil
	}
	return p.sc.src.turn()
}

// turn hands the buffer over and returns another. What was handed over before
// may be emitted meanwhile; what is in this one is not.
func (p *pipeline) turn() ([]byte, error) {
	p.hand()
	if n := len(p.spare); n > 0 {
		p.cur, p.spare = p.spare[n-1], p.spare[:n-1]
	} else if p.room > 0 {
		p.cur = p.newLoad(make([]byte, bufferSize))
	} else {
		l, err := p.collect()
		if err != nil {
			return nil, err
		}
		p.cur = l
	}
	return p.cur.buf, nil
}

func (p *pipeline) hand() {
	p.queue = append(p.queue, p.cur)
	p.work <- p.cur // there is room for all
}

// collect waits for the load that was handed over first, and emits it.
func (p *pipeline) collect() (*load, error) {
	l := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	select {
	case <-l.done:
	case <-p.sc.src.ctx.Done():
		p.failed = true
		return nil, context.Cause(p.sc.src.ctx)
	}
	err := l.err
	for i := range l.items {
		if err != nil {
			p.failed = true
			return nil, err
		}
		err = p.emit(&l.items[i])
	}
	if err != nil {
		p.failed = true
		return nil, err
	}
	l.items = l.items[:0]
	return l, nil
}

func (p *pipeline) emit(it *item) error {
	s := p.sc
	switch {
	case it.kind == faulty:
		s.res.Faults++
		if it.fault != nil && len(s.res.Faulty) < maxFaulty {
			s.res.Faulty = append(s.res.Faulty, *it.fault)
		}
		return nil
	case it.kind == piecemeal && !it.piece.last:
		return nil
	default:
		s.sec = it.sec
		return s.judge(it.good)
	}
}

// finish emits what is left after the sections were read, with err. An error of
// that comes first: it is of what lies before.
func (p *pipeline) finish(err error) error {
	p.sc.src.pipe = nil
	if ended := context.Cause(p.sc.src.ctx); p.failed || ended != nil {
		if err == nil {
			err = ended // what is left is not emitted
		}
		return err
	}
	if p.holds() {
		p.hand()
	}
	for len(p.queue) > 0 {
		if _, err := p.collect(); err != nil {
			return err
		}
	}
	return err
}

// fault notes a section that is not to be emitted.
func (p *pipeline) fault(f *shard.Fault) {
	p.faulty++
	p.cur.items = append(p.cur.items, item{kind: faulty, fault: f})
}

// section notes the section that begins here, and passes over it. b is what is
// buffered of it.
func (p *pipeline) section(b []byte, varint, size int64) error {
	s := p.sc
	sec, width := s.sec, int64(len(s.sec.CID)) // a copy: others are emitted while more is read
	short := sec.Identity() && sec.Size == int64(len(sec.Digest()))
	if int64(len(b)) < varint+size && (short || !sec.Identity() && sec.Size <= joinMax) {
		var err error
		if b, err = s.window(int(varint + size)); err != nil {
			return err
		}
		sec.CID = b[varint : varint+width] // it may lie in another buffer now
	}
	switch there := int64(len(b)) >= varint+size; {
	case sec.Identity():
		good := there && bytes.Equal(sec.Digest(), b[sec.Head:varint+size])
		p.cur.items = append(p.cur.items, item{sec: sec, kind: judged, good: good})
		return s.skip(varint, size)
	case there:
		p.cur.items = append(p.cur.items, item{sec: sec, body: b[sec.Head : varint+size]})
		return s.skip(varint, size)
	default:
		return p.long(sec, b, size)
	}
}

// long notes the pieces of a section that does not lie in one buffer.
func (p *pipeline) long(sec Section, b []byte, size int64) error {
	s := p.sc
	start := s.src.off
	sec.CID = slices.Clone(sec.CID)
	at, last := p.cur, &piece{out: make(chan hash.Hash, 1)} // the last piece, and its load
	at.items = append(at.items, item{sec: sec, kind: piecemeal, body: b[sec.Head:], piece: last})
	s.src.advance(len(b))
	left := sec.Size - int64(len(b)-sec.Head)
	for left > 0 {
		b, err := s.window(1)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return badSection(start, cutAfter(size-left, size))
		}
		step := int(min(left, int64(len(b))))
		if p.cur == at { // right behind what was there before
			it := &at.items[len(at.items)-1]
			it.body = it.body[:len(it.body)+step]
		} else {
			at, last = p.cur, &piece{in: last.out, out: make(chan hash.Hash, 1)}
			at.items = append(at.items, item{sec: sec, kind: piecemeal, body: b[:step], piece: last})
		}
		s.src.advance(step)
		left -= int64(step)
	}
	last.last = true // its load was not handed over yet
	return nil
}
