package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var rewrite = flag.Bool("rewrite", false, "write docs/metrics.md anew")

// TestDocs holds docs/metrics.md against the list it is printed from.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	want := document()
	if *rewrite {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have = bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")); !bytes.Equal(have, want) {
		t.Errorf("%s does not show the list; print it with: go test ./internal/metrics -run TestDocs -rewrite", path)
	}
}

// document prints the list as a page.
func document() []byte {
	var b bytes.Buffer
	total := 0
	for _, m := range List() {
		total += m.Series()
	}
	fmt.Fprintf(&b, `# Metrics

This page is printed from the list in internal/metrics, and a test holds it
against what a store registers on `+"`Config.Metrics`"+`.

There are %d metrics with %d series in all, each of which is there from the
beginning (of a histogram, its buckets are not counted here). There are never more:
no label holds a key, a CID or a URL. Two stores in one program need a registry each, or
prometheus.WrapRegistererWith. A store that is closed is no longer registered.

| name | type | what it says | labels |
|---|---|---|---|
`, len(List()), total)
	for _, m := range List() {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, strings.Join(l.Values, ", ")))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, m.Help, strings.Join(labels, "; "))
	}
	b.WriteString("\n## Buckets\n\n| name | upper bounds |\n|---|---|\n")
	for _, m := range List() {
		if m.Kind == Histogram {
			fmt.Fprintf(&b, "| `%s` | %s |\n", m.Name, strings.Trim(fmt.Sprint(m.Buckets), "[]"))
		}
	}
	return b.Bytes()
}

func TestListKeepsTheRules(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range List() {
		if seen[m.Name] {
			t.Errorf("%s is listed twice", m.Name)
		}
		seen[m.Name] = true
		if !strings.HasPrefix(m.Name, "dagstore_") || m.Help == "" || len(m.Labels) > 2 {
			t.Errorf("%s: wrong name, no help, or too many labels", m.Name)
		}
		if total := strings.HasSuffix(m.Name, "_total"); total != (m.Kind == Counter) {
			t.Errorf("%s is a %s", m.Name, m.Kind)
		}
		if (m.Kind == Histogram) != (len(m.Buckets) > 0) {
			t.Errorf("%s has %d buckets", m.Name, len(m.Buckets))
		}
		for _, unit := range []string{"_milliseconds", "_ms", "_minutes", "_kb", "_mib"} {
			if strings.Contains(m.Name, unit) {
				t.Errorf("%s is not in seconds or bytes", m.Name)
			}
		}
		for _, l := range m.Labels {
			if len(l.Values) == 0 || len(l.Values) > 16 {
				t.Errorf("%s: %s can say %d things", m.Name, l.Name, len(l.Values))
			}
			for _, open := range []string{"key", "cid", "url", "shard", "path"} {
				if l.Name == open {
					t.Errorf("%s: nobody knows all that %s can say", m.Name, l.Name)
				}
			}
		}
	}
	for name := range told {
		if !seen[name] {
			t.Errorf("%s is told, and not in the list", name)
		}
	}
}

// What is not in the list makes no series, and what is, is there at once.
func TestSeriesAreClosed(t *testing.T) {
	s := New(func(show Show) {
		show(ReadOnly, 1)
		show("dagstore_invented", 1)
		show(Handles, 2, "idle")
	})
	s.Add(Calls, 2, "acquire", OK)
	s.Add(Calls, 1, "some key", OK)
	s.Add("dagstore_invented", 1)
	s.Observe(Open, .5, OK)
	s.Observe(Open, .5, "maybe")
	r := prometheus.NewRegistry()
	r.MustRegister(s)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, counted := map[string]float64{}, map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			id := f.GetName()
			for _, l := range m.Label {
				id += " " + l.GetValue()
			}
			values[id] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			counted[id] = m.GetHistogram().GetSampleCount()
		}
	}
	want := 2 // those that are read
	for _, m := range List() {
		if told[m.Name] {
			want += m.Series()
		}
	}
	if len(values) != want {
		t.Errorf("%d series, not %d", len(values), want)
	}
	if values["dagstore_calls_total acquire ok"] != 2 || values["dagstore_read_only"] != 1 || values["dagstore_handles idle"] != 2 || counted["dagstore_open_seconds ok"] != 1 {
		t.Errorf("%v, %v", values, counted)
	}
	if !r.Unregister(s) {
		t.Error("it cannot be unregistered")
	}
	if err := r.Register(New(func(Show) {})); err != nil {
		t.Errorf("registered again: %v", err)
	}
}
