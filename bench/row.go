package main

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// A row measures one number of docs/numbers.md.
type row struct {
	id  string
	run func(ctx context.Context, e *env) (result, error)
}

// rows are all, in the order of the table. Each stands alone: what two of them
// need is made by the first that runs.
func rows() []row {
	return slices.Concat(localRows(), remoteRows(), gatewayRows())
}

// gatewayRows are about HTTP, and start servers too.
func gatewayRows() []row {
	return []row{
		{"gw-raw-1k", gwRaw1k},
		{"gw-raw-1m", gwRaw1m},
		{"gw-car", gwCAR},
		{"gw-file", gwFile},
		{"gw-range", gwRange},
		{"gw-hamt", gwHAMT},
		{"gw-many", gwMany},
		{"gw-abuse", gwAbuse},
	}
}

// remoteRows are about CARs on servers, which they start.
func remoteRows() []row {
	return []row{
		{"remote-first", remoteFirst},
		{"remote-dag", remoteDAG},
		{"remote-index", remoteIndex},
		{"attach-20k", attach20k},
		{"amplification", amplification},
		{"remote-small", remoteSmall},
		{"copy-pass", copyPass},
		{"copy-streams", copyStreams},
	}
}

func localRows() []row {
	return []row{
		{"index-mid", indexMid},
		{"index-tiny", indexTiny},
		{"index-memory", indexMemory},
		{"index-big", indexBig},
		{"index-verify", indexVerify},
		{"disk-per-block", diskPerBlock},
		{"get-1k", get1k},
		{"get-1k-checked", get1kChecked},
		{"get-all", getAll},
		{"get-many", getMany},
		{"find-hit", findHit},
		{"find-miss", findMiss},
		{"find-cold", findCold},
		{"find-shards", findShards},
		{"shared-block", sharedBlock},
		{"inverted-add", invertedAdd},
		{"read-merge", readMerge},
		{"acquire-1k", acquire1k},
		{"acquire-100k", acquire100k},
		{"acquire-2m", acquire2m},
		{"acquire-many", acquireMany},
		{"acquire-cold", acquireCold},
		{"acquire-64", acquire64},
		{"acquire-gc", acquireGC},
		{"register-lazy", registerLazy},
		{"register-small", registerSmall},
		{"disk-per-shard", diskPerShard},
		{"start-1m", start1m},
		{"export-1m", export1m},
		{"page-1m", page1m},
		{"backup-1m", backup1m},
		{"heap-idle", heapIdle},
		{"goroutines", goroutines},
	}
}

// onlyByName are rows that are measured when they are named, and not with all.
func onlyByName() []row {
	return []row{
		{"lazy-10m", lazy10m},
		{"remote-first-16g", remoteFirstBig},
		{"inverted-1g", inverted1g},
	}
}

// A result is what a row found. The ratio is that of figure and limit; both
// are 0 where there is no limit.
type result struct {
	id     string
	figure float64
	unit   string
	limit  float64
	ratio  float64
	goal   string
	held   bool
	note   string // how much was measured, and what else was seen
}

// compared makes the result of two medians.
func compared(figure, limit float64, unit string) result {
	return result{figure: figure, limit: limit, ratio: figure / limit, unit: unit}
}

// pairs measures figure and limit in turns, each first every other time, so
// that what else the machine does meets both, and returns their medians.
func pairs(ctx context.Context, rounds int, figure, limit func() (float64, error)) (f, l float64, err error) {
	clean := func(op func() (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			runtime.GC() // nobody pays for what the other has left
			return op()
		}
	}
	return turns(ctx, rounds, clean(figure), clean(limit))
}

// turns is pairs for turns that are too short for a collection before each.
func turns(ctx context.Context, rounds int, figure, limit func() (float64, error)) (f, l float64, err error) {
	figures, limits := make([]float64, rounds), make([]float64, rounds)
	for i := range rounds {
		turn := []struct {
			measure func() (float64, error)
			into    *float64
		}{{figure, &figures[i]}, {limit, &limits[i]}}
		if i%2 == 1 {
			slices.Reverse(turn)
		}
		for _, t := range turn {
			if err := ctx.Err(); err != nil {
				return 0, 0, err
			}
			if *t.into, err = t.measure(); err != nil {
				return 0, 0, err
			}
		}
	}
	return median(figures), median(limits), nil
}

// median returns the middle of values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// percentile returns what p hundredths of times, which it sorts, do not exceed.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[min(len(times)*p/100, len(times)-1)]
}

// each runs op n times and returns the microseconds and the allocations of
// one. Allocations are those of the whole process.
func each(n int, op func(i int) error) (micros, allocs float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range n {
		if err := op(i); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return inMicros(took) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
