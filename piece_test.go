package dagstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// pieceStore opens a store over CARs in memory.
func pieceStore(t *testing.T, dir string, cars *memmount.Set) *Store {
	t.Helper()
	store, err := Open(t.Context(), dir, &Config{Mounts: mount.Registry{"mem": cars.Open}})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// commP is the piece CID of bytes, of either version.
func commP(t *testing.T, data []byte) (v1, v2 cid.Cid) {
	t.Helper()
	sum, err := piece.Of(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	root, _ := sum.Root()
	v2 = piece.V2(root, sum.Size())
	id, ok := piece.Parse(v2)
	if !ok {
		t.Fatal(v2)
	}
	return id.V1(), v2
}

func claimants(t *testing.T, store *Store, c cid.Cid) (keys []shard.Key) {
	t.Helper()
	for info, err := range store.FindPiece(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func TestPieces(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir() + "/store"
	cars := new(memmount.Set)
	store := pieceStore(t, dir, cars)
	one, two := cartest.RandomV1(1, 40, 300), cartest.RandomV1(2, 20, 300)
	if len(two) >= len(one) {
		t.Fatal("the second CAR is not shorter")
	}
	v1, v2 := commP(t, one)
	other1, other2 := commP(t, two)
	register := func(key shard.Key, car []byte, claim cid.Cid, lazy bool) {
		t.Helper()
		if err := store.Register(ctx, key, cars.Put(string(key), car), &RegisterOptions{Piece: claim, Lazy: lazy}); err != nil {
			t.Fatal(err)
		}
	}
	register("claims-1", one, v1, false)
	register("claims-2", one, v2, true)
	register("lies", two, v1, false)
	register("claims-none", two, cid.Undef, false)
	register(shard.Key(other2.String()), two, cid.Undef, false)

	id, _ := piece.Parse(v2)
	shorter := piece.V2(id.Root, id.Size-1)
	for name, c := range map[string]struct {
		cid  cid.Cid
		want []shard.Key
	}{
		"v1":         {v1, []shard.Key{"claims-1", "claims-2", "lies"}},
		"v2":         {v2, []shard.Key{"claims-1", "claims-2", "lies"}},
		"shorter v2": {shorter, []shard.Key{"claims-2", "lies"}}, // nobody knows yet how long the first is
		"a key":      {other1, []shard.Key{shard.Key(other2.String())}},
		"no piece":   {cartest.Raw([]byte("x")).CID, nil},
	} {
		if got := claimants(t, store, c.cid); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	check := func(key shard.Key, good bool, found cid.Cid) {
		t.Helper()
		got, err := store.CheckPiece(ctx, key)
		if err != nil || got.Good != good || !got.Found.Equals(found) {
			t.Errorf("%s: %+v, %v", key, got, err)
		}
		info, err := store.Info(ctx, key)
		if err != nil || info.PieceChecked.IsZero() == good {
			t.Errorf("%s: checked at %v, %v", key, info.PieceChecked, err)
		}
	}
	check("claims-1", true, v2)
	check("claims-2", true, v2)
	check("lies", false, other2)
	check("claims-none", true, other2)
	check(shard.Key(other2.String()), true, other2)
	if got := claimants(t, store, other1); !slices.Equal(got, []shard.Key{shard.Key(other2.String()), "claims-none"}) {
		t.Errorf("after the check: %q", got)
	}

	// It survives, and goes with the revision that it was about.
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if store = pieceStore(t, dir, cars); len(claimants(t, store, other1)) != 2 {
		t.Error("the pieces did not survive")
	}
	info, err := store.Info(ctx, "claims-none")
	if err != nil || info.PieceChecked.IsZero() || !info.Piece.Equals(other2) {
		t.Errorf("%+v, %v", info, err)
	}
	if err := store.Replace(ctx, "claims-none", cars.Put("claims-none", one), nil); err != nil {
		t.Fatal(err)
	}
	if info, err = store.Info(ctx, "claims-none"); err != nil || !info.PieceChecked.IsZero() || info.Piece.Defined() {
		t.Errorf("after a replacement: %v, %v, %v", info.Piece, info.PieceChecked, err)
	}
	if err := store.Destroy(ctx, "claims-1", nil); err != nil {
		t.Fatal(err)
	}
	if got := claimants(t, store, v1); slices.Contains(got, "claims-1") {
		t.Errorf("after its destruction: %q", got)
	}
	if _, err := store.CheckPiece(ctx, "nobody"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("of no shard: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range store.FindPiece(context.Background(), v1) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("of a closed store: %v", err)
		}
	}
}
