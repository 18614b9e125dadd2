package page_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/shard"
)

// TestManyShards uses the table over a store of very many lazy shards: the first
// page, the last of a search that finds one, and one that finds none. How many
// there are is for the long form: a million.
func TestManyShards(t *testing.T) {
	n := longtest.Runs(20_000, 1_000_000)
	w := newWorld(t)
	began := time.Now()
	m := w.set.Put("one.car", []byte("never read"))
	var workers sync.WaitGroup
	for at := range 256 {
		workers.Go(func() {
			for i := at; i < n && !t.Failed(); i += 256 {
				if err := w.store.Register(t.Context(), shard.Key(fmt.Sprintf("deep/%03d/%07d.car", i%1000, i)), m, &dagstore.RegisterOptions{Lazy: true}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	longtest.Figure(t, "registered in %v", time.Since(began).Round(time.Millisecond))
	tb := w.tab()
	tb.size(1280, 900)
	for _, look := range []struct{ name, hash, until string }{
		{"first page", "#/shards", "document.querySelectorAll('tbody tr').length === 50 && !document.querySelector('[aria-busy]')"},
		{"by prefix", fmt.Sprintf("#/shards?prefix=%s", "deep%2F500"), "document.querySelectorAll('tbody tr').length > 15 && !document.querySelector('[aria-busy]')"},
		{"one in all", fmt.Sprintf("#/shards?search=%07d", n-1), "document.querySelectorAll('tbody .key').length === 1 && !document.querySelector('[aria-busy]')"},
		{"none in all", "#/shards?search=nowhere", "document.querySelector('tbody').innerText.includes('No shard is like that')"},
	} {
		tb.view("#/jobs")
		tb.shows("h1", "Jobs")
		began := time.Now()
		tb.view(look.hash)
		tb.wait(look.until)
		longtest.Figure(t, "%s of %d in %v", look.name, n, time.Since(began).Round(time.Millisecond))
	}
	tb.shot("million")
}
