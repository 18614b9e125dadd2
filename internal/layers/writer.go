package layers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/FastFilter/xorfilter"
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

var (
	errOrder   = errors.New("layers: pairs are not added in order")
	errTooMany = errors.New("layers: too much for one layer")
)

// A writer writes a layer in one pass and in memory bounded by one partition.
type writer struct {
	out      *bufio.Writer
	partKeys int
	keyCheck uint32

	page [pageSize]byte
	used int    // bytes of page
	n    uint32 // of page

	part   part     // the partition under way
	keys   []uint64 // its keys,
	starts []uint32 // and their first rows
	parts  []part
	rows   uint64
	unique uint64
	key    uint64 // of the last row
	id     index.ID

	builder xorfilter.BinaryFuseBuilder
}

func newWriter(w io.Writer, partKeys int, keyCheck uint32) *writer {
	return &writer{out: bufio.NewWriterSize(w, 256<<10), partKeys: partKeys, keyCheck: keyCheck}
}

// add appends a pair. Pairs come by rising key, then id; a repeated one is
// left out.
func (w *writer) add(key uint64, id index.ID) error {
	if w.rows == 0 || key != w.key {
		if w.rows > 0 && key < w.key {
			return errOrder
		}
		if err := w.addKey(key); err != nil {
			return err
		}
	} else if id <= w.id {
		if id < w.id {
			return errOrder
		}
		return nil
	}
	w.key, w.id = key, id
	binary.LittleEndian.PutUint64(w.page[w.used:], key)
	binary.LittleEndian.PutUint32(w.page[w.used+8:], uint32(id))
	w.used += rowSize
	w.rows++
	if w.part.rows++; w.part.rows == math.MaxUint32 {
		return errTooMany
	}
	if w.used == rowsPerPage*rowSize {
		return w.endPage()
	}
	return nil
}

// addKey notes where the rows of key begin, in a new partition if this one is full.
func (w *writer) addKey(key uint64) error {
	if len(w.keys) == w.partKeys {
		if err := w.endPart(); err != nil {
			return err
		}
	}
	w.keys = append(w.keys, key)
	w.starts = append(w.starts, w.part.rows)
	return nil
}

// endPage writes the page with its checksum, if there is anything on it.
func (w *writer) endPage() error {
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
func (w *writer) write(b []byte) error {
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
func (w *writer) endPart() error {
	if len(w.keys) == 0 {
		return nil
	}
	if err := w.endPage(); err != nil {
		return err
	}
	p := &w.part
	p.first, p.last = w.keys[0], w.keys[len(w.keys)-1]
	p.keys = uint32(len(w.keys))
	p.shift = fanShift(p.first, p.last, len(w.keys))
	if err := w.writeFan(p); err != nil {
		return err
	}
	if err := w.writeFilter(p); err != nil {
		return err
	}
	if !p.plan(w.n) || p.endPage != w.n {
		return fmt.Errorf("layers: partition planned to end at page %d ends at %d", p.endPage, w.n)
	}
	w.parts = append(w.parts, *p)
	w.unique += uint64(len(w.keys))
	w.part = part{page: w.n}
	w.keys, w.starts = w.keys[:0], w.starts[:0]
	return nil
}

// writeFan writes, for each slot, the first row whose key is in it or after
// it, and the number of rows last.
func (w *writer) writeFan(p *part) error {
	if p.slots() == 1 {
		return nil
	}
	next := uint64(0) // slot to write
	for i, key := range w.keys {
		for slot := (key - p.first) >> p.shift; next <= slot; next++ {
			if err := w.writeUint32(w.starts[i]); err != nil {
				return err
			}
		}
	}
	if err := w.writeUint32(p.rows); err != nil {
		return err
	}
	return w.endPage()
}

func (w *writer) writeUint32(v uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return w.write(b[:])
}

// writeFilter writes the fingerprints, after it has held all keys against
// them: a filter that denies a key would be a block that is never found. Rows
// on a single page need no filter, since it would be a page as well.
func (w *writer) writeFilter(p *part) error {
	if p.rows <= rowsPerPage {
		return nil
	}
	built, err := xorfilter.BuildBinaryFuse[uint8](&w.builder, w.keys)
	if err != nil {
		return fmt.Errorf("layers: filter of %d keys: %w", len(w.keys), err)
	}
	p.filter = filter{seed: built.Seed, segment: built.SegmentLength, segments: built.SegmentCount}
	if !p.filter.valid() || p.filter.size() != uint64(len(built.Fingerprints)) {
		return fmt.Errorf("layers: filter of %d keys has an unknown form", len(w.keys))
	}
	for _, key := range w.keys {
		print, at := p.filter.probe(key)
		if print != built.Fingerprints[at[0]]^built.Fingerprints[at[1]]^built.Fingerprints[at[2]] {
			return fmt.Errorf("layers: filter of %d keys denies one of them", len(w.keys))
		}
	}
	if err := w.write(built.Fingerprints); err != nil {
		return err
	}
	return w.endPage()
}

// finish writes what is left and returns what the catalogue is to remember,
// but for the number. At least one pair was added, and ids are not empty.
func (w *writer) finish(ids *roaring.Bitmap) (Layer, error) {
	if err := w.endPart(); err != nil {
		return Layer{}, err
	}
	foot := footer{
		parts: uint32(len(w.parts)), rows: w.rows, keys: w.unique,
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
	return Layer{
		Length: foot.fileSize(), CRC: binary.LittleEndian.Uint32(end[footerSize-4:]),
		Entries: int64(foot.rows), Keys: int64(foot.keys), First: foot.first, Last: foot.last,
	}, w.out.Flush()
}
