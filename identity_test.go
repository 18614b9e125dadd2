package dagstore

import (
	"strings"
	"testing"

	"github.com/multiformats/go-multihash"
)

// TestPeerID: it is that of an Ed25519 key, stays with the store, and is no
// other store's.
func TestPeerID(t *testing.T) {
	dir := t.TempDir()
	ids := make(map[string]int)
	for _, name := range []string{"one", "two", "one"} {
		store, err := Open(t.Context(), dir+"/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := store.PeerID()
		ids[id]++
		hash, err := multihash.FromB58String(id)
		if err != nil || len(hash) != 38 || !strings.HasPrefix(id, "12D3KooW") {
			t.Errorf("%s: %d bytes, %v", id, len(hash), err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 2 {
		t.Errorf("%v", ids)
	}
}
