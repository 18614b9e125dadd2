package index

import (
	"bytes"
	"encoding/binary"

	"github.com/multiformats/go-multihash"
)

// A run is the records of one multihash code and digest length.
type run struct {
	code   uint64
	digest int   // its length
	width  int64 // of a record in the standard part
	n      int64 // records
	off    int64 // of the first record
	first  int64 // records in the runs before it
	fan    int64 // offset of its fan-out
	bits   int   // of its fan-out; 0: none
}

// layout reads the heads of the runs in the standard part, which ends at end.
// It allocates for runs that are there, never for a count. Runs that are empty
// or of identity are left out; in a file of ours they are an error.
func (s *source) layout(end int64, ours bool) ([]run, error) {
	p := parser{src: s, end: end}
	if codec := p.bytes(codecSize); p.err == nil && !bytes.Equal(codec, []byte{0x81, 0x08}) {
		return nil, damaged(0, "codec % x is not that of a MultihashIndexSorted", codec)
	}
	codes, lastCode := p.count("codes"), uint64(0)
	for i := int32(0); i < codes && p.err == nil; i++ {
		at := p.off
		code := p.uint64()
		if i > 0 && code <= lastCode {
			p.fail(at, "code %#x follows code %#x", code, lastCode)
		}
		lastCode = code
		p.widths(code)
	}
	if ours && p.hollow {
		p.fail(0, "a run without records, or of identity")
	}
	if p.err == nil && p.off != end {
		p.fail(p.off, "the records end here, and not at %d", end)
	}
	return p.runs, p.err
}

// A parser reads the heads of runs and passes over their records. After an
// error it gives zeros.
type parser struct {
	src     *source
	off     int64
	end     int64
	records int64
	buf     []byte
	heads   int   // of runs, seen so far
	runs    []run // those that have records
	hollow  bool  // there are others
	err     error
}

// widths reads the runs of one code.
func (p *parser) widths(code uint64) {
	at := p.off
	widths := p.count("widths")
	if widths == 0 {
		p.fail(at, "code %#x has no records", code)
	}
	p.runsOf(code, widths)
}

// runsOf reads the heads of so many runs.
func (p *parser) runsOf(code uint64, widths int32) {
	last := uint32(0)
	for i := int32(0); i < widths && p.err == nil; i++ {
		at := p.off
		width, size := p.uint32(), p.uint64()
		switch {
		case p.err != nil:
			return
		case width <= offsetSize || width > maxDigest+offsetSize:
			p.fail(at, "records of %d bytes", width)
		case i > 0 && width <= last:
			p.fail(at, "width %d follows width %d", width, last)
		case size > uint64(p.end-p.off):
			p.fail(at, "%d bytes of records, and %d are left", size, p.end-p.off)
		case size%uint64(width) != 0:
			p.fail(at, "%d bytes are no whole number of records of %d", size, width)
		case p.heads == maxRuns:
			p.fail(at, "more than %d kinds of multihash", maxRuns)
		case size/uint64(width) > maxRecords:
			p.fail(at, "more than %d records of one kind", int64(maxRecords))
		default:
			p.add(run{code: code, width: int64(width), n: int64(size) / int64(width)})
			p.off += int64(size)
		}
		last = width
	}
}

func (p *parser) add(r run) {
	p.heads++
	if r.code == multihash.IDENTITY || r.n == 0 {
		// go-car may be told to index identity CIDs. They are in no index of
		// ours, and nobody needs an empty run.
		p.hollow = true
		return
	}
	r.digest = int(r.width) - offsetSize
	r.off, r.first = p.off, p.records
	p.records += r.n
	p.runs = append(p.runs, r)
}

func (p *parser) fail(at int64, format string, args ...any) {
	if p.err == nil {
		p.err = damaged(at, format, args...)
	}
}

// bytes reads n bytes.
func (p *parser) bytes(n int64) []byte {
	if p.err == nil && n > p.end-p.off {
		p.fail(p.off, "cut short")
	}
	var b []byte
	if p.err == nil {
		b, p.err = p.src.span(p.off, n, &p.buf)
	}
	if p.err != nil {
		return make([]byte, n)
	}
	p.off += n
	return b
}

func (p *parser) count(what string) int32 {
	at := p.off
	n := int32(binary.LittleEndian.Uint32(p.bytes(countSize)))
	if n < 0 || int64(n) > p.end-p.off {
		p.fail(at, "%d %s", n, what)
	}
	return n
}

func (p *parser) uint32() uint32 { return binary.LittleEndian.Uint32(p.bytes(4)) }
func (p *parser) uint64() uint64 { return binary.LittleEndian.Uint64(p.bytes(8)) }
