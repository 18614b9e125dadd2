package catalog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/shard"
)

func pieceNumbered(n int) cid.Cid {
	var root [32]byte
	root[0], root[1] = byte(n), byte(n>>8)
	return piece.V2(root, 1000)
}

// TestPiecesOfOlderCatalogue: one that was written before there was an index
// of pieces gets it when it is opened, also where a record is damaged.
func TestPiecesOfOlderCatalogue(t *testing.T) {
	const n = 3000
	dir := t.TempDir()
	ctx := t.Context()
	e, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := &Batch{}
	for i := range n {
		r := &Record{Key: shard.Key(fmt.Sprintf("k%04d", i)), Revision: 1, State: shard.Registered, URL: "file:///x"}
		if i%3 == 0 {
			r.Piece = pieceNumbered(i)
		}
		b.Puts = append(b.Puts, Put{Record: r})
	}
	named := shard.Key(pieceNumbered(n).String())
	b.Puts = append(b.Puts, Put{Record: &Record{Key: named, Revision: 1, State: shard.Registered, URL: "file:///x"}})
	if err := e.Apply(ctx, b); err != nil {
		t.Fatal(err)
	}
	// As an older program left it, and with a record that nobody can read.
	if err := errors.Join(
		e.db.DeleteRange([]byte{spacePiece}, after([]byte{spacePiece}), pebble.Sync),
		e.db.Set(recordKey("k0000"), []byte("damage"), pebble.Sync),
		e.Close(ctx),
	); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"without an index", "with an index"} {
		if e, err = Open(ctx, Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want := 0
			if i%3 == 0 && i > 0 {
				want = 1
			}
			if got := claimants(t, e, pieceNumbered(i)); len(got) != want || want == 1 && got[0] != shard.Key(fmt.Sprintf("k%04d", i)) {
				t.Fatalf("%s: piece %d is claimed by %q", how, i, got)
			}
		}
		if got := claimants(t, e, pieceNumbered(n)); len(got) != 1 || got[0] != named {
			t.Errorf("%s: a key that is a piece: %q", how, got)
		}
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func claimants(t *testing.T, e *Embedded, c cid.Cid) (keys []shard.Key) {
	t.Helper()
	for key, err := range e.Pieces(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// TestPiecesOfLaterCatalogue: an index of a later version is not touched.
func TestPiecesOfLaterCatalogue(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	e, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		e.db.Set([]byte{spacePiece}, appendSum([]byte{piecesVersion + 1}, 0), pebble.Sync),
		e.Close(ctx),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Config{Dir: dir}); !errors.Is(err, ErrVersion) {
		t.Errorf("opened: %v", err)
	}
}
