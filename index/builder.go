package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/extsort"
)

// defaultMemory sorts some two million records without spilling any.
const defaultMemory = 128 << 20

// WriteOptions may be nil.
type WriteOptions struct {
	Memory int64  // bytes to sort in; default 128 MiB, at least 64 KiB
	Spill  string // folder for sorted runs; default os.TempDir()
	Bare   bool   // write a MultihashIndexSorted and no more

	// Stop, if not nil, is asked now and then while [Builder.Add] spills, which
	// may take a second. Its error becomes that of Add. [Builder.WriteTo] has a
	// context for that.
	Stop func() error
}

// Stats says what was written.
type Stats struct {
	Records     int64  // in the file: as many as were added, but for identity
	Multihashes int64  // different ones, identity included
	Length      int64  // of the file
	CRC         uint32 // see [File.CRC]
}

// A Builder makes an index file of records that come in any order, in bounded
// memory: what does not fit is sorted, spilled and merged. Beside the budget
// of [WriteOptions] it takes some 2 MiB, and less than a byte for each
// record. A Builder is for one goroutine and one file.
type Builder struct {
	opts  WriteOptions
	pool  *extsort.Pool
	kinds map[kind]*rows
	last  *rows // of the record before: most often of this one, too
	spent bool
}

// A kind of multihash has a run of its own in the file.
type kind struct {
	code   uint64
	digest int
}

// rows are the records of one kind. A row is the digest, the offset and the
// size big-endian, and the head: in the order of their bytes records have the
// order of the file, definite to the last field.
type rows struct {
	kind
	*extsort.Sorter
	sized bool // a size or a head was given
}

const rowTail = offsetSize + lengthsSize

// NewBuilder returns a Builder with opts, which may be nil. It must be closed.
func NewBuilder(opts *WriteOptions) *Builder {
	b := &Builder{kinds: map[kind]*rows{}}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.Memory <= 0 {
		b.opts.Memory = defaultMemory
	}
	b.pool = extsort.NewPool(b.opts.Memory-b.opts.Memory/lengthsPart, b.opts.Spill)
	b.pool.Stop = b.opts.Stop
	return b
}

// Add takes one record. It keeps nothing of mh. Identity multihashes are given
// to it like any other: they are counted, and not written. A size below 0 or
// over 4 GiB, and a head over 255 bytes, are stored as not known. The error
// wraps [ErrRecord], and the Builder can go on without that record; or it is
// that of spilling, and the Builder cannot be used any more.
func (b *Builder) Add(mh multihash.Multihash, pos Position) error {
	code, digest, ok := split(mh)
	if !ok {
		return fmt.Errorf("%w: %x is no multihash", ErrRecord, []byte(mh))
	}
	if pos.Offset < 0 {
		return fmt.Errorf("%w: offset %d", ErrRecord, pos.Offset)
	}
	r := b.last
	if r == nil || r.code != code || r.digest != len(digest) {
		var err error
		if r, err = b.rows(kind{code, len(digest)}); err != nil {
			return err
		}
		b.last = r
	}
	first := byte(0)
	if len(digest) > 0 {
		first = digest[0]
	}
	row, err := r.Row(first)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	size, head := uint32(noSize), byte(0)
	if pos.Size >= 0 && pos.Size < noSize {
		size, r.sized = uint32(pos.Size), true
	}
	if pos.Head > 0 && pos.Head <= 255 {
		head, r.sized = byte(pos.Head), true
	}
	tail := row[copy(row, digest):]
	binary.BigEndian.PutUint64(tail, uint64(pos.Offset))
	binary.BigEndian.PutUint32(tail[offsetSize:], size)
	tail[offsetSize+4] = head
	return nil
}

// rows returns the rows of a kind.
func (b *Builder) rows(k kind) (*rows, error) {
	if r := b.kinds[k]; r != nil {
		return r, nil
	}
	switch {
	case b.spent:
		return nil, ErrSpent
	case k.digest == 0 && k.code != multihash.IDENTITY:
		return nil, fmt.Errorf("%w: a digest of 0 bytes", ErrRecord)
	case k.digest > maxDigest:
		return nil, fmt.Errorf("%w: a digest of %d bytes, the most is %d", ErrRecord, k.digest, maxDigest)
	case len(b.kinds) == maxRuns:
		return nil, fmt.Errorf("%w: it is of the %dth kind of multihash", ErrRecord, maxRuns+1)
	}
	s, err := b.pool.Sorter(k.digest + rowTail)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	r := &rows{kind: k, Sorter: s}
	b.kinds[k] = r
	return r, nil
}

// WriteTo sorts the records and writes the file to w. identity is what
// [File.Identity] gives back: something to recognise the CAR by. It does not
// sync, name or place the file; after an error, part of it may have been
// written. The Builder is spent afterwards.
func (b *Builder) WriteTo(ctx context.Context, w io.Writer, identity [16]byte) (Stats, error) {
	if b.spent {
		return Stats{}, ErrSpent
	}
	b.spent = true
	groups := slices.SortedFunc(maps.Values(b.kinds), func(x, y *rows) int {
		return cmp.Or(cmp.Compare(x.code, y.code), cmp.Compare(x.digest, y.digest))
	})
	b.kinds, b.last = nil, nil
	wr := newWriter(w, b, groups)
	defer wr.lengths.close()
	stats, err := wr.write(ctx, groups, identity)
	if err != nil {
		return Stats{}, fmt.Errorf("index: write: %w", err)
	}
	return stats, nil
}

// Close removes what was spilled. A second Close does nothing.
func (b *Builder) Close() error {
	b.spent, b.kinds, b.last = true, nil, nil
	return b.pool.Close()
}

// Write sorts recs and writes an index file to w, in bounded memory. It does
// not sync, name or place the file: that is its caller's. It stops at the
// first error of recs, which it returns as it is, and when ctx ends.
func Write(ctx context.Context, w io.Writer, recs iter.Seq2[Record, error], opts *WriteOptions) (err error) {
	b := NewBuilder(opts)
	defer func() {
		if closeErr := b.Close(); err == nil {
			err = closeErr
		}
	}()
	n := 0
	for r, err := range recs {
		if err == nil {
			err = b.Add(r.Multihash, r.Position)
		}
		if n++; err == nil && n%4096 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	_, err = b.WriteTo(ctx, w, [16]byte{})
	return err
}
