package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

// piecesVersion is that of the index of pieces. A catalogue of an earlier one,
// or without any, has it made anew when it is opened.
const piecesVersion = 1

// pieceSubject is what a piece is found by: the root of its tree, which both
// forms of its CID have, or for any other CID its multihash. "" is none.
func pieceSubject(key shard.Key, claimed cid.Cid) string {
	if !claimed.Defined() {
		claimed = PieceOfKey(key)
	}
	subject := subjectOf(claimed)
	if len(subject) > math.MaxUint8 {
		return ""
	}
	return subject
}

func subjectOf(c cid.Cid) string {
	if id, ok := piece.Parse(c); ok {
		return string(id.Root[:])
	}
	if !c.Defined() {
		return ""
	}
	return string(c.Hash())
}

// PieceOfKey is the piece CID that a key is, or undefined.
func PieceOfKey(key shard.Key) cid.Cid {
	const shortest, longest = 60, 80 // of such a CID in base32
	if len(key) < shortest || len(key) > longest || key[0] != 'b' {
		return cid.Undef
	}
	c, err := cid.Decode(string(key))
	if err != nil {
		return cid.Undef
	}
	if _, ok := piece.Parse(c); !ok {
		return cid.Undef
	}
	return c
}

// pieceOf returns the subject of the piece of a record, of which body is the
// value without its checksum.
func pieceOf(key shard.Key, body []byte) (string, error) {
	d := decoder{rest: body[headSize:]}
	for len(d.rest) > 0 {
		tag := d.byte()
		field := d.bytes()
		if d.err != nil {
			return "", d.err
		}
		if tag > tagPiece {
			break
		}
		if tag == tagPiece {
			c, err := castCID(field)
			return pieceSubject(key, c), err
		}
	}
	return pieceSubject(key, cid.Undef), nil
}

// pieceKey is of a shard that claims a piece; of no shard, what all of them
// begin with.
func pieceKey(subject string, key shard.Key) []byte {
	k := append([]byte{spacePiece, byte(len(subject))}, subject...)
	return append(k, key...)
}

// Pieces implements [Catalog].
func (e *Embedded) Pieces(ctx context.Context, c cid.Cid) iter.Seq2[shard.Key, error] {
	subject := subjectOf(c)
	if subject == "" || len(subject) > math.MaxUint8 {
		return func(func(shard.Key, error) bool) {}
	}
	lower := pieceKey(subject, "")
	return scan(ctx, e, lower, after(lower), func(_, value []byte) (shard.Key, error) {
		return shard.Key(value), nil
	})
}

// followPiece keeps the index of pieces in step with the record of key.
func (s *stage) followPiece(key shard.Key, old, new string) error {
	if old == new {
		return nil
	}
	var errs [2]error
	if old != "" {
		errs[0] = s.batch.Delete(pieceKey(old, key), nil)
	}
	if new != "" {
		errs[1] = s.batch.Set(pieceKey(new, key), []byte(key), nil)
	}
	return errors.Join(errs[:]...)
}

// piecesKnown is the entry that says that the index of pieces is whole.
func piecesKnown() (key, value []byte) {
	value = appendSum([]byte{piecesVersion}, 0)
	return []byte{spacePiece}, value
}

// loadPieces makes the index of pieces unless it is there. What it had made
// when it was cut off is made again.
func (e *Embedded) loadPieces() error {
	mark, known := piecesKnown()
	value, closer, err := e.db.Get(mark)
	switch {
	case err == nil:
		whole, later := bytes.Equal(value, known), len(value) > 0 && value[0] > piecesVersion
		if err := closer.Close(); err != nil || whole {
			return err
		}
		if later {
			return fmt.Errorf("%w: index of pieces", ErrVersion)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	batch := e.db.NewBatch()
	if err := batch.DeleteRange([]byte{spacePiece}, after([]byte{spacePiece}), nil); err != nil {
		return errors.Join(err, batch.Close())
	}
	if batch, err = e.collectPieces(batch); err != nil {
		if batch != nil {
			err = errors.Join(err, batch.Close())
		}
		return err
	}
	if err := batch.Set(mark, known, nil); err != nil {
		return errors.Join(err, batch.Close())
	}
	return e.write(batch)
}

// collectPieces reads all records and adds their pieces to batch, which it
// writes and replaces when it has grown. It returns the batch of the moment, with
// an error too, unless that was refused.
func (e *Embedded) collectPieces(batch *pebble.Batch) (_ *pebble.Batch, err error) {
	const most = 1 << 20
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceRecord}, UpperBound: after([]byte{spaceRecord})})
	if err != nil {
		return batch, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	s := stage{e: e, batch: batch}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return s.batch, err
		}
		key := shard.Key(it.Key()[1:])
		h, err := decodeHead(key, value)
		if err != nil || h.piece == "" {
			continue // a damaged one gets there when it is replaced
		}
		if err := s.followPiece(key, "", h.piece); err != nil {
			return s.batch, err
		}
		if s.batch.Len() > most {
			if err := e.write(s.batch); err != nil {
				return nil, err
			}
			s.batch = e.db.NewBatch()
		}
	}
	return s.batch, it.Error()
}

// appendPieceTime appends when the bytes were last held against the piece.
func appendPieceTime(dst []byte, r *Record) []byte {
	if r.PieceAt.IsZero() || !r.Piece.Defined() {
		return dst
	}
	return appendTimeField(dst, tagPieceAt, r.PieceAt)
}
