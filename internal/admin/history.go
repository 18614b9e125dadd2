package admin

import (
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	historyEvery = 2 * time.Second
	historyLong  = 450 // samples: 15 minutes
)

// A history is the last minutes of a store, for who comes late. It takes some
// 40 kB, however long the process lives.
type history struct {
	mu   sync.Mutex
	ring []wire.Sample // rising by time
}

// add adds a sample in the place of the oldest.
func (h *history) add(sample wire.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) == historyLong {
		h.ring = h.ring[:copy(h.ring, h.ring[1:])]
	}
	h.ring = append(h.ring, sample)
}

// after are the samples that were taken after a moment.
func (h *history) after(at time.Time) []wire.Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := len(h.ring)
	for i > 0 && h.ring[i-1].At.After(at) {
		i--
	}
	return append([]wire.Sample{}, h.ring[i:]...)
}

// remember takes samples until the server closes. before and reads are how it
// was when it began.
func (s *Server) remember(before reading, reads int64) {
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	last := s.started
	for {
		select {
		case <-s.ending:
			return
		case now := <-tick.C:
			r, stats := s.cfg.Meter.read(), s.store.Stats()
			s.history.add(wire.Sample{
				At: now, Seconds: now.Sub(last).Seconds(),
				Requests: r.requests - before.requests, Failed: r.failed - before.failed, Bytes: r.bytes - before.bytes,
				P50: r.within(&before, .5), P99: r.within(&before, .99),
				Blocks: stats.Reads - reads, Queued: stats.Queued, Working: stats.Working,
			})
			last, before, reads = now, r, stats.Reads
		}
	}
}

func (s *Server) getHistory(c *call) error {
	var after time.Time
	if text := c.r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return badRequest("after is %q; it is a moment such as %s", text, time.UnixMilli(0).UTC().Format(time.RFC3339Nano))
		}
	}
	return c.answer(wire.History{Since: s.started, Samples: s.history.after(after)})
}
