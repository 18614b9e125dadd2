package index

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// WriteBare writes ix to w as a bare MultihashIndexSorted: what go-car reads, and
// what lies beside a CAR as NAME.car.idx for other tools. It goes over ix twice
// and keeps nothing of it. It does not sync. An error of ix is returned as it is;
// part of it may have been written then.
func WriteBare(w io.Writer, ix Index) error {
	kinds, codes, err := census(ix)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	le := binary.LittleEndian
	head := le.AppendUint32([]byte{0x81, 0x08}, uint32(codes))
	last, written := -1, int64(0)
	for r, err := range ix.All() {
		if err != nil {
			return err
		}
		if last < 0 || written == kinds[last].n {
			if last++; last == len(kinds) {
				return damaged(0, "it yields more records than it did before")
			}
			written = 0
			head = appendRun(head, kinds, last)
		}
		k := kinds[last]
		head = append(head, r.Multihash[len(r.Multihash)-k.digest:]...)
		head = le.AppendUint64(head, uint64(r.Offset))
		if _, err := out.Write(head); err != nil {
			return err
		}
		head = head[:0]
		written++
	}
	if _, err := out.Write(head); err != nil { // of an empty index
		return err
	}
	return out.Flush()
}

// A bareRun is the records of one hash function and digest length.
type bareRun struct {
	code   uint64
	digest int
	widths int // how many kinds have this code; 0 unless it is the first of them
	n      int64
}

// appendRun appends what stands before the records of kinds[i].
func appendRun(b []byte, kinds []bareRun, i int) []byte {
	le := binary.LittleEndian
	k := kinds[i]
	if k.widths > 0 {
		b = le.AppendUint64(b, k.code)
		b = le.AppendUint32(b, uint32(k.widths))
	}
	width := k.digest + offsetSize
	b = le.AppendUint32(b, uint32(width))
	return le.AppendUint64(b, uint64(k.n)*uint64(width))
}

// census counts the records by their kinds, which follow each other in ix.
func census(ix Index) (kinds []bareRun, codes int, err error) {
	first := -1 // kind of the code at hand
	for r, err := range ix.All() {
		if err != nil {
			return nil, 0, err
		}
		code, name, ok := split(r.Multihash)
		if !ok {
			return nil, 0, fmt.Errorf("%w: %x is no multihash", ErrRecord, []byte(r.Multihash))
		}
		digest := len(name)
		last := len(kinds) - 1
		if last >= 0 && kinds[last].code == code && kinds[last].digest == digest {
			kinds[last].n++
			continue
		}
		if first < 0 || kinds[first].code != code {
			first = len(kinds)
			codes++
		}
		kinds = append(kinds, bareRun{code: code, digest: digest, n: 1})
		kinds[first].widths++
	}
	return kinds, codes, nil
}
