package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A plot is one panel of the dashboard.
type plot struct {
	title, unit string
	about       string
	kind        string // "stat", or "" for lines
	queries     []query
}

// A query is one line, or several that a label tells apart.
type query struct{ expr, legend string }

// A row is what stands below one heading.
type row struct {
	title string
	plots []plot
}

const (
	perSecond = "[$__rate_interval]"
	these     = `{instance=~"$instance"}`
)

// gauge is a query for a metric as it is.
func gauge(name, legend string) query { return query{name + these, legend} }

// rate is a query for how quickly a counter rises, by a label or in sum.
func rate(name, by, legend string) query {
	return query{"sum by (" + by + ") (rate(" + name + these + perSecond + "))", legend}
}

// quantiles are the median and the 99th percentile of a histogram.
func quantiles(name string) []query {
	of := func(q string) string {
		return "histogram_quantile(" + q + ", sum by (le) (rate(" + name + "_bucket" + these + perSecond + ")))"
	}
	return []query{{of("0.5"), "median"}, {of("0.99"), "99 %"}}
}

// board is what is worth looking at, from what matters most to what explains it.
var board = []row{
	{"At a glance", []plot{
		{"Ready", "short", "Shards that can be read: held by somebody, or not.", "stat", []query{{"sum(" + Shards + `{instance=~"$instance",state=~"available|serving"})`, "ready"}}},
		{"Failed", "short", "Shards that could not be read or indexed.", "stat", []query{{"sum(" + Shards + `{instance=~"$instance",state="errored"})`, "failed"}}},
		{"Hosts that are down", "short", "A host that is down is one fact, however many shards lie there.", "stat", []query{{"sum(" + Hosts + `{instance=~"$instance",state="down"})`, "down"}}},
		{"Free on disk", "bytes", "Below min(1 GiB, 5 %) nothing new is begun.", "stat", []query{{"min(" + FreeBytes + these + ")", "free"}}},
		{"Read-only", "short", "1: a commit has failed. Restart the process when the disk is well.", "stat", []query{{"max(" + ReadOnly + these + ")", "read-only"}}},
		{"Last copies", "bytes", "Copies whose source is away or has something else: this machine may have the only one.", "stat", []query{{"sum(" + CopiesLast + these + ")", "last copies"}}},
	}},
	{"Reads", []plot{
		{"Blocks read", "reqps", "", "", []query{rate(Blocks, "instance", "{{instance}}")}},
		{"Bytes read from sources", "Bps", "Of open shards; indexing and copying are not in it.", "", []query{rate(ReadBytes, "instance", "{{instance}}")}},
		{"Acquire", "s", "From the call to its answer, opening and indexing included.", "", quantiles(Acquire)},
		{"Opening", "s", "", "", quantiles(Open)},
		{"Look-ups that found their shard open", "percentunit", "Low and falling: more shards are read than may be open.", "", []query{
			{"sum(rate(" + Hits + these + perSecond + ")) / (sum(rate(" + Hits + these + perSecond + ")) + sum(rate(" + Misses + these + perSecond + ")))", "open already"}}},
		{"Open shards", "short", "", "", []query{gauge(Handles, "{{use}}")}},
	}},
	{"Shards and calls", []plot{
		{"Shards by state", "short", "", "", []query{{"sum by (state) (" + Shards + these + ")", "{{state}}"}, gauge(Counting, "still counting")}},
		{"Calls", "reqps", "", "", []query{rate(Calls, "op", "{{op}}")}},
		{"Calls that failed", "reqps", "Refused and left ones are no failures.", "", []query{{"sum by (op) (rate(" + Calls + `{instance=~"$instance",outcome="failed"}` + perSecond + "))", "{{op}}"}}},
		{"Calls under way", "short", "", "", []query{gauge(CallsWaiting, "waiting"), gauge(CallsWriting, "writing")}},
		{"Damage met", "ops", "", "", []query{rate(Faults, "kind", "{{kind}}")}},
		{"Hosts", "short", "", "", []query{gauge(Hosts, "{{state}}")}},
	}},
	{"Indexing", []plot{
		{"Work that waits", "short", "", "", []query{gauge(Waiting, "{{pool}}")}},
		{"Work under way", "short", "", "", []query{gauge(Working, "{{pool}}")}},
		{"Bytes of CARs gone through", "Bps", "", "", []query{rate(IndexedBytes, "instance", "{{instance}}")}},
		{"Time for a shard", "s", "", "", quantiles(Index)},
	}},
	{"Copies", []plot{
		{"Copies against the quota", "bytes", "", "", []query{gauge(CopiesQuota, "quota"), gauge(CopiesBytes, "used"), gauge(CopiesPinned, "pinned"), gauge(CopiesLast, "last copies")}},
		{"Bytes copied", "Bps", "", "", []query{rate(CopiesFetched, "instance", "{{instance}}")}},
		{"Copies made and evicted", "ops", "", "", []query{rate(CopiesMade, "outcome", "made: {{outcome}}"), rate(CopiesEvicted, "instance", "evicted")}},
		{"Copies, and who waits for space", "short", "Who waits for long needs a larger quota, or fewer shards that are held or pinned.", "", []query{gauge(Copies, "copies"), gauge(CopiesWaiting, "waiting")}},
	}},
	{"Disk", []plot{
		{"Commits", "s", "A 99 % of more than 100 ms is a disk that syncs slowly.", "", quantiles(Commit)},
		{"Records in a batch", "short", "", "", quantiles(CommitRecords)},
		{"Indices", "bytes", "", "", []query{gauge(IndexBytes, "of shards"), gauge(LayerBytes, "layers of the inverted index")}},
		{"Layers and merges", "short", "", "", []query{gauge(Layers, "layers"), {"sum(increase(" + Merges + these + perSecond + "))", "merges"}}},
		{"Free on disk", "bytes", "", "", []query{gauge(FreeBytes, "{{instance}}")}},
		{"Events dropped", "ops", "A callback of the program is too slow for what happens.", "", []query{rate(EventsDropped, "instance", "{{instance}}")}},
	}},
}

// TestDashboard holds the dashboard of Grafana against what it is printed from.
func TestDashboard(t *testing.T) {
	path := filepath.Join("..", "..", "deploy", "grafana", "dagstore.json")
	want := dashboard(t)
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
		t.Errorf("%s is not what the table says; print it with: go test ./internal/metrics -run TestDashboard -rewrite", path)
	}
}

// TestNamesInDeploy holds what the dashboard and the alerts ask for against the
// list: a metric that is not there would be a line that is never drawn.
func TestNamesInDeploy(t *testing.T) {
	known := map[string]bool{}
	for _, m := range List() {
		known[m.Name] = true
	}
	names := regexp.MustCompile(`dagstore_[a-z_]+`)
	for _, file := range []string{"grafana/dagstore.json", "prometheus/dagstore.rules.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		asked := map[string]bool{}
		for _, name := range names.FindAllString(string(text), -1) {
			name = strings.TrimSuffix(name, "_bucket")
			if asked[name] = true; !known[name] {
				t.Errorf("%s asks for %s, which is not there", file, name)
			}
		}
		if len(asked) == 0 {
			t.Errorf("%s asks for nothing", file)
		}
		for name := range known {
			if file == "grafana/dagstore.json" && !asked[name] {
				t.Errorf("the dashboard does not show %s", name)
			}
		}
	}
}

const columns = 24 // of a dashboard

// dashboard prints the table as Grafana reads it.
func dashboard(t *testing.T) []byte {
	var panels []any
	y := 0
	for _, r := range board {
		panels = append(panels, map[string]any{
			"id": len(panels) + 1, "type": "row", "title": r.title, "collapsed": false,
			"gridPos": map[string]int{"x": 0, "y": y, "w": columns, "h": 1}, "panels": []any{},
		})
		y++
		width, height := columns/3, 8
		if r.plots[0].kind != "" {
			width, height = columns/len(r.plots), 4
		}
		x := 0
		for _, p := range r.plots {
			if x+width > columns {
				x, y = 0, y+height
			}
			panels = append(panels, p.panel(len(panels)+1, map[string]int{"x": x, "y": y, "w": width, "h": height}))
			x += width
		}
		y += height
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(map[string]any{
		"title": "dagstore", "uid": "dagstore", "tags": []string{"dagstore", "ipfs", "car"},
		"schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s", "timezone": "browser",
		"time":   map[string]string{"from": "now-3h", "to": "now"},
		"panels": panels,
		"templating": map[string]any{"list": []any{
			map[string]any{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
			map[string]any{
				"name": "instance", "label": "Store", "type": "query", "datasource": source, "refresh": 2, "sort": 1,
				"query":      map[string]string{"query": "label_values(" + ReadOnly + ", instance)", "refId": "instance"},
				"includeAll": true, "multi": true, "current": map[string]any{"text": "All", "value": "$__all"},
			},
		}},
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var source = map[string]string{"type": "prometheus", "uid": "${datasource}"}

// panel prints one plot.
func (p *plot) panel(id int, at map[string]int) map[string]any {
	var targets []any
	for i, q := range p.queries {
		targets = append(targets, map[string]any{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend,
		})
	}
	kind := "timeseries"
	defaults := map[string]any{"unit": p.unit, "min": 0}
	options := map[string]any{"legend": map[string]any{"displayMode": "list", "placement": "bottom"}, "tooltip": map[string]any{"mode": "multi", "sort": "desc"}}
	if p.kind == "stat" {
		kind = p.kind
		options = map[string]any{"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}, "graphMode": "area", "colorMode": "value"}
		bad := []string{"Failed", "Hosts that are down", "Read-only", "Last copies"}
		steps := []any{map[string]any{"color": "green", "value": nil}}
		switch {
		case slices.Contains(bad, p.title):
			steps = append(steps, map[string]any{"color": "red", "value": 1})
		case p.title == "Free on disk":
			steps = []any{map[string]any{"color": "red", "value": nil}, map[string]any{"color": "orange", "value": 1 << 30}, map[string]any{"color": "green", "value": 10 << 30}}
		}
		defaults["thresholds"] = map[string]any{"mode": "absolute", "steps": steps}
	} else {
		defaults["custom"] = map[string]any{"fillOpacity": 10, "showPoints": "never", "spanNulls": true}
	}
	return map[string]any{
		"id": id, "type": kind, "title": p.title, "description": p.about, "datasource": source, "gridPos": at,
		"targets": targets, "options": options, "fieldConfig": map[string]any{"defaults": defaults, "overrides": []any{}},
	}
}

// TestBoard: every plot says in which unit, and asks for something.
func TestBoard(t *testing.T) {
	units := []string{"short", "bytes", "Bps", "s", "reqps", "ops", "percentunit"}
	for _, r := range board {
		for _, p := range r.plots {
			if !slices.Contains(units, p.unit) || len(p.queries) == 0 || p.title == "" {
				t.Errorf("%s: %s", r.title, fmt.Sprint(p))
			}
		}
	}
}
