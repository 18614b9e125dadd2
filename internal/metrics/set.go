package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// A Set is the metrics of one store: a [prometheus.Collector]. All its methods
// may be called by any number of goroutines at once.
type Set struct {
	read  func(show Show)
	descs map[string]*prometheus.Desc
	kinds map[string]prometheus.ValueType

	counters   map[series]prometheus.Counter
	histograms map[series]prometheus.Observer
	vecs       []prometheus.Collector // of the two above
}

// A Show takes one value of a metric that is read when it is asked for.
type Show func(name string, value float64, labels ...string)

// A series is one line of a metric: its name, and what its labels say.
type series struct{ name, first, second string }

func seriesOf(name string, labels []string) series {
	s := series{name: name}
	if len(labels) > 0 {
		s.first = labels[0]
	}
	if len(labels) > 1 {
		s.second = labels[1]
	}
	return s
}

// Told are the metrics that a Set is told of, by Add and Observe; all others
// are read from the store when somebody asks.
var told = map[string]bool{
	Calls: true, Acquire: true, Open: true, Index: true, IndexedBytes: true, Commit: true, CommitRecords: true, Faults: true, ReadBytes: true,
	CopiesMade: true, CopiesFetched: true, CopiesEvicted: true,
}

// New makes a Set. read is called for each collection, and shows each series
// of the metrics that the Set is not told of, once.
func New(read func(show Show)) *Set {
	s := &Set{
		read:       read,
		descs:      map[string]*prometheus.Desc{},
		kinds:      map[string]prometheus.ValueType{},
		counters:   map[series]prometheus.Counter{},
		histograms: map[series]prometheus.Observer{},
	}
	for _, m := range List() {
		s.add(&m)
	}
	return s
}

func (s *Set) add(m *Metric) {
	names := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		names[i] = l.Name
	}
	switch {
	case !told[m.Name]:
		s.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, names, nil)
		s.kinds[m.Name] = prometheus.GaugeValue
		if m.Kind == Counter {
			s.kinds[m.Name] = prometheus.CounterValue
		}
	case m.Kind == Counter:
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, names)
		s.vecs = append(s.vecs, vec)
		m.each(func(labels []string) { s.counters[seriesOf(m.Name, labels)] = vec.WithLabelValues(labels...) })
	default:
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Buckets}, names)
		s.vecs = append(s.vecs, vec)
		m.each(func(labels []string) { s.histograms[seriesOf(m.Name, labels)] = vec.WithLabelValues(labels...) })
	}
}

// each calls f with all that the labels of m can say.
func (m *Metric) each(f func(labels []string)) {
	switch len(m.Labels) {
	case 0:
		f(nil)
	case 1:
		for _, v := range m.Labels[0].Values {
			f([]string{v})
		}
	default:
		for _, v := range m.Labels[0].Values {
			for _, w := range m.Labels[1].Values {
				f([]string{v, w})
			}
		}
	}
}

// Series is how many lines m has; a histogram counts as one for what its
// labels say.
func (m *Metric) Series() (n int) {
	m.each(func([]string) { n++ })
	return n
}

// Add adds to a counter. What is not in the list is not counted.
func (s *Set) Add(name string, n float64, labels ...string) {
	if c := s.counters[seriesOf(name, labels)]; c != nil {
		c.Add(n)
	}
}

// Observe adds a value to a histogram. What is not in the list is not counted.
func (s *Set) Observe(name string, value float64, labels ...string) {
	if h := s.histograms[seriesOf(name, labels)]; h != nil {
		h.Observe(value)
	}
}

// Describe implements [prometheus.Collector].
func (s *Set) Describe(to chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		to <- d
	}
	for _, v := range s.vecs {
		v.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (s *Set) Collect(to chan<- prometheus.Metric) {
	for _, v := range s.vecs {
		v.Collect(to)
	}
	s.read(func(name string, value float64, labels ...string) {
		if d := s.descs[name]; d != nil {
			to <- prometheus.MustNewConstMetric(d, s.kinds[name], value, labels...)
		}
	})
}
