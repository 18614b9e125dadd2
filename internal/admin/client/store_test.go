package client

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// answering is a client of a server that gives these answers.
func answering(t *testing.T, answer func(*http.Request) any) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(answer(r))
	}))
	t.Cleanup(server.Close)
	c := New(HTTP(server.URL, ""))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestShardsTwice: each loop over the shards begins with the first page.
func TestShardsTwice(t *testing.T) {
	c := answering(t, func(r *http.Request) any {
		if r.URL.Query().Get("after") == "" {
			return wire.Page{Next: "a", Damaged: []wire.Damaged{{Key: "a"}}}
		}
		return wire.Page{Damaged: []wire.Damaged{{Key: "b"}}}
	})
	shards := c.Shards(t.Context(), nil)
	for i := range 2 {
		n := 0
		for range shards {
			n++
		}
		if n != 2 {
			t.Errorf("loop %d: %d shards", i, n)
		}
	}
}

// TestFindOfMany: what is left out of an answer is not passed over in silence.
func TestFindOfMany(t *testing.T) {
	c := answering(t, func(*http.Request) any {
		return wire.Locations{Locations: make([]wire.Location, 1), More: true}
	})
	id := cid.MustParse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	n, failed := 0, error(nil)
	for _, err := range c.Find(t.Context(), id) {
		if n++; err != nil {
			failed = err
		}
	}
	if n != 2 || failed == nil {
		t.Errorf("%d, %v", n, failed)
	}
}
