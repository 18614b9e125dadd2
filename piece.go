package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

// FindPiece yields the shards whose source is the piece c of Filecoin, as far
// as is known: as was claimed at registration, or as the key says that is a
// piece CID; see PieceChecked of [shard.Info]. A piece CID of version 1
// (baga...) and one of version 2 (bafkzcib..., FRC-0069) with the same root find
// the same shards, but for those whose source is longer than c says. Any other
// CID finds the shards that claim just it. It reads no source. Nothing found is no error.
func (s *Store) FindPiece(ctx context.Context, c cid.Cid) iter.Seq2[shard.Info, error] {
	return func(yield func(shard.Info, error) bool) {
		if s.closed.Load() {
			yield(shard.Info{}, ErrClosed)
			return
		}
		id, known := piece.Parse(c)
		for key, err := range s.parts.catalog.Pieces(ctx, c) {
			if err != nil {
				yield(shard.Info{}, outward(err))
				return
			}
			info, err := s.Info(ctx, key)
			switch {
			case errors.Is(err, shard.ErrUnknown):
				continue // removed meanwhile
			case err == nil && known && id.Size >= 0 && info.Bytes > id.Size:
				continue // the same root over fewer bytes: one of the two is no piece
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// A PieceCheck is what a source was found to be.
type PieceCheck struct {
	Claimed cid.Cid // the piece CID that the shard claims; undefined if none
	Found   cid.Cid // that of its bytes, of version 2
	Good    bool    // they are one piece, or nothing was claimed
}

// CheckPiece reads the whole source of a shard and computes the piece
// commitment (CommP) of its bytes. If that is the piece that the shard claims,
// with zeros behind the bytes where that is larger, this is remembered, as
// PieceChecked of [shard.Info]. A shard that claims none has the piece CID
// that was found from then on. Otherwise nothing changes. The error wraps what
// [Store.Acquire] and reading may give, and [shard.ErrChanged] if the shard was
// given another revision meanwhile.
func (s *Store) CheckPiece(ctx context.Context, key shard.Key) (_ PieceCheck, err error) {
	acc, err := s.Acquire(ctx, key, nil)
	if err != nil {
		return PieceCheck{}, err
	}
	defer func() { err = errors.Join(err, acc.Close()) }()
	info, err := s.Info(ctx, key)
	if err != nil {
		return PieceCheck{}, err
	}
	var sum piece.Sum
	if _, err := io.Copy(&sum, acc.CAR(ctx)); err != nil {
		return PieceCheck{}, err
	}
	root, _ := sum.Root()
	out := PieceCheck{Claimed: info.Piece, Found: piece.V2(root, sum.Size()), Good: true}
	if out.Claimed.Defined() {
		id, ok := piece.Parse(out.Claimed)
		if out.Good = ok && sum.Matches(id); !out.Good {
			return out, nil
		}
	}
	return out, s.pieceChecked(ctx, info, out.Found)
}

// pieceChecked remembers that the source of a shard, which was info, is a piece.
func (s *Store) pieceChecked(ctx context.Context, info shard.Info, found cid.Cid) error {
	changed := false
	revise := func(r *catalog.Record) bool {
		if claimOf(r) != info.Piece || r.Bytes != info.Bytes || r.SourceVersion != info.Source {
			changed = true
			return false
		}
		if !r.Piece.Defined() {
			if r.Piece = info.Piece; !r.Piece.Defined() {
				r.Piece = found
			}
		}
		r.PieceAt = time.Now().UTC()
		return true
	}
	if _, err := s.engine.Wait(engine.NewPieceChecked(ctx, info.Key, revise, nil)); err != nil {
		return err
	}
	if changed {
		return &shard.Error{Key: info.Key, Op: shard.OpPiece, Err: fmt.Errorf("%w: it is of another revision now", shard.ErrChanged)}
	}
	return nil
}

// claimOf is the piece CID that a shard claims: at its registration, or by its key.
func claimOf(r *catalog.Record) cid.Cid {
	if r.Piece.Defined() {
		return r.Piece
	}
	return catalog.PieceOfKey(r.Key)
}
