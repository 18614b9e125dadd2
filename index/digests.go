package index

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// A Format is how an index is written down.
type Format uint8

// The formats of the field.
const (
	UnknownFormat   Format = iota
	MultihashSorted        // go-car's MultihashIndexSorted, multicodec 0x0401: for [NewFile], with our trailer or without
	DigestsSorted          // go-car's IndexSorted, multicodec 0x0400: for [NewDigests]
)

// String returns the name of the format in the CARv2 specification.
func (f Format) String() string {
	switch f {
	case MultihashSorted:
		return "MultihashIndexSorted"
	case DigestsSorted:
		return "IndexSorted"
	default:
		return "unknown"
	}
}

// FormatOf tells the format of the index at the beginning of r. That it begins
// like one does not make it one. It fails only if r does; a source that ends at
// once is of an unknown format.
func FormatOf(r io.ReaderAt) (Format, error) {
	var head [codecSize]byte
	switch n, err := r.ReadAt(head[:], 0); {
	case n == len(head):
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return UnknownFormat, nil
	default:
		return UnknownFormat, err
	}
	switch head {
	case [...]byte{0x81, 0x08}:
		return MultihashSorted, nil
	case sortedCodec:
		return DigestsSorted, nil
	default:
		return UnknownFormat, nil
	}
}

// sortedCodec is the multicodec car-index-sorted as a varint.
var sortedCodec = [codecSize]byte{0x80, 0x08}

// A Digest is an entry of an index that does not say of which hash function
// it is.
type Digest struct {
	Digest []byte
	Offset int64 // of the section in the CARv1 payload
}

// Digests is an index that knows digests and no multihashes: go-car's
// IndexSorted, the first format of CARv2. It is no [Index], since SHA-256 and
// BLAKE2b-256 look alike in it. It has no checksums. It may be used by many
// goroutines at once.
type Digests struct{ file File }

// noCode stands for the code that nobody knows. It is that of no hash function:
// a multicodec has at most nine bytes as a varint.
const noCode = 1<<64 - 1

// NewDigests reads an IndexSorted of size bytes from r, which stays the
// caller's to close. It reads the heads of its runs alone, and allocates for
// what is there, never for what is claimed. The errors are those of [NewFile].
func NewDigests(r io.ReaderAt, size int64) (*Digests, error) {
	d := &Digests{File{src: source{r: r, size: size}, bare: true}}
	p := parser{src: &d.file.src, end: size}
	if codec := p.bytes(codecSize); p.err == nil && !bytes.Equal(codec, sortedCodec[:]) {
		return nil, damaged(0, "codec % x is not that of an IndexSorted", codec)
	}
	p.runsOf(noCode, p.count("widths"))
	if p.err == nil && p.off != size {
		p.fail(p.off, "the records end here, and not at %d", size)
	}
	if p.err != nil {
		return nil, p.err
	}
	return d, d.file.place(p.runs)
}

// All yields every entry once, by rising length of the digest, digest, offset.
// After an error, which wraps [ErrDamaged], it yields nothing more. A Digest's
// bytes are valid until the next one, and must not be changed.
func (d *Digests) All() iter.Seq2[Digest, error] {
	return func(yield func(Digest, error) bool) {
		err := d.file.each(func(r *run, rec Record) error {
			if !yield(Digest{rec.Multihash[len(rec.Multihash)-r.digest:], rec.Offset}, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Digest{}, err)
		}
	}
}

// Len is the number of entries.
func (d *Digests) Len() int64 { return d.file.records }
