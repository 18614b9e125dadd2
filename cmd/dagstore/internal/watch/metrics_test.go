package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// series gathers what a watcher shows, by name and labels.
func series(t *testing.T, w *Watcher) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			value := m.GetGauge().GetValue()
			if f.GetType().String() == "COUNTER" {
				value = m.GetCounter().GetValue()
			}
			all[name] = value
		}
	}
	return all
}

// The metrics say what the status says; there are as many series without a
// place as with some; and the page has all of them.
func TestMetrics(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/watching.md")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a.car", car("a"))
		r.write(r.dir, "bad.car", []byte("no CAR"))
		r.watch(deaf(time.Minute))
		pass(10 * time.Minute)
		r.remove("a.car")
		pass(10 * time.Minute)
		got := series(t, r.w)
		for name, want := range map[string]float64{
			"dagstore_watched_places folder well":           1,
			"dagstore_watched_cars folder seen":             1,
			"dagstore_watched_cars folder failed":           1,
			"dagstore_watched_cars folder vanished":         1,
			"dagstore_watched_events_total folder added":    1,
			"dagstore_watched_events_total folder failed":   1,
			"dagstore_watched_events_total folder vanished": 1,
			"dagstore_watched_events_total prefix added":    0,
			"dagstore_watched_requests_total list":          0,
		} {
			if is, ok := got[name]; !ok || is != want {
				t.Errorf("%s is %v, want %v", name, is, want)
			}
		}
		if got["dagstore_watched_looks_total folder ended"] < 19 {
			t.Errorf("%v looks", got["dagstore_watched_looks_total folder ended"])
		}
		r.stop()
		empty, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(series(t, empty)); n != len(got) {
			t.Errorf("%d series without a place, %d with one", n, len(got))
		}
		for name := range got {
			for _, word := range strings.Fields(name) {
				if !strings.Contains(string(page), "`"+word+"`") && !strings.Contains(string(page), " "+word) {
					t.Errorf("docs/watching.md does not have %s", word)
				}
			}
		}
	})
	descs := make(chan *prometheus.Desc, 100)
	new(Watcher).Describe(descs)
	close(descs)
	for d := range descs {
		_, help, _ := strings.Cut(d.String(), `help: "`)
		help, _, _ = strings.Cut(help, `"`)
		if !strings.Contains(string(page), "| "+help+" |") {
			t.Errorf("docs/watching.md does not say %q", help)
		}
	}
	for _, end := range unfinished {
		if !strings.Contains(string(page), "`"+end+"`") {
			t.Errorf("docs/watching.md does not name the end %s", end)
		}
	}
	for w := Added; int(w) < len(whats); w++ {
		if whats[w] == "" || w.String() == fmt.Sprintf("event %d", w) {
			t.Errorf("event %d has no name", w)
		}
	}
}
