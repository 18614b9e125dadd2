package layers

import (
	"context"
	"encoding/binary"
	"runtime/debug"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// A layer is an open layer file. Its bytes never change, so any number of
// goroutines may look things up at once.
type layer struct {
	Layer
	pages
	file  File
	parts []part
	ids   *roaring.Bitmap // never changed
	notes noteBook

	warmed   atomic.Bool  // all filters and fan-outs were asked for
	spoiled  atomic.Bool  // it proved to be damaged: what it holds has to be added again
	refs     atomic.Int64 // views that hold it
	obsolete bool         // out of the list: to be removed once closed; written before the last view goes
}

// openLayer opens layer n and reads its footer, directory and ids: nothing
// else, whatever its size. The caller holds want against what it finds.
func openLayer(ctx context.Context, files Files, n uint32, keyCheck uint32) (*layer, error) {
	f, err := files.Open(ctx, n)
	if err != nil {
		return nil, &Error{OpOpen, n, err}
	}
	l, err := parseLayer(f, keyCheck)
	if err != nil {
		_ = f.Close() // nothing was written, and the first error says more
		return nil, &Error{OpOpen, n, err}
	}
	l.N = n
	return l, nil
}

// parseLayer reads a layer out of f, which stays the caller's on an error.
func parseLayer(f File, keyCheck uint32) (*layer, error) {
	size := f.Size()
	if size < footerSize || (size-footerSize)%pageSize != 0 || (size-footerSize)/pageSize >= 1<<32 {
		return nil, damaged("no layer is %d bytes long", size)
	}
	var end [footerSize]byte
	if n, err := f.ReadAt(end[:], size-footerSize); n < footerSize {
		return nil, readFault(err)
	}
	foot, sum, err := parseFooter(end[:])
	if err != nil {
		return nil, err
	}
	switch {
	case foot.fileSize() != size:
		return nil, damaged("%d bytes, of which the footer knows %d", size, foot.fileSize())
	case foot.keyCheck != keyCheck:
		return nil, damaged("it was written with another key: it is of another store")
	}
	l := &layer{
		Layer: Layer{
			Length: size, CRC: sum, Entries: int64(foot.rows), Keys: int64(foot.keys),
			First: foot.first, Last: foot.last,
		},
		pages: newPages(f, uint32((size-footerSize)/pageSize)),
		file:  f,
	}
	tail, err := l.readTail(&foot)
	if err != nil {
		return nil, readFault(err)
	}
	l.parts, l.ids, err = parseTail(&foot, tail)
	return l, err
}

// readTail allocates for bytes that are there: the footer's claim has been
// held against the file's length.
func (l *layer) readTail(foot *footer) (tail []byte, err error) {
	if mem := l.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	w := window{pages: &l.pages}
	defer w.close()
	tail = make([]byte, 0, foot.tailBytes)
	for n := foot.tailPage; len(tail) < int(foot.tailBytes); n++ {
		if err := w.load(n); err != nil {
			return nil, err
		}
		tail = append(tail, w.data[:min(len(w.data), int(foot.tailBytes)-len(tail))]...)
	}
	return tail, nil
}

// touch compares page n with its checksum, unless that was done.
func (l *layer) touch(n uint32) (err error) {
	if mem := l.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	w := window{pages: &l.pages}
	defer w.close()
	return w.load(n)
}

// find puts c before the postings of key. It returns false if there are none.
// q is what the filter said, if it was asked.
func (l *layer) find(key uint64, q *probe, c *cursor) (ok bool, err error) {
	if mem := l.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	c.window.pages = &l.pages
	p := q.part
	if p == nil {
		if p = l.part(key); p == nil {
			return false, nil
		}
		if ok, err := l.mayHold(p, key, &c.window); !ok || err != nil {
			return false, err
		}
	}
	lo, hi := q.lo, q.hi
	if q.fan == 0 {
		lo, hi, err = l.fanOut(p, key, &c.window)
	} else {
		err = p.inRows(lo, hi)
	}
	if err != nil {
		return false, err
	}
	// The last row whose key is not higher: its key's ids end there.
	if lo, err = c.locate(p, lo, hi, key); err != nil {
		return false, err
	}
	c.part, c.key, c.left, c.last = p, key, l.notes.before(key, lo), 1<<32
	return c.next()
}

// after returns the number of the first row of p that is higher than last,
// among those from lo to hi.
func (c *cursor) after(p *part, lo, hi uint32, last row) (uint32, error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		b, err := c.row(p, mid)
		if err != nil {
			return 0, err
		}
		key := binary.LittleEndian.Uint64(b)
		if key > last.key || key == last.key && index.ID(binary.LittleEndian.Uint32(b[8:])) > last.id {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, nil
}

// has says whether the pair is in the layer.
func (l *layer) has(key uint64, id index.ID) (is bool, err error) {
	if mem := l.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	c := cursor{layer: l, window: window{pages: &l.pages}}
	defer c.close()
	p := l.part(key)
	if p == nil {
		return false, nil
	}
	if ok, err := l.mayHold(p, key, &c.window); !ok || err != nil {
		return false, err
	}
	lo, hi, err := l.fanOut(p, key, &c.window)
	if err != nil {
		return false, err
	}
	if lo, err = c.after(p, lo, hi, row{key, id}); err != nil || lo == 0 {
		return false, err
	}
	b, err := c.row(p, lo-1)
	if err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint64(b) == key && index.ID(binary.LittleEndian.Uint32(b[8:])) == id, nil
}

// expectedPages is up to how many pages of a partition are read at once: its
// fan-out and its filter, if it is of the size that is written.
const expectedPages = 24

// expect has what a look-up needs of p beside rows read in one piece, if there
// is a page of the filter, at one of these places, that nobody has seen yet.
func (l *layer) expect(p *part, at [3]uint32) {
	if l.mem == nil || l.warmed.Load() {
		return
	}
	first, last := p.filterPage+at[0]/pageData, p.filterPage+at[2]/pageData
	if l.isChecked(first) && l.isChecked(last) {
		return
	}
	if p.endPage-p.fanPage <= expectedPages {
		first, last = p.fanPage, p.endPage-1
	}
	l.prefetch(first, last-first+1)
}

// mayHold asks the filter.
func (l *layer) mayHold(p *part, key uint64, w *window) (bool, error) {
	if p.filter.segments == 0 {
		return true, nil
	}
	print, at := p.filter.probe(key)
	l.expect(p, at)
	for _, i := range at {
		if err := w.load(p.filterPage + i/pageData); err != nil {
			return false, err
		}
		print ^= w.data[i%pageData]
	}
	return print == 0, nil
}

// fanOut returns the range of rows that key may be in.
func (l *layer) fanOut(p *part, key uint64, w *window) (lo, hi uint32, err error) {
	if p.filterPage == p.fanPage {
		return 0, p.rows, nil // too few rows to need one
	}
	slot := uint32((key - p.first) >> p.shift)
	if lo, err = fanEntry(p, slot, w); err != nil {
		return 0, 0, err
	}
	if hi, err = fanEntry(p, slot+1, w); err != nil {
		return 0, 0, err
	}
	return lo, hi, p.inRows(lo, hi)
}

// inRows returns an error if p has no such range of rows.
func (p *part) inRows(lo, hi uint32) error {
	if lo > hi || hi > p.rows {
		return damaged("fan-out from row %d to %d of %d", lo, hi, p.rows)
	}
	return nil
}

func fanEntry(p *part, slot uint32, w *window) (uint32, error) {
	if err := w.load(p.fanPage + slot/fanPerPage); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(w.data[slot%fanPerPage*4:]), nil
}

// A cursor goes through the postings of one key in one layer or table, by
// falling id.
type cursor struct {
	id index.ID // where it stands

	table *table // or nil
	ref   uint32 // the node it stands on

	layer  *layer // or nil
	window window
	part   *part
	key    uint64
	left   uint32 // rows of part before the one it stands on
	last   uint64 // the id there, or 1<<32
}

// advance moves to the next lower id, or returns false at the end.
func (c *cursor) advance() (ok bool, err error) {
	if c.table != nil {
		return c.to(c.table.node(c.ref).next.Load()), nil
	}
	if mem := c.layer.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	return c.next()
}

// to moves to a node of the table.
func (c *cursor) to(ref uint32) bool {
	if ref == 0 {
		return false
	}
	c.ref, c.id = ref, c.table.node(ref).id
	return true
}

// next moves to the row before, in a layer, under its guard.
func (c *cursor) next() (bool, error) {
	if c.left == 0 {
		return false, nil
	}
	row, err := c.row(c.part, c.left-1)
	if err != nil || binary.LittleEndian.Uint64(row) != c.key {
		return false, err
	}
	id := binary.LittleEndian.Uint32(row[8:])
	if uint64(id) >= c.last {
		return false, damaged("ids of a key out of order")
	}
	c.left--
	c.last, c.id = uint64(id), index.ID(id)
	return true, nil
}

// row returns the bytes of row n of p, valid until the window moves.
func (c *cursor) row(p *part, n uint32) ([]byte, error) {
	if err := c.window.load(p.page + n/rowsPerPage); err != nil {
		return nil, err
	}
	return c.window.data[n%rowsPerPage*rowSize:][:rowSize], nil
}

func (c *cursor) close() { c.window.close() }
