package index

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/multiformats/go-multihash"
)

// Sample returns n records, each another and each as likely as any, or all if
// there are no more; by rising offset, in which order a CAR is best read. It
// costs the same for a file of any length: n records are read, nothing else.
// The records are the caller's. The choice cannot be foreseen by who made the
// CAR. An n below 1 gives none.
func (f *File) Sample(n int) ([]Record, error) {
	var recs []Record
	err := f.guarded(func() error {
		var buf, lengths []byte
		for _, i := range choose(f.records, n) {
			r, err := f.record(i, &buf, &lengths)
			if err != nil {
				return err
			}
			recs = append(recs, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(recs, func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return recs, nil
}

// choose draws n different numbers below total, or all of them. It is the way
// of Floyd: n draws, whatever total is.
func choose(total int64, n int) []int64 {
	most := min(total, int64(max(n, 0)))
	chosen := make([]int64, 0, most)
	for j := total - most; j < total; j++ {
		if i := rand.Int64N(j + 1); most < total && !slices.Contains(chosen, i) {
			chosen = append(chosen, i)
		} else {
			chosen = append(chosen, j)
		}
	}
	return chosen
}

// record reads record i in the order of the file.
func (f *File) record(i int64, row, lengths *[]byte) (Record, error) {
	at, _ := slices.BinarySearchFunc(f.runs, i+1, func(r run, i int64) int { return cmp.Compare(r.first+r.n, i) })
	r := &f.runs[at]
	i -= r.first
	b, err := f.src.span(r.off+i*r.width, r.width, row)
	if err != nil {
		return Record{}, err
	}
	mh := append(appendHead(make([]byte, 0, 16+r.digest), r.code, r.digest), b[:r.digest]...)
	var p [1]Position
	got, err := f.positions(p[:0], r, b, i, 1, lengths)
	if err != nil {
		return Record{}, err
	}
	return Record{Multihash: multihash.Multihash(mh), Position: got[0]}, nil
}
