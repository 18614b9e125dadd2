package admin

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// TestMeter: what is answered is counted, however it is written, and what a
// handler could do with its connection, it still can.
func TestMeter(t *testing.T) {
	m := new(Meter)
	server := httptest.NewServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/written":
			fmt.Fprint(w, "12345")
		case "/copied": // by what the connection has for that
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("no io.ReaderFrom")
			}
			_, _ = io.Copy(w, io.LimitReader(bufio.NewReader(strings.NewReader("1234567")), 7))
		case "/failed":
			http.Error(w, "x", http.StatusBadGateway)
		case "/hinted":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/flushed":
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
		case "/aborted":
			panic(http.ErrAbortHandler)
		}
	})))
	defer server.Close()
	server.Config.SetKeepAlivesEnabled(false) // or what breaks off is asked for again
	for _, path := range []string{"written", "copied", "failed", "hinted", "flushed", "empty", "aborted"} {
		answer, err := server.Client().Get(server.URL + "/" + path)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}
	var none reading
	r := m.read()
	if r.requests != 7 || r.failed != 2 || r.bytes != 5+7+2 {
		t.Errorf("%d requests, %d failed, %d bytes; want 7, 2, 14", r.requests, r.failed, r.bytes)
	}
	var waits int64
	for _, n := range r.waits {
		waits += n
	}
	if waits != 7 || r.within(&none, .99) <= 0 || r.within(&r, .99) != 0 {
		t.Errorf("%d waits, %v, %v", waits, r.within(&none, .99), r.within(&r, .99))
	}
}

// TestWithin holds shares of waits against what they were.
func TestWithin(t *testing.T) {
	m := new(Meter)
	for i := range 1000 {
		m.waits[waitBucket(time.Duration(i+1)*time.Millisecond)].Add(1)
	}
	r := m.read()
	for _, test := range []struct{ share, want float64 }{{.5, .5}, {.99, .99}, {.001, .001}, {1, 1}} {
		if got := r.within(new(reading), test.share); got < test.want || got > test.want*waitGrowth {
			t.Errorf("%v of the waits are within %v, want %v and a fifth at most", test.share, got, test.want)
		}
	}
	if b := waitBucket(time.Hour * 24); b != waitBuckets-1 {
		t.Errorf("a day is in bucket %d", b)
	}
}

// TestHistory: samples come by and by, each once.
func TestHistory(t *testing.T) {
	meter := new(Meter)
	r := newRig(t, func(cfg *Config) { cfg.Meter = meter })
	meter.requests.Add(3)
	var h wire.History
	r.poll("there is a sample", func() bool {
		r.want(http.StatusOK, "GET", "/history", nil, &h)
		return len(h.Samples) > 0
	})
	first := h.Samples[0]
	if first.Requests != 3 || first.Seconds <= 0 || h.Since.IsZero() {
		t.Errorf("%+v", h)
	}
	r.want(http.StatusOK, "GET", "/history?after="+url.QueryEscape(first.At.Format(time.RFC3339Nano)), nil, &h)
	for _, s := range h.Samples {
		if !s.At.After(first.At) || s.Requests != 0 {
			t.Errorf("again: %+v", s)
		}
	}
	if answer, _ := r.do(r.local, ask{method: "GET", path: "/history?after=noon"}); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a moment that is none: %d", answer.StatusCode)
	}
}

// TestHistoryIsBounded: the oldest samples go.
func TestHistoryIsBounded(t *testing.T) {
	var h history
	at := time.Unix(1000, 0)
	for i := range historyLong + 10 {
		h.add(wire.Sample{At: at.Add(time.Duration(i) * time.Second)})
	}
	all := h.after(time.Time{})
	if len(all) != historyLong || !all[0].At.Equal(at.Add(10*time.Second)) {
		t.Errorf("%d samples from %v", len(all), all[0].At)
	}
	if some := h.after(all[historyLong-3].At); len(some) != 2 {
		t.Errorf("%d samples after the last but two", len(some))
	}
}

// TestLastEvents: who comes late can ask for what has just happened.
func TestLastEvents(t *testing.T) {
	r := newRig(t, nil)
	for i := range 5 {
		r.hub.Tell(wire.Event{Kind: wire.EventTrouble, Error: fmt.Sprint(i)})
	}
	for last, first := range map[string]string{"2": "3", "5": "0", "4000": "0"} {
		events, stop := r.listen("?last="+last+"&kind=trouble", "")
		if e := r.next(events); e.Error != first {
			t.Errorf("the last %s begin with %q, want %q", last, e.Error, first)
		}
		stop()
	}
}

// TestLabels: shards are found by their labels.
func TestLabels(t *testing.T) {
	r := newRig(t, nil)
	for key, owner := range map[string]string{"a": "anna", "b": "ben", "c": ""} {
		reg := wire.Registration{Mount: r.car(key+".car", key), Lazy: true}
		if owner != "" {
			reg.Labels = map[string]string{"owner": owner}
		}
		r.want(http.StatusCreated, "PUT", "/shards/"+key, reg, nil)
	}
	for label, want := range map[string]string{"owner=anna": "a", "owner": "ab", "owner=": "", "": "abc", "colour": ""} {
		var page wire.Page
		r.want(http.StatusOK, "GET", "/shards?label="+url.QueryEscape(label), nil, &page)
		got := ""
		for _, s := range page.Shards {
			got += s.Key
		}
		if got != want {
			t.Errorf("label %q: %q, want %q", label, got, want)
		}
	}
}

// TestWatched: places are listed, and none where nothing is looked at.
func TestWatched(t *testing.T) {
	var places wire.WatchedPlaces
	none := newRig(t, nil)
	if none.want(http.StatusOK, "GET", "/watched", nil, &places); places.Places == nil || len(places.Places) != 0 {
		t.Errorf("%+v", places)
	}
	one := wire.Watched{Place: "/srv/cars", Kind: "folder", Seen: 7}
	some := newRig(t, func(cfg *Config) { cfg.Watched = func() []wire.Watched { return []wire.Watched{one} } })
	if some.want(http.StatusOK, "GET", "/watched", nil, &places); len(places.Places) != 1 || !reflect.DeepEqual(places.Places[0], one) {
		t.Errorf("%+v", places)
	}
}
