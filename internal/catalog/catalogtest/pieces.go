package catalogtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

// claims checks which shards are found by a piece CID.
func (s *suite) claims(c cid.Cid, want ...shard.Key) error {
	var have []shard.Key
	for key, err := range s.c.Pieces(s.ctx, c) {
		if err != nil {
			return err
		}
		have = append(have, key)
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("the piece %s is claimed by %q, want %q", c, have, want)
	}
	return nil
}

func (s *suite) pieces() error {
	var root, another [32]byte
	root[0], another[0] = 1, 2
	v2 := piece.V2(root, 1000)
	longer, other := piece.V2(root, 1001), piece.V2(another, 1000)
	id, _ := piece.Parse(v2)
	v1 := id.V1()
	raw := Block("no piece of Filecoin")

	a, b, named := Lazy("law8p/a"), Lazy("law8p/b"), Lazy(shard.Key(other.String()))
	a.Piece, b.Piece = v1, v2
	if err := errors.Join(
		s.put(0, b, a, named, Lazy("law8p/none")),
		s.claims(v1, a.Key, b.Key), s.claims(v2, a.Key, b.Key), s.claims(longer, a.Key, b.Key),
		s.claims(other, named.Key), s.claims(raw), s.claims(cid.Undef),
	); err != nil {
		return err
	}
	same, moved, without := Next(a), Next(Next(a)), Next(Next(Next(a)))
	moved.Piece, without.Piece = raw, cid.Undef
	if err := errors.Join(
		s.put(1, same), s.claims(v1, a.Key, b.Key),
		s.put(2, moved), s.claims(v1, b.Key), s.claims(raw, a.Key),
		s.reopen(), s.claims(v1, b.Key), s.claims(raw, a.Key),
		s.put(3, without), s.claims(raw), s.claims(v2, b.Key),
	); err != nil {
		return err
	}
	err := s.c.Apply(s.ctx, &catalog.Batch{Deletes: []catalog.Delete{{Key: b.Key, Expect: 1}, {Key: named.Key, Expect: catalog.AnyRevision}}})
	return errors.Join(err, s.claims(v1), s.claims(other))
}
