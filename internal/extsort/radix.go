package extsort

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// A pair stands for a row while its bucket is sorted: 8 bytes of it, big-endian,
// and where it lies: the number of its chunk, and in the last 8 bits the number
// of the row in it.
type pair struct {
	key uint64
	at  uint32
}

const (
	insertionMax = 24      // pairs that are sorted by insertion
	digitBits    = 12      // of the widest digit; its counters fit the cache
	fewBits      = 64 - 16 // leading bits alike, from which on keys are taken from farther behind
)

// scratch is the memory of sorting one bucket after another.
type scratch struct {
	pairs, tmp []pair
	counts     []uint32 // 1 << digitBits, once they are needed
}

func (s *Sorter) row(b *bucket, at uint32) []byte {
	from := int(at%slabRows) * s.width
	return b.chunks[at/slabRows][from : from+s.width]
}

// sort returns the rows of b in order. The result is good until the next call
// for any Sorter of the pool.
func (s *Sorter) sort(b *bucket) []pair {
	x := &s.pool.scratch
	if cap(x.pairs) < b.rows {
		n := b.rows + b.rows/8 // the next bucket may be a little larger
		x.pairs, x.tmp = make([]pair, 0, n), make([]pair, n)
	}
	o := order{s: s, b: b, x: x}
	diff := o.load(0)
	// Keys that agree in most bits say little: take them from where rows differ.
	for bits.LeadingZeros64(diff) >= fewBits && o.from+8 < s.width {
		if diff == 0 {
			diff = o.load(o.from + 8)
			continue
		}
		diff = o.load(o.from + bits.LeadingZeros64(diff)/8)
	}
	o.sort(x.pairs, x.tmp[:len(x.pairs)])
	return x.pairs
}

// An order is the sorting of one bucket. All its rows agree before from, where
// the keys begin.
type order struct {
	s    *Sorter
	b    *bucket
	x    *scratch
	from int
}

// load makes the pairs with the keys at from, and returns the bits in which
// these differ.
func (o *order) load(from int) (diff uint64) {
	o.from = from
	pairs := o.x.pairs[:0]
	w := o.s.width
	first := key(o.b.chunks[0][from:w])
	for i, c := range o.b.chunks {
		at := uint32(i * slabRows)
		for r := range o.s.rowsIn(o.b, i) {
			k := key(c[r*w+from : (r+1)*w])
			diff |= k ^ first
			pairs = append(pairs, pair{k, at + uint32(r)})
		}
	}
	o.x.pairs = pairs
	return diff
}

// key returns the first 8 bytes of b, or all of it and zeros.
func key(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var k uint64
	for i, c := range b {
		k |= uint64(c) << (56 - 8*i)
	}
	return k
}

// sort sorts p. tmp is as long as p, and its content is lost.
func (o *order) sort(p, tmp []pair) {
	if len(p) <= insertionMax {
		o.insertion(p)
		return
	}
	var diff uint64
	for i := range p {
		diff |= p[i].key ^ p[0].key
	}
	if diff == 0 {
		slices.SortFunc(p, o.compare)
		return
	}
	// One digit of the highest bits that differ, so wide that a group of its
	// values is expected to hold a few pairs.
	digit := min(bits.Len(uint(len(p)))-2, digitBits, bits.Len64(diff))
	shift := bits.Len64(diff) - digit
	mask := uint64(1)<<digit - 1
	if o.x.counts == nil {
		o.x.counts = make([]uint32, 1<<digitBits)
	}
	counts := o.x.counts[:mask+1]
	clear(counts)
	for i := range p {
		counts[p[i].key>>shift&mask]++
	}
	var sum uint32
	for i, n := range counts {
		counts[i] = sum
		sum += n
	}
	for i := range p {
		n := &counts[p[i].key>>shift&mask]
		tmp[*n] = p[i]
		*n++
	}
	copy(p, tmp)
	for i := 0; i < len(p); {
		d, j := p[i].key>>shift, i+1
		for j < len(p) && p[j].key>>shift == d {
			j++
		}
		if j > i+1 {
			o.sort(p[i:j], tmp[i:j])
		}
		i = j
	}
}

func (o *order) insertion(p []pair) {
	for i := 1; i < len(p); i++ {
		x, j := p[i], i
		for j > 0 && (x.key < p[j-1].key || x.key == p[j-1].key && o.compare(x, p[j-1]) < 0) {
			p[j] = p[j-1]
			j--
		}
		p[j] = x
	}
}

// compare compares the rows behind the keys, which are alike.
func (o *order) compare(a, b pair) int {
	from := min(o.from+8, o.s.width)
	return bytes.Compare(o.s.row(o.b, a.at)[from:], o.s.row(o.b, b.at)[from:])
}
