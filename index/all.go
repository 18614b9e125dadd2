package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"slices"

	"github.com/multiformats/go-multihash"
)

// batch is how many bytes of records All copies at a time.
const batch = 256 << 10

// All implements [Index]. It compares the order of the records as it goes:
// damage that no checksum shows ends it with an error, too.
func (f *File) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := f.each(func(_ *run, r Record) error {
			if !yield(r, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Record{}, err)
		}
	}
}

// errStop ends a walk whose caller has seen enough. Nobody else sees it.
var errStop = errors.New("index: iteration stopped")

// each calls do for every record in order. The record's multihash is good
// until do returns.
func (f *File) each(do func(*run, Record) error) error {
	w := walk{f: f, do: do}
	for i := range f.runs {
		if err := w.over(&f.runs[i]); err != nil {
			return err
		}
	}
	return nil
}

// A walk copies batches of records and gives them one by one, so that nobody
// else's code runs while faults of the mapping are being caught.
type walk struct {
	f             *File
	do            func(*run, Record) error
	rows, lengths []byte
	mh            []byte     // of the record before
	group         []Position // of a bare index: the records of one digest
}

func (w *walk) over(r *run) error {
	w.mh = appendHead(w.mh[:0], r.code, r.digest)
	head := len(w.mh)
	w.mh = append(w.mh, make([]byte, r.digest)...)
	last := int64(-1) // offset of the record before; none yet
	most := max(1, batch/r.width)
	for first := int64(0); first < r.n; first += most {
		n := min(most, r.n-first)
		if err := w.load(r, first, n); err != nil {
			return err
		}
		sizes := w.lengths
		for i := range n {
			row := w.rows[i*r.width:][:r.width]
			p, ok := position(row[r.digest:], sizes, i)
			at := r.off + (first+i)*r.width
			if !ok {
				return damaged(at, "an offset over 2^63")
			}
			order := 1
			if last >= 0 {
				order = bytes.Compare(row[:r.digest], w.mh[head:])
			}
			if order < 0 || order == 0 && !w.f.bare && p.Offset < last {
				return damaged(at, "the records are out of order")
			}
			if order > 0 {
				if err := w.flush(r); err != nil {
					return err
				}
				copy(w.mh[head:], row)
			}
			last = p.Offset
			if err := w.give(r, p); err != nil {
				return err
			}
		}
	}
	return w.flush(r)
}

// give passes a record on, or in a bare index, which does not order the records
// of one digest, keeps it until all of these are there.
func (w *walk) give(r *run, p Position) error {
	if w.f.bare {
		w.group = append(w.group, p)
		return nil
	}
	return w.do(r, Record{Multihash: w.multihash(), Position: p})
}

func (w *walk) flush(r *run) error {
	if len(w.group) > 1 {
		slices.SortFunc(w.group, func(a, b Position) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	for _, p := range w.group {
		if err := w.do(r, Record{Multihash: w.multihash(), Position: p}); err != nil {
			return err
		}
	}
	w.group = w.group[:0]
	return nil
}

func (w *walk) multihash() multihash.Multihash { return w.mh[:len(w.mh):len(w.mh)] }

// load copies n records of r and their lengths.
func (w *walk) load(r *run, first, n int64) error {
	f := w.f
	return f.guarded(func() error {
		off, size := r.off+first*r.width, n*r.width
		if p, ok := f.src.r.(interface{ Prefetch(off, n int64) }); ok {
			p.Prefetch(off, 2*size)
		}
		var err error
		if w.rows, err = f.src.load(off, size, w.rows); err != nil || f.lengths == 0 {
			return err
		}
		w.lengths, err = f.src.load(f.lengths+(r.first+first)*lengthsSize, n*lengthsSize, w.lengths)
		return err
	})
}

// load is span with a copy of its own, in buf if it is large enough.
func (s *source) load(off, n int64, buf []byte) ([]byte, error) {
	b, err := s.span(off, n, &buf)
	if err != nil || s.data == nil {
		return b, err
	}
	return append(buf[:0], b...), nil
}

// Verify reads the whole file and compares it with its checksums, the records
// with the order they should have, and the fan-outs with the records. A bare
// index has its order alone. The error is a [*DamageError] or that of ctx.
func (f *File) Verify(ctx context.Context) error {
	if !f.bare {
		if err := f.verifySums(ctx); err != nil {
			return err
		}
	}
	fan := fanCheck{f: f}
	n := 0
	err := f.each(func(r *run, rec Record) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return fan.record(r, rec.Multihash[len(rec.Multihash)-r.digest:])
	})
	if err != nil {
		return err
	}
	return fan.end()
}

// verifySums compares every page with its sum, touched or not, and the sums
// with the footer.
func (f *File) verifySums(ctx context.Context) error {
	s := &f.src
	all := crc32.New(castagnoli)
	buf := make([]byte, min(batch, s.covered))
	var sums []byte
	for off := int64(0); off < s.covered; off += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		data := buf[:min(batch, s.covered-off)]
		if err := s.readWhole(data, off); err != nil {
			return err
		}
		first, n := off/pageSize, pages(int64(len(data)))
		sums = slices.Grow(sums[:0], int(n*sumSize))[:n*sumSize]
		if err := s.readWhole(sums, s.covered+first*sumSize); err != nil {
			return err
		}
		_, _ = all.Write(sums) // never fails
		for p := range n {
			page := data[p*pageSize : min((p+1)*pageSize, int64(len(data)))]
			if err := s.checkSum(first+p, page, sums[p*sumSize:]); err != nil {
				return err
			}
		}
	}
	if all.Sum32() != f.footer.sumsCRC {
		return damaged(s.covered, "the checksum of the checksums is wrong")
	}
	return nil
}

// readWhole reads through ReadAt, which of a mapping has its own guard.
func (s *source) readWhole(p []byte, off int64) error { return fault(s.readAt(p, off)) }

// A fanCheck compares fan-outs with the records as they go by.
type fanCheck struct {
	f    *File
	run  *run
	next int64 // entry to compare
	seen int64 // records of run
	buf  []byte
	read int64 // entries in buf begin with this one
}

const fanBatch = 4096 // entries

// record counts one record of r, whose digest is given.
func (c *fanCheck) record(r *run, digest []byte) error {
	if r != c.run {
		if err := c.end(); err != nil {
			return err
		}
		c.run, c.next, c.seen, c.buf = r, 0, 0, nil
	}
	if r.bits > 0 {
		if err := c.upTo(slot(digest, r.bits)); err != nil {
			return err
		}
	}
	c.seen++
	return nil
}

// end compares the entries behind the last record.
func (c *fanCheck) end() error {
	if c.run == nil || c.run.bits == 0 {
		return nil
	}
	return c.upTo(fanEntries(c.run.n) - 1)
}

// upTo says that the entries up to slot are the number of records seen.
func (c *fanCheck) upTo(slot int64) error {
	for ; c.next <= slot; c.next++ {
		if i := c.next - c.read; c.buf == nil || i*fanSize >= int64(len(c.buf)) {
			c.read = c.next
			n := min(fanBatch, fanEntries(c.run.n)-c.next)
			c.buf = slices.Grow(c.buf[:0], int(n*fanSize))[:n*fanSize]
			if err := c.f.src.readWhole(c.buf, c.run.fan+c.next*fanSize); err != nil {
				return err
			}
		}
		if int64(binary.LittleEndian.Uint32(c.buf[(c.next-c.read)*fanSize:])) != c.seen {
			return damaged(c.run.fan+c.next*fanSize, "the fan-out is wrong")
		}
	}
	return nil
}
