package admin

import (
	"io"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// A Meter counts what a handler answers, for the page: how many requests, how
// many bytes, and how long it took until the first of them. The zero value is
// ready; all of it may be used by many goroutines.
type Meter struct {
	requests, failed, bytes atomic.Int64
	waits                   [waitBuckets]atomic.Int64
}

// Waits are counted in buckets that grow by a fifth: from 20 µs to 20 minutes.
const (
	waitBuckets = 100
	firstWait   = 20 * time.Microsecond
	waitGrowth  = 1.2
)

// waitBucket is the bucket of a wait.
func waitBucket(wait time.Duration) int {
	if wait <= firstWait {
		return 0
	}
	return min(waitBuckets-1, int(math.Ceil(math.Log(float64(wait)/float64(firstWait))/math.Log(waitGrowth))))
}

// waitOf is the longest wait of a bucket, in seconds.
func waitOf(bucket int) float64 {
	return firstWait.Seconds() * math.Pow(waitGrowth, float64(bucket))
}

// Wrap counts what next answers. What next can do with its ResponseWriter, it
// still can: flush, set deadlines, send files by the system.
func (m *Meter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &metered{ResponseWriter: w, meter: m, began: time.Now()}
		defer out.end()
		next.ServeHTTP(out, r)
	})
}

// A reading is what a meter has counted until a moment.
type reading struct {
	requests, failed, bytes int64
	waits                   [waitBuckets]int64
}

func (m *Meter) read() (r reading) {
	if m == nil {
		return r
	}
	r.requests, r.failed, r.bytes = m.requests.Load(), m.failed.Load(), m.bytes.Load()
	for i := range m.waits {
		r.waits[i] = m.waits[i].Load()
	}
	return r
}

// within is how long the given share of the waits took at most that were counted
// since before, in seconds; 0 if there were none.
func (r *reading) within(before *reading, share float64) float64 {
	var all, n int64
	for i := range r.waits {
		all += r.waits[i] - before.waits[i]
	}
	for i := range r.waits {
		n += r.waits[i] - before.waits[i]
		if n > 0 && float64(n) >= share*float64(all) {
			return waitOf(i)
		}
	}
	return 0
}

// metered is the ResponseWriter of one request.
type metered struct {
	http.ResponseWriter
	meter  *Meter
	began  time.Time
	status int // 0: nothing was said yet
}

// Unwrap is for [http.ResponseController].
func (w *metered) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *metered) WriteHeader(status int) {
	w.first(status)
	w.ResponseWriter.WriteHeader(status)
}

// first counts the wait, once there is an answer that is more than "go on".
func (w *metered) first(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		w.meter.waits[waitBucket(time.Since(w.began))].Add(1)
	}
}

// Write implements [http.ResponseWriter].
func (w *metered) Write(p []byte) (int, error) {
	w.first(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.meter.bytes.Add(int64(n))
	return n, err
}

// ReadFrom implements [io.ReaderFrom]: the connection may send a file without its
// bytes coming by here.
func (w *metered) ReadFrom(r io.Reader) (int64, error) {
	w.first(http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, r)
	w.meter.bytes.Add(n)
	return n, err
}

// Flush implements [http.Flusher].
func (w *metered) Flush() {
	w.first(http.StatusOK)
	// One that cannot flush needs no flushing.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// end counts the request, also one that ended by a panic.
func (w *metered) end() {
	w.first(http.StatusOK)
	w.meter.requests.Add(1)
	if w.status >= 500 {
		w.meter.failed.Add(1)
	}
}
