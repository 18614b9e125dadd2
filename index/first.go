package index

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"runtime"
	"runtime/debug"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/mmap"
)

// First returns the position of mh that [File.Find] gives first: the one with
// the lowest offset. ok is false, and err nil, if there is none. It allocates
// nothing if the file is mapped, and may be called as Find may, whose errors it
// has. It is what a read of one block asks for.
func (f *File) First(mh multihash.Multihash) (p Position, ok bool, err error) {
	r, digest := f.runOf(mh)
	if r == nil {
		return Position{}, false, nil
	}
	if f.src.data != nil && !f.bare && len(digest) >= prefixSize {
		found, known, err := f.firstMapped(&p, r, digest)
		if err != nil {
			return Position{}, false, fault(err)
		}
		if known {
			return p, found, nil
		}
	}
	var room [1]Position
	all, err := f.Find(room[:0], mh, 1)
	if err != nil || len(all) == 0 {
		return Position{}, false, err
	}
	return all[0], true, nil
}

// runOf returns the run that mh would be in, or nil, and its digest.
func (f *File) runOf(mh multihash.Multihash) (*run, []byte) {
	if f.only.n > 0 && len(mh) == 2+f.only.digest && f.head == [2]byte(mh) {
		return &f.only, mh[2:]
	}
	code, digest, ok := split(mh)
	if !ok {
		return nil, nil
	}
	return f.run(code, len(digest)), digest
}

// firstMapped is First in a mapping. It is known whether there is such a
// position unless the slot is so long that it should not be gone through like
// this, which takes digests that are alike.
func (f *File) firstMapped(p *Position, r *run, digest []byte) (found, known bool, err error) {
	defer mmap.Guard(f.src.data, debug.SetPanicOnFault(true), &err)
	lo, hi, err := f.slot(r, digest, nil)
	n := hi - lo
	if err != nil || n == 0 || n > window/r.width {
		return false, n == 0, err
	}
	rows, err := f.src.span(r.off+lo*r.width, n*r.width, nil)
	if err != nil {
		return false, false, err
	}
	var sizes []byte
	if f.lengths != 0 {
		if sizes, err = f.src.span(f.lengths+(r.first+lo)*lengthsSize, n*lengthsSize, nil); err != nil {
			return false, false, err
		}
	}
	i, ok := nearest(rows, sizes, n, r, digest)
	if !ok {
		return false, true, nil
	}
	length := uint64(unknownLengths)
	if sizes != nil {
		length = lengthsAt(sizes, i)
	}
	if *p, found = positionOf(rows[i*r.width+int64(r.digest):], length); !found {
		return false, false, damaged(r.off+(lo+i)*r.width, "an offset over 2^63")
	}
	return true, true, nil
}

// reach is how far from the guess a record is nineteen times in twenty, in a
// slot of the usual length: there the standard deviation is four at most.
const reach = 6

// nearest returns the number of the first of the n records of a slot that is of
// digest, which has at least prefixSize bytes. Memory is slow and answers many
// questions at once as fast as one. So it asks for all records around the one
// where an even spread would put digest, and waits for none before it has asked
// for the next: how many of them are below digest is a sum. Their lengths, of
// which those of one record will be needed, come along.
func nearest(rows, sizes []byte, n int64, r *run, digest []byte) (i int64, found bool) {
	key := prefix(digest)
	guess, _ := bits.Mul64(key<<r.bits, uint64(n))
	lo, hi := max(int64(guess)-reach, 0), min(int64(guess)+reach+1, n)
	if sizes != nil {
		runtime.KeepAlive(sizes[lo*lengthsSize] + sizes[hi*lengthsSize-1])
	}
	below := uint64(0)
	for at := lo * r.width; at < hi*r.width; at += r.width {
		_, less := bits.Sub64(binary.BigEndian.Uint64(rows[at:]), key, 0)
		below += less
	}
	row := func(i int64) []byte { return rows[i*r.width:][:r.digest] }
	i = lo + int64(below)
	if below == 0 && lo > 0 {
		i = 0 // it may be farther down
	} else if i == n || prefix(row(i)) > key {
		return i, false
	} else if bytes.Equal(row(i), digest) {
		return i, true
	}
	for hi = n; i < hi; {
		if mid := int64(uint64(i+hi) / 2); bytes.Compare(row(mid), digest) < 0 {
			i = mid + 1
		} else {
			hi = mid
		}
	}
	return i, i < n && bytes.Equal(row(i), digest)
}
