package admin

import (
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// getPiece says which shards are a piece.
func (s *Server) getPiece(c *call) error {
	id, err := c.cid()
	if err != nil {
		return err
	}
	page := wire.Page{Shards: []wire.Detail{}}
	for info, err := range s.store.FindPiece(c.r.Context(), id) {
		if err != nil {
			return err
		}
		page.Looked++
		page.Shards = append(page.Shards, wire.DetailOf(info))
		if len(page.Shards) == mostPage { // of one piece nobody has so many
			break
		}
	}
	return c.answer(page)
}

// postPiece reads the source of a shard and says which piece it is.
func (s *Server) postPiece(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	check, err := s.store.CheckPiece(c.r.Context(), key)
	if err != nil {
		return err
	}
	return c.answer(wire.PieceCheckOf(check))
}
