package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"runtime/debug"
	"slices"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/mmap"
)

// window is how many bytes of records are looked at in one piece: a slot of
// the fan-out and more.
const window = 8 << 10

// findBuffers are what a lookup without a mapping reads into.
type findBuffers struct{ rows, lengths []byte }

// Find implements [Index].
func (f *File) Find(dst []Position, mh multihash.Multihash, limit int) ([]Position, error) {
	r, digest := f.runOf(mh)
	if r == nil {
		return dst, nil
	}
	var found []Position
	var err error
	if f.src.data != nil {
		found, err = f.findMapped(dst, r, digest, limit)
	} else {
		bufs, _ := f.buffers.Get().(*findBuffers)
		if bufs == nil {
			bufs = new(findBuffers)
		}
		found, err = f.find(dst, r, digest, limit, bufs)
		f.buffers.Put(bufs)
	}
	if err != nil {
		return dst, fault(err)
	}
	return found, nil
}

func (f *File) findMapped(dst []Position, r *run, digest []byte, limit int) (_ []Position, err error) {
	defer mmap.Guard(f.src.data, debug.SetPanicOnFault(true), &err)
	return f.find(dst, r, digest, limit, nil)
}

// run returns the run of a kind of multihash, or nil.
func (f *File) run(code uint64, digest int) *run {
	lo, hi := 0, len(f.runs)
	for lo < hi {
		switch mid := int(uint(lo+hi) / 2); {
		case f.runs[mid].code < code || f.runs[mid].code == code && f.runs[mid].digest < digest:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	if lo < len(f.runs) && f.runs[lo].code == code && f.runs[lo].digest == digest {
		return &f.runs[lo]
	}
	return nil
}

// find looks in the slot of digest. bufs is nil if the file is mapped.
func (f *File) find(dst []Position, r *run, digest []byte, limit int, bufs *findBuffers) ([]Position, error) {
	var rows, lengths *[]byte
	if bufs != nil {
		rows, lengths = &bufs.rows, &bufs.lengths
	}
	lo, hi, err := f.slot(r, digest, rows)
	if err != nil {
		return nil, err
	}
	lo, hi, end, err := f.narrow(r, digest, lo, hi, rows)
	if err != nil {
		return nil, err
	}
	// The first record that is not below is among [lo, hi], or at hi.
	b, err := f.src.span(r.off+lo*r.width, (hi-lo)*r.width, rows)
	if err != nil {
		return nil, err
	}
	first := lo + lowerBound(b, r, digest)
	b = b[(first-lo)*r.width:]
	most := int64(math.MaxInt64)
	if limit > 0 && !f.bare {
		most = int64(limit)
	}
	start := len(dst)
	n := same(b, r, digest, most)
	if dst, err = f.positions(dst, r, b, first, n, lengths); err != nil {
		return nil, err
	}
	if first += n; n < most && n*r.width == int64(len(b)) && first < end {
		if dst, err = f.gather(dst, r, digest, first, end, most-n, rows, lengths); err != nil {
			return nil, err
		}
	}
	if f.bare && len(dst) > start+1 {
		// The format does not order records of one digest.
		slices.SortFunc(dst[start:], func(a, b Position) int { return cmp.Compare(a.Offset, b.Offset) })
		if limit > 0 && len(dst) > start+limit {
			dst = dst[:start+limit]
		}
	}
	return dst, nil
}

// narrow halves the range [lo, hi) until it is small enough to be looked at in
// one piece, which it is at once unless many digests are alike or there is no
// fan-out. Records with digest may now lie behind hi, up to end.
func (f *File) narrow(r *run, digest []byte, lo, hi int64, buf *[]byte) (_, _, end int64, err error) {
	end = hi
	for most := window / r.width; hi-lo > most; {
		mid := lo + (hi-lo)/2
		row, err := f.src.span(r.off+mid*r.width, r.width, buf)
		if err != nil {
			return 0, 0, 0, err
		}
		if bytes.Compare(row[:r.digest], digest) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, hi, end, nil
}

// same counts the records at the beginning of b with digest, up to most.
func same(b []byte, r *run, digest []byte, most int64) int64 {
	n := int64(0)
	for at := int64(0); at < int64(len(b)) && n < most && bytes.Equal(b[at:at+int64(r.digest)], digest); at += r.width {
		n++
	}
	return n
}

// slot returns the range of records whose digests may be digest.
func (f *File) slot(r *run, digest []byte, buf *[]byte) (lo, hi int64, err error) {
	if r.bits == 0 {
		return 0, r.n, nil
	}
	at := r.fan + slot(digest, r.bits)*fanSize
	b, err := f.src.span(at, 2*fanSize, buf)
	if err != nil {
		return 0, 0, err
	}
	lo, hi = int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[fanSize:]))
	if lo > hi || hi > r.n {
		return 0, 0, damaged(at, "slot [%d, %d) of %d records", lo, hi, r.n)
	}
	return lo, hi, nil
}

// lowerBound is the number of records in b, which are in order, below digest.
// It begins where an even spread would put digest in its slot: from there to
// the place are fewer cache lines than from the middle.
func lowerBound(b []byte, r *run, digest []byte) int64 {
	key := prefix(digest)
	n := int64(len(b)) / r.width
	below := func(i int64) bool {
		row := b[i*r.width:][:r.digest]
		p := prefix(row)
		return p < key || p == key && bytes.Compare(row, digest) < 0
	}
	guess, _ := bits.Mul64(key<<r.bits, uint64(n))
	lo, hi := int64(guess), int64(guess)
	if n > 0 && below(lo) {
		for step := int64(1); hi < n && below(hi); step *= 2 {
			lo, hi = hi+1, hi+step
		}
		hi = min(hi, n)
	} else {
		for step := int64(1); lo > 0 && !below(lo-1); step *= 2 {
			hi, lo = lo-1, max(lo-step, 0)
		}
	}
	for lo < hi {
		if mid := int64(uint64(lo+hi) / 2); below(mid) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// gather appends the positions of records with digest from number first on,
// before number end and up to most.
func (f *File) gather(dst []Position, r *run, digest []byte, first, end, most int64, rows, lengths *[]byte) ([]Position, error) {
	for most > 0 && first < end {
		n := min(1+window/r.width, end-first, most)
		b, err := f.src.span(r.off+first*r.width, n*r.width, rows)
		if err != nil {
			return nil, err
		}
		found := same(b, r, digest, n)
		if dst, err = f.positions(dst, r, b, first, found, lengths); err != nil || found < n {
			return dst, err
		}
		first, most = first+n, most-n
	}
	return dst, nil
}

// positions appends the positions of the first n records in b, which begins
// with number first of the run.
func (f *File) positions(dst []Position, r *run, b []byte, first, n int64, lengths *[]byte) ([]Position, error) {
	var sizes []byte
	if n > 0 && f.lengths != 0 {
		var err error
		if sizes, err = f.src.span(f.lengths+(r.first+first)*lengthsSize, n*lengthsSize, lengths); err != nil {
			return nil, err
		}
	}
	for i := range n {
		p, ok := position(b[i*r.width+int64(r.digest):], sizes, i)
		if !ok {
			return nil, damaged(r.off+(first+i)*r.width, "an offset over 2^63")
		}
		dst = append(dst, p)
	}
	return dst, nil
}

// position decodes an offset, and the size and head of record i if there are.
func position(offset, sizes []byte, i int64) (Position, bool) {
	length := uint64(unknownLengths)
	if sizes != nil {
		length = lengthsAt(sizes, i)
	}
	return positionOf(offset, length)
}

// unknownLengths are the lengths of a record in a file that has none.
const unknownLengths = noSize

// lengthsAt is the size and, above it, the head of record i.
func lengthsAt(sizes []byte, i int64) uint64 {
	b := sizes[i*lengthsSize:][:lengthsSize]
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(b[4])<<32
}

// positionOf decodes an offset; false says that it is none.
func positionOf(offset []byte, length uint64) (Position, bool) {
	p := Position{Offset: int64(binary.LittleEndian.Uint64(offset)), Size: -1, Head: int(length >> 32)}
	if size := uint32(length); size != noSize {
		p.Size = int64(size)
	}
	return p, p.Offset >= 0
}
