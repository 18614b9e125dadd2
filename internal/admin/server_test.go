package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

func TestShards(t *testing.T) {
	r := newRig(t, nil)
	put := wire.Registration{Mount: r.car("a.car", "one", "two")}
	var d wire.Detail
	r.want(http.StatusCreated, "PUT", "/shards/a", put, &d)
	if d.Key != "a" || d.Status != "ready" || d.Sections != 2 {
		t.Errorf("%+v", d)
	}
	r.want(http.StatusOK, "PUT", "/shards/a", put, &d) // and again
	r.want(http.StatusConflict, "PUT", "/shards/a", wire.Registration{Mount: r.car("b.car", "three")}, nil)
	r.want(http.StatusAccepted, "PUT", "/shards/lazy?wait=false", wire.Registration{Mount: r.car("l.car", "l"), Lazy: true}, &d)
	r.want(http.StatusOK, "POST", "/shards/lazy/index", nil, &d)
	if d.Status != "ready" {
		t.Errorf("after indexing: %+v", d)
	}
	r.want(http.StatusOK, "POST", "/shards/a/pin", nil, &d)
	if !d.Pinned {
		t.Error("not pinned")
	}
	r.want(http.StatusOK, "POST", "/shards/a/unpin", nil, &d)
	r.want(http.StatusOK, "POST", "/shards/a/evict", wire.Eviction{}, &d)
	r.want(http.StatusOK, "POST", "/shards/a/recover", nil, &d)
	r.want(http.StatusOK, "POST", "/shards/a/remount", wire.Move{Mount: r.car("moved.car", "one", "two"), Check: "full"}, &d)
	if !strings.HasSuffix(d.Mount, "/moved.car") {
		t.Errorf("it lies at %s", d.Mount)
	}
	r.want(http.StatusOK, "POST", "/shards/a/replace", wire.Registration{Mount: r.car("new.car", "new"), Keep: true}, &d)
	if d.Sections != 1 || d.Pinned {
		t.Errorf("replaced by %+v", d)
	}
	r.poll("the events of a shard", func() bool {
		r.want(http.StatusOK, "GET", "/shards/a", nil, &d)
		return len(d.Events) > 0 && d.Events[0].Kind != ""
	})
	r.want(http.StatusNoContent, "DELETE", "/shards/a", nil, nil)
	r.want(http.StatusNotFound, "GET", "/shards/a", nil, nil)
	r.want(http.StatusNotFound, "DELETE", "/shards/a", nil, nil)
	r.want(http.StatusBadRequest, "DELETE", "/shards/lazy?held=maybe", nil, nil)
	r.want(http.StatusBadRequest, "PUT", "/shards/x", wire.Registration{}, nil)
	r.want(http.StatusBadRequest, "PUT", "/shards/x", wire.Registration{Mount: "gopher://x"}, nil)
}

// TestOddKeys: every key can be named.
func TestOddKeys(t *testing.T) {
	r := newRig(t, nil)
	for _, key := range []string{"a/b", "a//b", "/", "..", ".", "-", "a?b#c%2f", "日本", " ", strings.Repeat("k/", 512)} {
		segment := strings.ReplaceAll(url.PathEscape(key), "/", "%2F")
		if key == "." || key == ".." || key == "/" {
			segment = "-?key=" + url.QueryEscape(key)
		}
		var d wire.Detail
		r.want(http.StatusCreated, "PUT", "/shards/"+segment, wire.Registration{Mount: r.car("odd.car", "x"), Lazy: true}, &d)
		if d.Key != key {
			t.Errorf("put %q as %q", key, d.Key)
		}
		r.want(http.StatusOK, "GET", "/shards/"+segment, nil, &d)
		if d.Key != key {
			t.Errorf("got %q as %q", key, d.Key)
		}
	}
	r.want(http.StatusBadRequest, "GET", "/shards/"+strings.Repeat("k", 1025), nil, nil)
}

func TestListing(t *testing.T) {
	r := newRig(t, nil)
	for _, key := range []string{"a/1", "a/2", "b/1", "b/2", "b/3"} {
		r.register(key, key)
	}
	keys := func(query string) (keys []string, page wire.Page) {
		r.want(http.StatusOK, "GET", "/shards"+query, nil, &page)
		for _, d := range page.Shards {
			keys = append(keys, d.Key)
		}
		return keys, page
	}
	for query, want := range map[string]string{
		"":                   "a/1 a/2 b/1 b/2 b/3",
		"?prefix=b/":         "b/1 b/2 b/3",
		"?limit=2":           "a/1 a/2",
		"?limit=2&after=a/2": "b/1 b/2",
		"?search=A/":         "a/1 a/2",
		"?search=b_3.CAR":    "b/3", // in the URL
		"?match=2":           "a/2 b/2",
		"?match=b/*":         "b/1 b/2 b/3",
		"?status=failed":     "",
		"?state=available":   "a/1 a/2 b/1 b/2 b/3",
		"?host=x.example":    "",
	} {
		if got, _ := keys(query); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	if _, page := keys("?limit=2"); page.Next != "a/2" || page.Looked != 2 {
		t.Errorf("the page goes on at %q after %d", page.Next, page.Looked)
	}
	if _, page := keys("?limit=5"); page.Next != "" {
		t.Errorf("the last page goes on at %q", page.Next)
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?status=fine", "?state=gone!", "?match=[", "?after=%ff"} {
		r.want(http.StatusBadRequest, "GET", "/shards"+query, nil, nil)
	}
	_, text := r.do(r.local, ask{method: "GET", path: "/export?prefix=a/"})
	n := 0
	for e, err := range wire.ReadList(strings.NewReader(text)) {
		if err != nil || !strings.HasPrefix(e.Key, "a/") || e.Size == nil {
			t.Errorf("%+v, %v", e, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d lines, want 2: %s", n, text)
	}
}

func TestStore(t *testing.T) {
	r := newRig(t, nil)
	r.register("a", "x")
	var at wire.Store
	r.want(http.StatusOK, "GET", "/store", nil, &at)
	if at.API != wire.Version || at.PID == 0 || at.Who != "socket" || len(at.Scopes) != 3 {
		t.Errorf("%+v", at)
	}
	r.poll("one shard is counted", func() bool {
		var stats wire.Stats
		r.want(http.StatusOK, "GET", "/stats", nil, &stats)
		return stats.Total == 1 && stats.Status["ready"] == 1 && stats.Requests > 1
	})
	var hosts wire.Hosts
	r.want(http.StatusOK, "GET", "/hosts", nil, &hosts)
	var gc wire.GC
	r.want(http.StatusOK, "POST", "/gc", nil, &gc)
	r.want(http.StatusOK, "POST", "/reconcile", nil, nil)
	var kinds []wire.ProblemKind
	r.want(http.StatusOK, "GET", "/problems", nil, &kinds)
	for _, k := range kinds {
		var one wire.ProblemKind
		r.want(http.StatusOK, "GET", "/problems/"+k.Name, nil, &one)
		if one.Title != k.Title {
			t.Errorf("%s is told as %+v", k.Name, one)
		}
	}
	r.want(http.StatusNotFound, "GET", "/problems/none", nil, nil)
	response, text := r.do(r.local, ask{method: "GET", path: "/openapi.json"})
	if response.StatusCode != http.StatusOK || text != string(openAPI) {
		t.Errorf("openapi.json: %d, %d bytes", response.StatusCode, len(text))
	}
}

func TestNoRoute(t *testing.T) {
	r := newRig(t, nil)
	response, text := r.do(r.local, ask{method: "GET", path: "/nowhere"})
	if p := problem(t, text); response.StatusCode != http.StatusNotFound || p.Name() != "no-route" || p.Instance != prefix+"nowhere" {
		t.Errorf("%d, %+v", response.StatusCode, p)
	}
	response, text = r.do(r.local, ask{method: "POST", path: "/stats"})
	if p := problem(t, text); response.StatusCode != http.StatusMethodNotAllowed || p.Name() != "method" || response.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d, %+v, Allow: %s", response.StatusCode, p, response.Header.Get("Allow"))
	}
	if ct := response.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("a problem is sent as %s", ct)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t, nil)
	events, stop := r.listen("?kind=transition,gap", "")
	r.register("a", "x")
	first := r.next(events)
	if first.Kind != wire.EventTransition || first.Key != "a" || first.From != "gone" || first.ID == "" {
		t.Errorf("%+v", first)
	}
	second := r.next(events)
	stop()

	// Who comes back with an ID goes on behind it.
	again, stop := r.listen("?kind=transition,gap", first.ID)
	if e := r.next(again); e.ID != second.ID || e.To != second.To {
		t.Errorf("resumed with %+v, want %+v", e, second)
	}
	stop()

	// An ID of another process is answered with a gap, and what comes then.
	lost, stop := r.listen("?kind=transition,gap", "other-7")
	if e := r.next(lost); e.Kind != wire.EventGap || e.Missed != -1 {
		t.Errorf("after a restart: %+v, want a gap", e)
	}
	r.register("b", "y")
	if e := r.next(lost); e.Key != "b" {
		t.Errorf("after the gap: %+v", e)
	}
	stop()

	// Whoever was overtaken is told how much is missing.
	for range hubEvents + 10 {
		r.hub.Tell(wire.Event{Kind: wire.EventTrouble})
	}
	late, stop := r.listen("", first.ID)
	gap := r.next(late)
	if gap.Kind != wire.EventGap || gap.Missed < 11 {
		t.Errorf("overtaken: %+v, want a gap of 11 or more", gap)
	}
	n, _ := r.hub.position(first.ID)
	if e := r.next(late); e.Kind != wire.EventTrouble || e.ID != r.hub.id(n+gap.Missed+1) {
		t.Errorf("behind the gap of %d: %+v", gap.Missed, e)
	}
	stop()
}

func TestBlocks(t *testing.T) {
	r := newRig(t, nil)
	r.register("a", "one", "two")
	r.register("b", "two")
	c := cartest.Raw([]byte("two")).CID.String()
	var b wire.Block
	r.want(http.StatusOK, "GET", "/blocks/"+c, nil, &b)
	if b.Codec != "raw" || b.Size != 3 || len(b.Locations) != 2 || b.Hash != "sha2-256" {
		t.Errorf("%+v", b)
	}
	response, text := r.do(r.local, ask{method: "GET", path: "/blocks/" + c + "/raw"})
	if text != "two" || response.Header.Get("Content-Length") != "3" {
		t.Errorf("%q, %v", text, response.Header)
	}
	var at wire.Locations
	r.want(http.StatusOK, "GET", "/blocks/"+c+"/locations?limit=1", nil, &at)
	if len(at.Locations) != 1 || !at.More {
		t.Errorf("%+v", at)
	}
	var size wire.Size
	r.want(http.StatusOK, "GET", "/blocks/"+c+"/size", nil, &size)
	if size.Size != 3 {
		t.Errorf("size %d", size.Size)
	}
	nowhere := cartest.Raw([]byte("nowhere")).CID.String()
	r.want(http.StatusNotFound, "GET", "/blocks/"+nowhere, nil, nil)
	r.want(http.StatusNotFound, "GET", "/blocks/"+nowhere+"/raw", nil, nil)
	r.want(http.StatusOK, "GET", "/blocks/"+nowhere+"/locations", nil, &at)
	r.want(http.StatusBadRequest, "GET", "/blocks/x", nil, nil)
}

// TestRareSelection: a search that finds nothing looks at a bounded number of
// shards, and says where it goes on.
func TestRareSelection(t *testing.T) {
	r := newRig(t, nil)
	const n = mostLooked + 100
	m, err := filemount.New("/nowhere.car")
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan dagstore.ShardResult, n)
	for i := range n {
		if err := r.store.RegisterShard(t.Context(), shard.Key(fmt.Sprintf("k%06d", i)), m, results, &dagstore.RegisterOptions{Lazy: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if one := <-results; one.Err != nil {
			t.Fatal(one.Err)
		}
	}
	var page wire.Page
	r.want(http.StatusOK, "GET", "/shards?search=rare", nil, &page)
	if len(page.Shards) != 0 || page.Looked != mostLooked || page.Next != fmt.Sprintf("k%06d", mostLooked-1) {
		t.Errorf("%d shards, looked at %d, goes on at %q", len(page.Shards), page.Looked, page.Next)
	}
	r.want(http.StatusOK, "GET", "/shards?search=rare&after="+page.Next, nil, &page)
	if page.Looked != n-mostLooked || page.Next != "" {
		t.Errorf("then %d, %q", page.Looked, page.Next)
	}
}
