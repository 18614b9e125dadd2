package watch

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The metrics of all places together, by kind of place; docs/watching.md has
// them. Each series is there from the beginning.
var (
	placesDesc = prometheus.NewDesc("dagstore_watched_places", "Watched places, by whether the last look came to its end.",
		[]string{"kind", "state"}, nil)
	carsDesc = prometheus.NewDesc("dagstore_watched_cars", "CARs in watched places, as they are now.",
		[]string{"kind", "state"}, nil)
	eventsDesc = prometheus.NewDesc("dagstore_watched_events_total", "What has happened in watched places.",
		[]string{"kind", "what"}, nil)
	looksDesc = prometheus.NewDesc("dagstore_watched_looks_total", "Looks at watched places: to the end, or not needed since nothing had changed.",
		[]string{"kind", "outcome"}, nil)
	requestsDesc = prometheus.NewDesc("dagstore_watched_requests_total", "Requests that looks have taken: LISTs of prefixes, HEADs and GETs of lists.",
		[]string{"kind"}, nil)
)

// Describe implements [prometheus.Collector].
func (*Watcher) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{placesDesc, carsDesc, eventsDesc, looksDesc, requestsDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (w *Watcher) Collect(to chan<- prometheus.Metric) {
	for _, kind := range []Kind{Folder, Prefix, List} {
		var t total
		for _, p := range w.places {
			if p.Kind == kind {
				t.add(p)
			}
		}
		t.collect(kind, to)
	}
}

// A total is the places of one kind.
type total struct {
	well, troubled int64
	all            Status
	happened       [len(whats)]int64
}

func (t *total) add(p *place) {
	s := p.status()
	if s.Error == "" {
		t.well++
	} else {
		t.troubled++
	}
	a := &t.all
	a.Seen += s.Seen
	a.Waiting += s.Waiting
	a.Taking += s.Taking
	a.Failed += s.Failed
	a.Changed += s.Changed
	a.Vanished += s.Vanished
	a.Looks += s.Looks
	a.Skipped += s.Skipped
	a.Requests += s.Requests
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, n := range p.happened {
		t.happened[w] += n
	}
}

func (t *total) collect(kind Kind, to chan<- prometheus.Metric) {
	show := func(d *prometheus.Desc, of prometheus.ValueType, n int64, label ...string) {
		to <- prometheus.MustNewConstMetric(d, of, float64(n), append([]string{string(kind)}, label...)...)
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	show(placesDesc, gauge, t.well, "well")
	show(placesDesc, gauge, t.troubled, "troubled")
	show(carsDesc, gauge, t.all.Seen, "seen")
	show(carsDesc, gauge, t.all.Waiting, "waiting")
	show(carsDesc, gauge, t.all.Taking, "taking")
	show(carsDesc, gauge, t.all.Failed, "failed")
	show(carsDesc, gauge, t.all.Changed, "changed")
	show(carsDesc, gauge, t.all.Vanished, "vanished")
	for w := Added; int(w) < len(whats); w++ {
		show(eventsDesc, counter, t.happened[w], w.String())
	}
	show(looksDesc, counter, t.all.Looks, "ended")
	show(looksDesc, counter, t.all.Skipped, "skipped")
	show(requestsDesc, counter, t.all.Requests)
}
