package carindex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/ipfs/go-cid"
	carindex "github.com/ipld/go-car/v2/index"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// View shows ix as go-car's index. It copies nothing and may be used by as many
// goroutines as ix; it is good for as long as ix is.
//
// It finds blocks by multihash, as go-car's own MultihashIndexSorted does and
// under the same codec, gives go-car's ErrNotFound for what is not there, and
// iterates in the order of ix. Marshal streams what go-car would have written.
// Load and Unmarshal, which would change it, give [errors.ErrUnsupported].
func View(ix index.Index) carindex.IterableIndex { return view{ix} }

type view struct{ ix index.Index }

// Codec implements go-car's Index.
func (v view) Codec() multicodec.Code { return multicodec.CarMultihashIndexSorted }

// GetAll implements go-car's Index.
func (v view) GetAll(c cid.Cid, each func(offset uint64) bool) error {
	found, err := v.ix.Find(nil, c.Hash(), 0)
	if err != nil {
		return err
	}
	for _, p := range found {
		if !each(uint64(p.Offset)) {
			break
		}
	}
	if len(found) == 0 {
		return carindex.ErrNotFound
	}
	return nil
}

// ForEach implements go-car's IterableIndex. A multihash is the callee's to keep.
func (v view) ForEach(each func(mh multihash.Multihash, offset uint64) error) error {
	for r, err := range v.ix.All() {
		if err != nil {
			return err
		}
		if err := each(slices.Clone(r.Multihash), uint64(r.Offset)); err != nil {
			return err
		}
	}
	return nil
}

// Marshal implements go-car's Index.
func (v view) Marshal(w io.Writer) (uint64, error) {
	out := &body{w: w}
	err := index.WriteBare(out, v.ix)
	return out.n, err
}

// body passes on all but the codec, which in go-car is not the index's to write.
type body struct {
	w    io.Writer
	head int    // bytes of the codec that were passed over
	n    uint64 // bytes written
}

const codecSize = 2

func (b *body) Write(p []byte) (int, error) {
	skip := min(codecSize-b.head, len(p))
	b.head += skip
	n, err := b.w.Write(p[skip:])
	b.n += uint64(n)
	return skip + n, err
}

// Unmarshal implements go-car's Index: it cannot be done.
func (v view) Unmarshal(io.Reader) error {
	return fmt.Errorf("carindex: a view cannot be read into: %w", errors.ErrUnsupported)
}

// Load implements go-car's Index: it cannot be done.
func (v view) Load([]carindex.Record) error {
	return fmt.Errorf("carindex: a view cannot be loaded: %w", errors.ErrUnsupported)
}

// Records yields the entries of an index of go-car's, in its order, for
// [index.Write]. Their positions have neither size nor head. Its
// MultihashIndexSorted and its InsertionIndex are such. An entry with an offset
// that no file has ends it with an error, as does an error of the index; then
// nothing more is yielded.
func Records(ix carindex.IterableIndex) iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		stopped := false
		err := ix.ForEach(func(mh multihash.Multihash, offset uint64) error {
			if offset > math.MaxInt64 {
				return fmt.Errorf("carindex: %w: offset %d", index.ErrRecord, offset)
			}
			r := index.Record{Multihash: mh, Position: index.Position{Offset: int64(offset), Size: -1}}
			if !yield(r, nil) {
				stopped = true
				return errStopped
			}
			return nil
		})
		if err != nil && !stopped {
			yield(index.Record{}, err)
		}
	}
}

var errStopped = errors.New("carindex: iteration stopped")

// Digests reads go-car's IndexSorted, which does not say of which hash
// functions its entries are. It holds a copy of it in memory. For an index of
// another kind the error wraps [index.ErrDamaged].
func Digests(ix carindex.Index) (*index.Digests, error) {
	var buf bytes.Buffer
	if _, err := carindex.WriteTo(ix, &buf); err != nil {
		return nil, err
	}
	return index.NewDigests(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
}

// Load makes an index of go-car's own of what ix lists, in memory: a
// MultihashIndexSorted or an IndexSorted, as codec says. For other codecs the
// error is that of go-car's New. [index.WriteBare] writes the former to a file
// without a copy in memory.
func Load(ix index.Index, codec multicodec.Code) (carindex.Index, error) {
	out, err := carindex.New(codec)
	if err != nil {
		return nil, err
	}
	records := make([]carindex.Record, 0, ix.Len())
	for r, err := range ix.All() {
		if err != nil {
			return nil, err
		}
		records = append(records, carindex.Record{Cid: rawCID(r.Multihash), Offset: uint64(r.Offset)})
	}
	return out, out.Load(records)
}

// Insertion makes an InsertionIndex of what ix lists, in memory: the kind in
// which go-car gathers what is being written. Its CIDs are raw ones, since an
// index does not know codecs.
func Insertion(ix index.Index) (*carindex.InsertionIndex, error) {
	out := carindex.NewInsertionIndex()
	for r, err := range ix.All() {
		if err != nil {
			return nil, err
		}
		out.InsertNoReplace(rawCID(r.Multihash), uint64(r.Offset))
	}
	return out, nil
}

func rawCID(mh multihash.Multihash) cid.Cid { return cid.NewCidV1(cid.Raw, slices.Clone(mh)) }
