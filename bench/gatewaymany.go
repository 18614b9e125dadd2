package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/servertest"
)

// startFiles is nginx over a folder.
func startFiles(t *stage, dir string) *web {
	server := servertest.StartNginx(t, dir, "sendfile on;", "access_log off;", "keepalive_requests 1000000;")
	return &web{server.URL, server.Process}
}

// gwMany has very many clients at once ask for all kinds of things: how much is
// served, how long the slow ones wait, and how much memory that takes.
func gwMany(ctx context.Context, e *env) (r result, err error) {
	s, err := e.site(ctx)
	if err != nil {
		return r, err
	}
	seen := map[string]*crowd{}
	for _, kind := range []string{kindOurs, kindBoxo} {
		err := onStage(func(t *stage) error {
			w := startGateway(t, kind, s.dir)
			c, err := w.crowded(ctx, t, s, e)
			seen[kind] = c
			return err
		})
		if err != nil {
			return r, fmt.Errorf("%s: %w", kind, err)
		}
	}
	ours, others := seen[kindOurs], seen[kindBoxo]
	r = compared(ours.gigabits(), others.gigabits(), "Gbit/s")
	r.goal, r.held = "reported", true
	r.note = fmt.Sprintf("%d clients on the same machine, %d requests; p99 %v, at most %.0f MiB; boxo p99 %v, %.0f MiB",
		e.scale.clients, len(ours.times), percentile(ours.times, 99).Round(time.Millisecond), float64(ours.memory)/(1<<20),
		percentile(others.times, 99).Round(time.Millisecond), float64(others.memory)/(1<<20))
	return r, nil
}

// A crowd is what many clients have seen.
type crowd struct {
	times  []time.Duration
	bytes  int64
	took   time.Duration
	memory int64
}

func (c *crowd) gigabits() float64 { return float64(c.bytes) * 8 / 1e9 / c.took.Seconds() }

// crowded lets clients ask at once, each the same number of times.
func (w *web) crowded(ctx context.Context, t *stage, s *site, e *env) (*crowd, error) {
	pool := &http.Transport{MaxIdleConnsPerHost: e.scale.clients, DisableCompression: true}
	t.Cleanup(pool.CloseIdleConnections)
	client := &http.Client{Transport: pool}
	var c crowd
	var mu sync.Mutex
	var failed error
	var all sync.WaitGroup
	began := time.Now()
	for i := range e.scale.clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 31))
			for range e.scale.eachClient {
				from := time.Now()
				n, err := askMixed(ctx, client, w.url, s, random)
				mu.Lock()
				c.times = append(c.times, time.Since(from))
				c.bytes += n
				if err != nil && failed == nil {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	c.took = time.Since(began)
	if failed != nil {
		return nil, failed
	}
	var err error
	c.memory, err = w.process.Memory()
	return &c, err
}

// askMixed asks for one of the kinds of things that are asked for.
func askMixed(ctx context.Context, client *http.Client, url string, s *site, random *rand.Rand) (int64, error) {
	raw := func(c *carFile) string {
		return "/ipfs/" + c.asked[random.IntN(len(c.asked))].cid.String() + "?format=raw"
	}
	var header, path string
	switch n := random.IntN(100); {
	case n < 60:
		path = raw(s.small)
	case n < 75:
		path = raw(s.large)
	case n < 95:
		off := random.Int64N(s.fileSize)
		path, header = "/ipfs/"+s.file.String(), fmt.Sprintf("bytes=%d-%d", off, off+65_535)
	default:
		path = "/ipfs/" + s.folder.String() + "?format=car&dag-scope=entity"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		return 0, err
	}
	if header != "" {
		req.Header.Set("Range", header)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return 0, fmt.Errorf("%w: %s of %s", errStatus, resp.Status, path)
	}
	return io.Copy(io.Discard, resp.Body)
}
