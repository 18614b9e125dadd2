package extsort

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
)

const (
	maxBuffer = 1 << 20 // of one run while runs are merged
	minBuffer = 4 << 10
	ctxEvery  = 4096 // rows between two looks at the context
)

// A merger reads sorted runs as one.
type merger struct {
	spill  *spillFile
	runs   []run
	width  int
	memory int64 // for all that is read ahead
}

// merge yields the rows of all runs in order.
func (m *merger) merge(ctx context.Context, yield func(row []byte) error) error {
	if len(m.runs) == 0 {
		return nil
	}
	size := min(max(m.memory/int64(len(m.runs)), minBuffer), maxBuffer)
	h := make(heap, 0, len(m.runs))
	for _, r := range m.runs {
		rd := &runReader{f: m.spill, run: r, width: m.width}
		rd.buf = make([]byte, max(1, min(size, r.size)/int64(m.width))*int64(m.width))
		rd.next = len(rd.buf)
		if _, err := rd.advance(); err != nil { // a run is never empty
			return err
		}
		h = append(h, rd)
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	for n := 0; len(h) > 0; n++ {
		if n%ctxEvery == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if err := yield(h[0].row); err != nil {
			return err
		}
		more, err := h[0].advance()
		if err != nil {
			return err
		}
		if !more {
			h[0] = h[len(h)-1]
			h = h[:len(h)-1]
		}
		h.down(0)
	}
	return nil
}

// A runReader reads a run from its beginning to its end.
type runReader struct {
	f     *spillFile
	run   run // what is left of it; its checksum is that of all
	width int
	buf   []byte
	next  int // in buf
	crc   uint32
	key   uint64 // of row
	row   []byte
}

// advance goes to the next row, and reports whether there is one.
func (r *runReader) advance() (bool, error) {
	if r.next == len(r.buf) {
		if r.run.size == 0 {
			r.row, r.buf = nil, nil
			return false, nil
		}
		if err := r.fill(); err != nil {
			return false, err
		}
	}
	r.row = r.buf[r.next : r.next+r.width]
	r.key = key(r.row)
	r.next += r.width
	return true, nil
}

func (r *runReader) fill() error {
	r.buf = r.buf[:min(int64(len(r.buf)), r.run.size)]
	if _, err := r.f.f.ReadAt(r.buf, r.run.off); err != nil {
		return fmt.Errorf("%w: %w", ErrSpill, err)
	}
	r.next = 0
	r.run.off += int64(len(r.buf))
	r.run.size -= int64(len(r.buf))
	r.crc = crc32.Update(r.crc, castagnoli, r.buf)
	if r.run.size == 0 && r.crc != r.run.crc {
		return fmt.Errorf("%w: %s was changed while it was used", ErrSpill, r.f.f.Name())
	}
	return nil
}

// A heap has the reader with the least row first.
type heap []*runReader

func (h heap) less(i, j int) bool {
	if h[i].key != h[j].key {
		return h[i].key < h[j].key
	}
	return bytes.Compare(h[i].row, h[j].row) < 0
}

// down moves h[i] to its place among those behind it.
func (h heap) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h.less(r, least) {
			least = r
		}
		if !h.less(least, i) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
