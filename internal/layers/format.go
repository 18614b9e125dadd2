package layers

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// The format is drawn in docs/format/layer.md. All numbers are little-endian.
const (
	version    = 1
	magic      = "DAGLAYER"
	footerSize = 64

	pageSize = 4096
	pageData = pageSize - 4 // the last 4 bytes are the page's checksum

	rowSize     = 12 // u64 key, u32 id
	rowsPerPage = pageData / rowSize
	fanPerPage  = pageData / 4
	partSize    = 48

	// keysPerFan is how many keys the fan-out leaves to search, at the most
	// on average.
	keysPerFan = 32

	// maxSegment is the longest segment of a filter that is accepted, the
	// same as the longest that is written.
	maxSegment = 1 << 18
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageCRC covers the number of the page too: a page in another's place is as
// wrong as a damaged one.
func pageCRC(n uint32, data []byte) uint32 {
	var number [4]byte
	binary.LittleEndian.PutUint32(number[:], n)
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, data)
}

func ceilDiv(n, by uint64) uint64 { return (n + by - 1) / by }

// A part is one partition: the rows of a range of keys, then their fan-out,
// then their filter, each on pages of its own.
type part struct {
	first, last uint64 // keys
	filter      filter
	page        uint32 // where the rows begin
	rows        uint32
	keys        uint32
	shift       uint32 // of a key's distance from first, to its slot of the fan-out

	// What follows from these.
	fanPage, filterPage, endPage uint32
}

// plan fills in what follows from the rest and returns false if a file of so
// many pages cannot hold it.
func (p *part) plan(pages uint32) bool {
	at := uint64(p.page) + ceilDiv(uint64(p.rows), rowsPerPage)
	p.fanPage = uint32(at)
	if slots := p.slots(); slots > 1 {
		if slots >= 1<<32 {
			return false
		}
		at += ceilDiv(slots+1, fanPerPage)
	}
	if at > uint64(pages) {
		return false
	}
	p.filterPage = uint32(at)
	at += ceilDiv(p.filter.size(), pageData)
	p.endPage = uint32(at)
	return at <= uint64(pages)
}

// slots is how many slots the fan-out has; with one there is none.
func (p *part) slots() uint64 { return (p.last-p.first)>>p.shift + 1 }

// fanShift returns the shift at which slots hold keysPerFan keys or somewhat more.
func fanShift(first, last uint64, keys int) uint32 {
	var shift uint32
	for (last-first)>>shift+1 > uint64(max(keys/keysPerFan, 1)) || (last-first)>>shift == 1<<64-1 {
		shift++
	}
	return shift
}

func (p *part) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, p.first)
	b = binary.LittleEndian.AppendUint64(b, p.last)
	b = binary.LittleEndian.AppendUint64(b, p.filter.seed)
	b = binary.LittleEndian.AppendUint32(b, p.filter.segment)
	b = binary.LittleEndian.AppendUint32(b, p.filter.segments)
	b = binary.LittleEndian.AppendUint32(b, p.page)
	b = binary.LittleEndian.AppendUint32(b, p.rows)
	b = binary.LittleEndian.AppendUint32(b, p.keys)
	return binary.LittleEndian.AppendUint32(b, p.shift)
}

func parsePart(b []byte) part {
	_ = b[partSize-1]
	return part{
		first: binary.LittleEndian.Uint64(b),
		last:  binary.LittleEndian.Uint64(b[8:]),
		filter: filter{
			seed:     binary.LittleEndian.Uint64(b[16:]),
			segment:  binary.LittleEndian.Uint32(b[24:]),
			segments: binary.LittleEndian.Uint32(b[28:]),
		},
		page:  binary.LittleEndian.Uint32(b[32:]),
		rows:  binary.LittleEndian.Uint32(b[36:]),
		keys:  binary.LittleEndian.Uint32(b[40:]),
		shift: binary.LittleEndian.Uint32(b[44:]),
	}
}

// check returns an error unless p can follow prev, which is nil for the first,
// in a file of so many pages before its tail.
func (p *part) check(prev *part, pages uint32) error {
	var page uint32
	if prev != nil {
		page = prev.endPage
	}
	switch {
	case p.first > p.last || prev != nil && p.first <= prev.last:
		return damaged("partitions are not in order")
	case p.keys == 0 || p.rows < p.keys:
		return damaged("a partition of %d keys in %d rows", p.keys, p.rows)
	case p.shift > 64 || !p.filter.valid():
		return damaged("a partition with an impossible fan-out or filter")
	case p.page != page || !p.plan(pages):
		return damaged("partitions do not lie end to end")
	}
	return nil
}

// A filter is a binary fuse filter (Graf and Lemire, 2022) with fingerprints
// of 8 bits. The fingerprints are part of the file, not of this. The probe is
// written out here, not taken from the library that builds the filter, because
// it is part of the file format; the writer holds each filter against it.
type filter struct {
	seed     uint64
	segment  uint32 // fingerprints in a segment, a power of two
	segments uint32 // in which the first of the three may be; 0: there is no filter
}

func (f filter) valid() bool {
	if f.segments == 0 {
		return f.segment == 0
	}
	return f.segment != 0 && f.segment <= maxSegment && f.segment&(f.segment-1) == 0 &&
		uint64(f.segments)*uint64(f.segment) < 1<<31
}

// size is the number of fingerprints.
func (f filter) size() uint64 {
	if f.segments == 0 {
		return 0
	}
	return (uint64(f.segments) + 2) * uint64(f.segment)
}

// probe returns the fingerprint of key and the three places whose exclusive
// or it is if key is in the set.
func (f filter) probe(key uint64) (print byte, at [3]uint32) {
	h := key + f.seed
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	hi, _ := bits.Mul64(h, uint64(f.segments)*uint64(f.segment))
	mask := f.segment - 1
	at[0] = uint32(hi)
	at[1] = at[0] + f.segment
	at[2] = at[1] + f.segment
	at[1] ^= uint32(h>>18) & mask
	at[2] ^= uint32(h) & mask
	return byte(h ^ h>>32), at
}

// A footer is the last bytes of a file.
type footer struct {
	parts       uint32
	rows, keys  uint64
	tailPage    uint32 // where the directory and the ids begin
	tailBytes   uint32
	ids         uint32
	first, last index.ID
	keyCheck    uint32 // tells the layer of another store
}

func (f *footer) append(b []byte) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, f.parts)
	b = binary.LittleEndian.AppendUint64(b, f.rows)
	b = binary.LittleEndian.AppendUint64(b, f.keys)
	b = binary.LittleEndian.AppendUint32(b, f.tailPage)
	b = binary.LittleEndian.AppendUint32(b, f.tailBytes)
	b = binary.LittleEndian.AppendUint32(b, f.ids)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.first))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.last))
	b = binary.LittleEndian.AppendUint32(b, f.keyCheck)
	b = binary.LittleEndian.AppendUint32(b, 0) // reserved
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// fileSize is the length of a file with this footer.
func (f *footer) fileSize() int64 {
	return int64(uint64(f.tailPage)+ceilDiv(uint64(f.tailBytes), pageData))*pageSize + footerSize
}

// parseFooter returns the footer and its checksum. The checksum is looked at
// before the version, so that one flipped bit does not pass for another version.
func parseFooter(b []byte) (f footer, sum uint32, err error) {
	sum = binary.LittleEndian.Uint32(b[footerSize-4:])
	switch {
	case string(b[:8]) != magic:
		return f, sum, damaged("no footer of a layer")
	case crc32.Checksum(b[:footerSize-4], castagnoli) != sum:
		return f, sum, damaged("the footer does not match its checksum")
	case binary.LittleEndian.Uint32(b[8:]) != version:
		return f, sum, otherVersion(binary.LittleEndian.Uint32(b[8:]))
	}
	f = footer{
		parts:     binary.LittleEndian.Uint32(b[12:]),
		rows:      binary.LittleEndian.Uint64(b[16:]),
		keys:      binary.LittleEndian.Uint64(b[24:]),
		tailPage:  binary.LittleEndian.Uint32(b[32:]),
		tailBytes: binary.LittleEndian.Uint32(b[36:]),
		ids:       binary.LittleEndian.Uint32(b[40:]),
		first:     index.ID(binary.LittleEndian.Uint32(b[44:])),
		last:      index.ID(binary.LittleEndian.Uint32(b[48:])),
		keyCheck:  binary.LittleEndian.Uint32(b[52:]),
	}
	return f, sum, nil
}

// parseTail returns the partitions and the ids.
func parseTail(f *footer, tail []byte) ([]part, *roaring.Bitmap, error) {
	if uint64(f.parts)*partSize > uint64(len(tail)) {
		return nil, nil, damaged("%d partitions in %d bytes", f.parts, len(tail))
	}
	var rows, keys uint64
	var prev *part
	parts := make([]part, f.parts)
	for i := range parts {
		parts[i] = parsePart(tail[i*partSize:])
		if err := parts[i].check(prev, f.tailPage); err != nil {
			return nil, nil, err
		}
		rows += uint64(parts[i].rows)
		keys += uint64(parts[i].keys)
		prev = &parts[i]
	}
	if rows != f.rows || keys != f.keys || prev == nil || prev.endPage != f.tailPage {
		return nil, nil, damaged("the partitions do not add up to the footer")
	}
	ids, err := parseIDs(f, tail[len(parts)*partSize:])
	return parts, ids, err
}

// appendIDs appends the ids, rising: each as a varint of its distance from the
// one before, the first from -1, less one.
func appendIDs(b []byte, ids *roaring.Bitmap) []byte {
	next := uint64(0)
	for it := ids.Iterator(); it.HasNext(); {
		id := uint64(it.Next())
		b = binary.AppendUvarint(b, id-next)
		next = id + 1
	}
	return b
}

func parseIDs(f *footer, b []byte) (*roaring.Bitmap, error) {
	ids := roaring.New()
	next := uint64(0)
	for range f.ids {
		d, n := binary.Uvarint(b)
		id := next + d
		if n <= 0 || d >= 1<<32 || id >= 1<<32 {
			return nil, damaged("the list of ids")
		}
		ids.Add(uint32(id))
		b, next = b[n:], id+1
	}
	if len(b) != 0 || ids.IsEmpty() || ids.Minimum() != uint32(f.first) || ids.Maximum() != uint32(f.last) {
		return nil, damaged("the list of ids does not match the footer")
	}
	return ids, nil
}
