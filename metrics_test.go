package dagstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/shard"
)

// A family is a metric as a registry has it.
type family struct {
	help, kind string
	series     int
}

// gather reads a registry: the metrics by name, and the value of each series
// by its name and what its labels say.
func gather(t *testing.T, r *prometheus.Registry) (map[string]family, map[string]float64) {
	t.Helper()
	list, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families, values := map[string]family{}, map[string]float64{}
	for _, f := range list {
		families[f.GetName()] = family{f.GetHelp(), strings.ToLower(f.GetType().String()), len(f.Metric)}
		for _, m := range f.Metric {
			id := f.GetName()
			for _, l := range m.Label {
				id += " " + l.GetValue()
			}
			values[id] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return families, values
}

// What is registered is what the list says, no more and no less, and stays so
// whatever happens: no key, CID or URL becomes a label.
func TestMetricsAreThoseOfTheList(t *testing.T) {
	r := newRig(t)
	r.stop()
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = registry
	r.open()
	check := func() {
		t.Helper()
		families, values := gather(t, registry)
		total := 0
		for _, m := range metrics.List() {
			total += m.Series()
			if have, want := families[m.Name], (family{m.Help, string(m.Kind), m.Series()}); have != want {
				t.Errorf("%s is registered as %v, not %v", m.Name, have, want)
			}
		}
		if len(families) != len(metrics.List()) || len(values) != total {
			t.Errorf("%d metrics with %d series are registered, %d with %d are listed", len(families), len(values), len(metrics.List()), total)
		}
	}
	check()
	worn := cartest.RandomV1(7, 3, 100)
	worn[len(worn)-1] ^= 1
	for i, data := range [][]byte{cartest.RandomV1(1, 20, 100), worn, []byte("no CAR"), nil} {
		m := r.putBytes(fmt.Sprint(i, ".car"), data)
		for j := range 20 {
			key := shard.Key(fmt.Sprint("key-", i, "-", j))
			_ = r.store.Register(r.ctx(), key, m, &RegisterOptions{Lazy: j%2 == 0}) // some are no CARs
			if a, err := r.store.Acquire(r.ctx(), key, nil); err == nil {
				a.Close()
			}
			_ = r.store.Pin(r.ctx(), key)
		}
	}
	for _, b := range append(cartest.Random(1, 20, 100), cartest.Random(7, 3, 100)...) {
		_, _ = r.store.Blockstore(nil).Get(r.ctx(), b.CID) // one is damaged
	}
	check()
	r.stop()
	if families, _ := gather(t, registry); len(families) != 0 {
		t.Errorf("a store that is closed shows %d metrics", len(families))
	}
	r.open() // in the same registry
	check()
}

func TestMetricsCount(t *testing.T) {
	r := newRig(t)
	r.stop()
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = registry
	r.open()
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	a := r.acquire("a")
	r.has(blocks)
	if _, err := r.store.Acquire(r.ctx(), "b", nil); !errors.Is(err, shard.ErrUnknown) {
		t.Fatal(err)
	}
	bad := r.putBytes("bad.car", []byte("no CAR"))
	if err := r.store.Register(r.ctx(), "bad", bad, nil); !errors.Is(err, shard.ErrCAR) {
		t.Fatal(err)
	}
	r.until("the shards are counted", func() bool { return !r.store.engine.Stats().Counting })
	_, v := gather(t, registry)
	for id, want := range map[string]float64{
		"dagstore_shards serving": 1, "dagstore_shards errored": 1, "dagstore_shards available": 0,
		"dagstore_calls_total acquire ok": 1, "dagstore_calls_total acquire refused": 1,
		"dagstore_calls_total register ok": 1, "dagstore_calls_total register failed": 1,
		"dagstore_acquire_seconds": 2, "dagstore_open_seconds ok": 1,
		"dagstore_index_seconds ok": 1, "dagstore_index_seconds failed": 1,
		"dagstore_blocks_read_total": 20, "dagstore_handle_hits_total": 20, "dagstore_handle_misses_total": 0,
		"dagstore_handles held": 1, "dagstore_handles idle": 0,
		"dagstore_read_only": 0, "dagstore_commit_seconds failed": 0,
	} {
		if have, ok := v[id]; !ok || have != want {
			t.Errorf("%s is %v, not %v", id, have, want)
		}
	}
	for _, id := range []string{
		"dagstore_index_bytes", "dagstore_indexed_bytes_total", "dagstore_source_read_bytes_total",
		"dagstore_commit_records", "dagstore_commit_seconds ok",
	} {
		if v[id] == 0 {
			t.Errorf("%s is 0", id)
		}
	}
	a.Close()
	_, release := r.holdCommit(errors.New("no disk"))
	release()
	if err := r.store.Destroy(r.ctx(), "bad", nil); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
	r.until("read-only is shown", func() bool {
		_, v := gather(t, registry)
		return v["dagstore_read_only"] == 1 && v["dagstore_commit_seconds failed"] == 1 && v["dagstore_calls_total destroy refused"] == 1
	})
}

// A second store cannot have the names of the first, and takes none of them away.
func TestMetricsOfTwoStores(t *testing.T) {
	registry := prometheus.NewRegistry()
	ctx := context.Background()
	one, err := Open(ctx, t.TempDir(), &Config{Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	dir := t.TempDir()
	if _, err := Open(ctx, dir, &Config{Metrics: registry}); err == nil {
		t.Fatal("two stores have the same metrics")
	}
	if families, v := gather(t, registry); len(families) != len(metrics.List()) || v["dagstore_free_bytes"] <= 0 {
		t.Errorf("the first store shows %d metrics, and %v bytes free", len(families), v["dagstore_free_bytes"])
	}
	two, err := Open(ctx, dir, &Config{Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"store": "two"}, prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	two.Close()
}

// What labels can say is what the values of package shard are called.
func TestLabelsAreComplete(t *testing.T) {
	for s := shard.Registered; s < shard.Gone; s++ {
		if metrics.States[s-1] != s.String() {
			t.Errorf("%v is %s", s, metrics.States[s-1])
		}
	}
	for k := shard.BadHeader; k <= shard.BadEntry; k++ {
		if metrics.FaultKinds[k-1] != faultKind(k) {
			t.Errorf("%v is %s", k, metrics.FaultKinds[k-1])
		}
	}
	for _, op := range []shard.Op{shard.OpRegister, shard.OpAcquire, shard.OpRecover, shard.OpDestroy, shard.OpPin, shard.OpUnpin, shard.OpEvict, shard.OpRemount, shard.OpReplace} {
		if !slices.Contains(metrics.Ops, string(op)) {
			t.Errorf("%s is not counted", op)
		}
	}
	for err, want := range map[error]string{
		nil:                              "ok",
		&shard.Error{Err: shard.ErrHeld}: "refused",
		errors.Join(ErrReadOnly, errors.New("disk")):                    "refused",
		&shard.Error{Err: context.Canceled}:                             "left",
		&shard.Error{Err: context.DeadlineExceeded}:                     "left",
		fmt.Errorf("%w: %w", shard.ErrSource, context.DeadlineExceeded): "failed",
		errors.New("whatever"):                                          "failed",
	} {
		if have := outcome(err); have != want {
			t.Errorf("%v is %s, not %s", err, have, want)
		}
	}
}
