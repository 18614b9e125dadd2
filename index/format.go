package index

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/multiformats/go-multihash"
)

// The numbers of docs/format/index.md.
const (
	carCodec    = 0x0401 // multicodec car-multihash-index-sorted, as a varint 81 08
	codecSize   = 2
	countSize   = 4 // of codes, of widths
	codeSize    = 8
	widthSize   = 4
	runSizeSize = 8
	offsetSize  = 8 // after each digest

	lengthsSize = 5 // of a record: u32 size, u8 head
	noSize      = 1<<32 - 1
	fanSize     = 4 // of an entry of a fan-out
	sumSize     = 4 // of a page
	pageSize    = 4096
	footerSize  = 64
	version     = 1
	hasSizes    = 1 << 0 // flag
)

const (
	// maxDigest is the longest digest that is indexed. The longest that a
	// hash function of the field gives has 128 bytes.
	maxDigest = 1024

	// maxRuns is how many kinds of multihash (code and digest length) one
	// index may hold. There are some 400 registered ones.
	maxRuns = 16384

	// maxRecords is how many records of one kind an index may hold: their
	// numbers in the fan-out have 32 bits.
	maxRecords = 1<<32 - 1
)

// footerMagic and the checksum after it end every index file of ours, of any
// version.
var footerMagic = [4]byte{'D', 'S', 'i', 'x'}

// castagnoli is a constant: the table is made once, by package crc32.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A footer is the last 64 bytes of a file.
type footer struct {
	standard int64 // length of the standard part
	records  int64
	fan      int64 // offset of the fan-outs
	sums     int64 // offset of the checksums of the pages before them
	identity [16]byte
	sumsCRC  uint32
	flags    uint16
}

// encode returns the footer's bytes and their checksum, which stands for the
// whole file: the sums are in it.
func (f *footer) encode() (b [footerSize]byte, crc uint32) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(f.standard))
	le.PutUint64(b[8:], uint64(f.records))
	le.PutUint64(b[16:], uint64(f.fan))
	le.PutUint64(b[24:], uint64(f.sums))
	copy(b[32:48], f.identity[:])
	le.PutUint32(b[48:], f.sumsCRC)
	le.PutUint16(b[52:], version)
	le.PutUint16(b[54:], f.flags)
	copy(b[56:60], footerMagic[:])
	crc = crc32.Checksum(b[:60], castagnoli)
	le.PutUint32(b[60:], crc)
	return b, crc
}

// decodeFooter reads the footer of a file of size bytes. ours is false if
// there is none, which is an error only of a file that is not a bare index.
func decodeFooter(b *[footerSize]byte, size int64) (f footer, crc uint32, ours bool, err error) {
	le := binary.LittleEndian
	if [4]byte(b[56:60]) != footerMagic {
		return footer{}, 0, false, nil
	}
	at := size - footerSize
	crc = le.Uint32(b[60:])
	if crc32.Checksum(b[:60], castagnoli) != crc {
		return footer{}, 0, true, damaged(at, "the footer's checksum is wrong")
	}
	if le.Uint16(b[52:]) != version {
		return footer{}, 0, true, fmt.Errorf("%w: index format %d, this program reads %d", ErrVersion, le.Uint16(b[52:]), version)
	}
	f = footer{
		standard: int64(le.Uint64(b[0:])),
		records:  int64(le.Uint64(b[8:])),
		fan:      int64(le.Uint64(b[16:])),
		sums:     int64(le.Uint64(b[24:])),
		identity: [16]byte(b[32:48]),
		sumsCRC:  le.Uint32(b[48:]),
		flags:    le.Uint16(b[54:]),
	}
	if f.flags&^hasSizes != 0 {
		return footer{}, 0, true, damaged(at, "unknown flags %#x", f.flags)
	}
	if !f.fits(size) {
		return footer{}, 0, true, damaged(at, "the sections do not add up to the file's %d bytes", size)
	}
	return f, crc, true, nil
}

// fits says whether the sections follow each other without gaps up to size.
func (f *footer) fits(size int64) bool {
	end := size - footerSize
	if f.standard < codecSize+countSize || f.standard > f.fan || f.fan > f.sums || f.sums > end {
		return false
	}
	if f.records < 0 || f.records > size {
		return false
	}
	lengths := int64(0)
	if f.flags&hasSizes != 0 {
		lengths = f.records * lengthsSize
	}
	return f.fan-f.standard == lengths && end-f.sums == pages(f.sums)*sumSize
}

// pages is the number of pages that n bytes take.
func pages(n int64) int64 { return (n + pageSize - 1) / pageSize }

// fanBits is the number of leading bits of a digest that choose its slot in
// the fan-out of a run of n records: as many as leave up to 64 records to a
// slot. With 0 bits there is no fan-out.
func fanBits(n int64) int {
	if n <= 64 {
		return 0
	}
	return bits.Len64(uint64(n-1) / 64)
}

// fanEntries is the number of entries in the fan-out of a run of n records: a
// slot begins at its entry and ends at the next one.
func fanEntries(n int64) int64 {
	if b := fanBits(n); b > 0 {
		return 1<<b + 1
	}
	return 0
}

// prefixSize is how many bytes of a digest a prefix has.
const prefixSize = 8

// prefix returns the first 8 bytes of a digest as a number that orders like
// them. What is missing counts as zeros.
func prefix(digest []byte) uint64 {
	if len(digest) >= prefixSize {
		return binary.BigEndian.Uint64(digest)
	}
	var p uint64
	for i, b := range digest {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}

// slot is the number of the slot of a digest among 1<<bits.
func slot(digest []byte, bits int) int64 { return int64(prefix(digest) >> (64 - bits)) }

// split returns the code and the digest of mh, and whether mh is a multihash.
func split(mh multihash.Multihash) (code uint64, digest []byte, ok bool) {
	if len(mh) >= 2 && mh[0] < 0x80 && mh[1] < 0x80 {
		return uint64(mh[0]), mh[2:], int(mh[1]) == len(mh)-2
	}
	code, n := binary.Uvarint(mh)
	if n <= 0 || n > 1 && mh[n-1] == 0 {
		return 0, nil, false
	}
	length, m := binary.Uvarint(mh[n:])
	if m <= 0 || m > 1 && mh[n+m-1] == 0 || length != uint64(len(mh)-n-m) {
		return 0, nil, false
	}
	return code, mh[n+m:], true
}

// appendHead appends what stands before the digest of a multihash.
func appendHead(b []byte, code uint64, length int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, code), uint64(length))
}
