package layers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/FastFilter/xorfilter"
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// A partition is what a writer keeps of one that is not written yet.
type partition struct {
	keys   []uint64
	starts []uint32 // their first rows
	rows   uint32

	filter filter
	prints []byte // the builder's
	ready  chan error

	builder xorfilter.BinaryFuseBuilder
}

func (p *partition) reset() {
	p.keys, p.starts, p.rows = p.keys[:0], p.starts[:0], 0
	p.filter, p.prints = filter{}, nil
}

var errFilter = errors.New("layers: a filter is not as it should be")

// build builds the filter, and holds all keys against it: a filter that denies
// a key would be a block that is never found. Rows on a single page need no
// filter, since it would be a page as well.
func (p *partition) build() error {
	if p.rows <= rowsPerPage {
		return nil
	}
	built, err := xorfilter.BuildBinaryFuse[uint8](&p.builder, p.keys)
	if err != nil {
		return fmt.Errorf("%w: of %d keys: %w", errFilter, len(p.keys), err)
	}
	p.filter = filter{seed: built.Seed, segment: built.SegmentLength, segments: built.SegmentCount}
	if !p.filter.valid() || p.filter.size() != uint64(len(built.Fingerprints)) {
		return fmt.Errorf("%w: that of %d keys has an unknown form", errFilter, len(p.keys))
	}
	for _, key := range p.keys {
		print, at := p.filter.probe(key)
		if print != built.Fingerprints[at[0]]^built.Fingerprints[at[1]]^built.Fingerprints[at[2]] {
			return fmt.Errorf("%w: that of %d keys denies one of them", errFilter, len(p.keys))
		}
	}
	p.prints = built.Fingerprints
	return nil
}

// A pageWriter puts a layer on pages.
type pageWriter struct {
	out      *bufio.Writer
	keyCheck uint32
	err      error // why it is not to be used any more

	page [pageSize]byte
	used int    // bytes of page
	n    uint32 // of page

	begin uint32 // page of the partition under way
	parts []part
}

// writeSize is how much is written at once. What is written in aligned pieces
// of 2 MiB, file systems of Linux that know large folios (XFS, ext4, Btrfs) keep in the page
// cache in such pieces, and a mapping then has one address translation for
// each instead of 512: a look-up, which jumps about, meets few others.
const writeSize = 2 << 20

// outs keeps the buffers: many a layer has far less than one of them holds.
var outs = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeSize) }}

func newPageWriter(out io.Writer, keyCheck uint32) *pageWriter {
	w := &pageWriter{out: outs.Get().(*bufio.Writer), keyCheck: keyCheck}
	w.out.Reset(out)
	return w
}

// endPage writes the page with its checksum, if there is anything on it.
func (w *pageWriter) endPage() error {
	if w.used == 0 {
		return nil
	}
	clear(w.page[w.used:])
	binary.LittleEndian.PutUint32(w.page[pageData:], pageCRC(w.n, w.page[:pageData]))
	if _, err := w.out.Write(w.page[:]); err != nil {
		return err
	}
	if w.n++; w.n == math.MaxUint32 {
		return errTooMany
	}
	w.used = 0
	return nil
}

// write appends b to the page and to those after it.
func (w *pageWriter) write(b []byte) error {
	for len(b) > 0 {
		n := copy(w.page[w.used:pageData], b)
		w.used += n
		b = b[n:]
		if w.used == pageData {
			if err := w.endPage(); err != nil {
				return err
			}
		}
	}
	return nil
}

// endPart writes the fan-out and the filter of the rows since the last one.
func (w *pageWriter) endPart(from *partition) error {
	if err := w.endPage(); err != nil {
		return err
	}
	keys := from.keys
	p := part{first: keys[0], last: keys[len(keys)-1], filter: from.filter, page: w.begin, rows: from.rows, keys: uint32(len(keys))}
	p.shift = fanShift(p.first, p.last, len(keys))
	if err := w.writeFan(&p, from); err != nil {
		return err
	}
	if err := w.write(from.prints); err != nil {
		return err
	}
	if err := w.endPage(); err != nil {
		return err
	}
	if !p.plan(w.n) || p.endPage != w.n {
		return fmt.Errorf("layers: partition planned to end at page %d ends at %d", p.endPage, w.n)
	}
	w.parts = append(w.parts, p)
	w.begin = w.n
	return nil
}

// writeFan writes, for each slot, the first row whose key is in it or after
// it, and the number of rows last.
func (w *pageWriter) writeFan(p *part, from *partition) error {
	if p.slots() == 1 {
		return nil
	}
	next := uint64(0) // slot to write
	for i, key := range from.keys {
		for slot := (key - p.first) >> p.shift; next <= slot; next++ {
			if err := w.writeUint32(from.starts[i]); err != nil {
				return err
			}
		}
	}
	if err := w.writeUint32(p.rows); err != nil {
		return err
	}
	return w.endPage()
}

func (w *pageWriter) writeUint32(v uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return w.write(b[:])
}

// finish writes the tail and the footer.
func (w *pageWriter) finish(rows, keys uint64, ids *roaring.Bitmap) (Layer, error) {
	foot := footer{
		parts: uint32(len(w.parts)), rows: rows, keys: keys,
		tailPage: w.n, ids: uint32(ids.GetCardinality()),
		first: index.ID(ids.Minimum()), last: index.ID(ids.Maximum()), keyCheck: w.keyCheck,
	}
	var tail []byte
	for i := range w.parts {
		tail = w.parts[i].append(tail)
	}
	tail = appendIDs(tail, ids)
	if len(tail) > math.MaxUint32 {
		return Layer{}, errTooMany
	}
	foot.tailBytes = uint32(len(tail))
	if err := w.write(tail); err != nil {
		return Layer{}, err
	}
	if err := w.endPage(); err != nil {
		return Layer{}, err
	}
	end := foot.append(nil)
	if _, err := w.out.Write(end); err != nil {
		return Layer{}, err
	}
	if err := w.out.Flush(); err != nil {
		return Layer{}, err
	}
	w.out.Reset(nil)
	outs.Put(w.out)
	w.out = nil
	return Layer{
		Length: foot.fileSize(), CRC: binary.LittleEndian.Uint32(end[footerSize-4:]),
		Entries: int64(foot.rows), Keys: int64(foot.keys), First: foot.first, Last: foot.last,
	}, nil
}
