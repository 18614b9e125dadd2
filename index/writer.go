package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/multiformats/go-multihash"
)

const (
	// writeBuffer is written at once; whole pages of it are summed.
	writeBuffer = 64 * pageSize

	// lengthsPart is the part of the memory that keeps sizes and heads until
	// their section comes: 5 bytes of a record, beside at least 45 of it that
	// are sorted. So they are spilled only where records were, too.
	lengthsPart = 9

	// leastLengths is written to the disk at once, however small the memory.
	leastLengths = 64 << 10
)

// A writer writes one index file from its first byte to its last.
type writer struct {
	out     pageWriter
	bare    bool
	sized   bool
	lengths lengths
	fan     []byte // of the runs so far
	stats   Stats
}

func newWriter(w io.Writer, b *Builder, groups []*rows) *writer {
	wr := &writer{bare: b.opts.Bare}
	expect := int64(codecSize + countSize + footerSize)
	records := int64(0)
	for _, g := range groups {
		if g.code == multihash.IDENTITY {
			continue
		}
		records += g.Len()
		wr.sized = wr.sized || g.sized
		expect += codeSize + countSize + widthSize + runSizeSize + g.Len()*int64(g.digest+offsetSize)
	}
	wr.sized = wr.sized && !wr.bare
	wr.out = pageWriter{w: w, buf: make([]byte, 0, min(writeBuffer, pages(expect)*pageSize)+pageSize)}
	wr.lengths = lengths{dir: b.opts.Spill, most: int(max(b.opts.Memory/lengthsPart, leastLengths))}
	if wr.sized {
		wr.lengths.mem = make([]byte, 0, min(records*lengthsSize, int64(wr.lengths.most)))
	}
	return wr
}

// write writes the runs and what follows them.
func (w *writer) write(ctx context.Context, groups []*rows, identity [16]byte) (Stats, error) {
	if err := w.standard(ctx, groups); err != nil {
		return Stats{}, err
	}
	w.stats.Length = w.out.off
	if w.bare {
		return w.stats, w.out.flush()
	}
	foot := footer{standard: w.out.off, records: w.stats.Records, identity: identity}
	if w.sized {
		foot.flags |= hasSizes
		if err := w.lengths.writeTo(&w.out); err != nil {
			return Stats{}, err
		}
	}
	foot.fan = w.out.off
	if err := w.out.write(w.fan); err != nil {
		return Stats{}, err
	}
	foot.sums = w.out.off
	sums, err := w.out.finish()
	if err != nil {
		return Stats{}, err
	}
	foot.sumsCRC = crc32.Checksum(sums, castagnoli)
	end, crc := foot.encode()
	if _, err := w.out.w.Write(append(sums, end[:]...)); err != nil {
		return Stats{}, err
	}
	w.stats.Length, w.stats.CRC = foot.sums+int64(len(sums))+footerSize, crc
	return w.stats, nil
}

// standard writes the part that go-car reads.
func (w *writer) standard(ctx context.Context, groups []*rows) error {
	widths := map[uint64]int{} // of each code
	for _, g := range groups {
		if g.code != multihash.IDENTITY {
			widths[g.code]++
		}
	}
	le := binary.LittleEndian
	b := le.AppendUint32([]byte{0x81, 0x08}, uint32(len(widths)))
	for i, g := range groups {
		if g.code == multihash.IDENTITY {
			if err := w.count(ctx, g); err != nil {
				return err
			}
			continue
		}
		if g.Len() > maxRecords {
			return fmt.Errorf("%w: there are %d of one kind, the most is %d", ErrRecord, g.Len(), int64(maxRecords))
		}
		if i == 0 || groups[i-1].code != g.code {
			b = le.AppendUint64(b, g.code)
			b = le.AppendUint32(b, uint32(widths[g.code]))
		}
		width := g.digest + offsetSize
		b = le.AppendUint32(b, uint32(width))
		b = le.AppendUint64(b, uint64(g.Len())*uint64(width))
		if err := w.out.write(b); err != nil {
			return err
		}
		b = b[:0]
		if err := w.run(ctx, g); err != nil {
			return err
		}
	}
	return w.out.write(b) // the head, if there are no runs
}

// count counts the different identity multihashes.
func (w *writer) count(ctx context.Context, g *rows) error {
	seen := false
	last := make([]byte, g.digest)
	return g.All(ctx, func(row []byte) error {
		if !seen || !bytes.Equal(row[:g.digest], last) {
			seen = true
			copy(last, row)
			w.stats.Multihashes++
		}
		return nil
	})
}

// run writes the records of one kind, and keeps what belongs into the trailer.
func (w *writer) run(ctx context.Context, g *rows) error {
	width := g.digest + offsetSize
	fan := fanWriter{bits: fanBits(g.Len()), to: w.fan}
	last := make([]byte, g.digest)
	n := int64(0)
	err := g.All(ctx, func(row []byte) error {
		digest, tail := row[:g.digest], row[g.digest:]
		if n == 0 || !bytes.Equal(digest, last) {
			copy(last, digest)
			w.stats.Multihashes++
		}
		rec, err := w.out.room(width)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(rec[copy(rec, digest):], binary.BigEndian.Uint64(tail))
		if w.sized {
			var l [lengthsSize]byte
			binary.LittleEndian.PutUint32(l[:], binary.BigEndian.Uint32(tail[offsetSize:]))
			l[4] = tail[offsetSize+4]
			if err := w.lengths.add(l); err != nil {
				return err
			}
		}
		if fan.bits > 0 && !w.bare {
			fan.record(slot(digest, fan.bits), n)
		}
		n++
		return nil
	})
	if fan.bits > 0 && !w.bare {
		fan.record(1<<fan.bits, n)
	}
	w.fan = fan.to
	w.stats.Records += n
	return err
}

// A fanWriter makes the fan-out of one run.
type fanWriter struct {
	bits int
	next int64 // entry
	to   []byte
}

// record says that record n, or the end, is in slot: the slots up to it which
// have no entry yet begin there.
func (f *fanWriter) record(slot, n int64) {
	for ; f.next <= slot; f.next++ {
		f.to = binary.LittleEndian.AppendUint32(f.to, uint32(n))
	}
}

// A pageWriter counts what is written and sums it by pages.
type pageWriter struct {
	w    io.Writer
	buf  []byte // begins with a page, and has room for more than one
	off  int64  // of what comes next
	sums []byte
}

// room returns n bytes to be filled before the next call.
func (p *pageWriter) room(n int) ([]byte, error) {
	if len(p.buf)+n > cap(p.buf) {
		if err := p.flushPages(); err != nil {
			return nil, err
		}
	}
	from := len(p.buf)
	p.buf = p.buf[:from+n]
	p.off += int64(n)
	return p.buf[from:], nil
}

func (p *pageWriter) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), pageSize/2)
		to, err := p.room(n)
		if err != nil {
			return err
		}
		copy(to, b)
		b = b[n:]
	}
	return nil
}

// flushPages writes whole pages, and keeps what is begun of the next.
func (p *pageWriter) flushPages() error {
	whole := len(p.buf) / pageSize * pageSize
	for page := 0; page < whole; page += pageSize {
		p.sum(p.buf[page : page+pageSize])
	}
	if whole == 0 {
		return nil
	}
	if _, err := p.w.Write(p.buf[:whole]); err != nil {
		return err
	}
	p.buf = p.buf[:copy(p.buf, p.buf[whole:])]
	return nil
}

func (p *pageWriter) sum(page []byte) {
	p.sums = binary.LittleEndian.AppendUint32(p.sums, crc32.Checksum(page, castagnoli))
}

// flush writes everything.
func (p *pageWriter) flush() error {
	if err := p.flushPages(); err != nil || len(p.buf) == 0 {
		return err
	}
	p.sum(p.buf)
	_, err := p.w.Write(p.buf)
	p.buf = p.buf[:0]
	return err
}

// finish writes everything and returns the sums.
func (p *pageWriter) finish() ([]byte, error) {
	err := p.flush()
	return p.sums, err
}

// lengths keeps sizes and heads until their section comes: in memory, and
// what is too much of it in a file.
type lengths struct {
	dir  string
	most int // bytes in memory
	mem  []byte
	file *os.File
	size int64 // of the file
	crc  uint32
}

func (l *lengths) add(b [lengthsSize]byte) error {
	if len(l.mem)+lengthsSize > l.most {
		if err := l.spill(); err != nil {
			return err
		}
	}
	l.mem = append(l.mem, b[:]...)
	return nil
}

func (l *lengths) spill() error {
	if l.file == nil {
		f, err := os.CreateTemp(l.dir, "dagstore-lengths-*")
		if err != nil {
			return err
		}
		l.file = f
	}
	if _, err := l.file.Write(l.mem); err != nil {
		return err
	}
	l.crc = crc32.Update(l.crc, castagnoli, l.mem)
	l.size += int64(len(l.mem))
	l.mem = l.mem[:0]
	return nil
}

// writeTo writes all of it in the order in which it came.
func (l *lengths) writeTo(w *pageWriter) error {
	if l.file != nil {
		crc := uint32(0)
		buf := make([]byte, writeBuffer)
		for off := int64(0); off < l.size; {
			n, err := l.file.ReadAt(buf[:min(int64(len(buf)), l.size-off)], off)
			if n == 0 {
				return err
			}
			crc = crc32.Update(crc, castagnoli, buf[:n])
			if err := w.write(buf[:n]); err != nil {
				return err
			}
			off += int64(n)
		}
		if crc != l.crc {
			return fmt.Errorf("%s was changed while it was used", l.file.Name())
		}
	}
	return w.write(l.mem)
}

// close removes the file.
func (l *lengths) close() {
	if l.file != nil {
		// What it held has been written, or the error is told already.
		_ = errors.Join(l.file.Close(), os.Remove(l.file.Name()))
		l.file = nil
	}
}
