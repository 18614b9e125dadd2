package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
)

// gwAbuse is how long a good client waits, for 1 KiB and for ranges, while others
// do what costs a gateway more than them: clients that take nothing of what they
// have asked for, lists of ranges, paths of many names, and misses without end.
func gwAbuse(ctx context.Context, e *env) (r result, err error) {
	s, err := e.site(ctx)
	if err != nil {
		return r, err
	}
	var alone, beside []time.Duration
	err = onStage(func(t *stage) error {
		w := startGateway(t, kindOurs, s.dir)
		client := newClient(t)
		n := e.requests(4_000)
		if _, err := w.good(ctx, client, s, min(n, 200)); err != nil {
			return err
		}
		var err error
		if alone, err = w.good(ctx, client, s, n); err != nil {
			return err
		}
		bad, stop := context.WithCancel(ctx)
		var all sync.WaitGroup
		for i := range e.scale.abusers {
			all.Go(func() { w.abuse(bad, client, s, i) })
		}
		beside, err = w.good(ctx, client, s, n)
		stop()
		all.Wait()
		return err
	})
	if err != nil {
		return r, err
	}
	r = compared(inMicros(percentile(beside, 99)), inMicros(percentile(alone, 99)), "µs")
	r.goal, r.held = "≤ 2", r.ratio <= 2
	r.note = fmt.Sprintf("p99 of %d requests of one client, with %d others that do no good, on the same processors; median %v, alone %v",
		len(beside), e.scale.abusers, percentile(beside, 50).Round(time.Microsecond), percentile(alone, 50).Round(time.Microsecond))
	return r, nil
}

// good asks for what is there, and measures how long that takes.
func (w *web) good(ctx context.Context, client *http.Client, s *site, n int) ([]time.Duration, error) {
	random := rand.New(rand.NewPCG(41, 42))
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		path, part := "/ipfs/"+s.small.asked[random.IntN(len(s.small.asked))].cid.String()+"?format=raw", ""
		if i%4 == 0 {
			off := random.Int64N(s.fileSize)
			path, part = "/ipfs/"+s.file.String(), fmt.Sprintf("bytes=%d-%d", off, off+1023)
		}
		if err := w.askOnce(ctx, client, path, "Range", part); err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
	}
	return times, nil
}

func (w *web) askOnce(ctx context.Context, client *http.Client, path, name, value string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return err
	}
	if value != "" {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 == 5 {
		return fmt.Errorf("%w: %s of %s", errStatus, resp.Status, path)
	}
	return nil
}

// abusePace is how often one abuser asks: there is no rate at which a machine of two
// processors would be nobody else's.
const abusePace = 50 * time.Millisecond

// abuse does one kind of harm until ctx ends.
func (w *web) abuse(ctx context.Context, client *http.Client, s *site, i int) {
	if i%2 == 0 {
		_ = w.takeNothing(ctx, s) // until it is cut off, or ctx ends
		return
	}
	ticks := time.NewTicker(abusePace)
	defer ticks.Stop()
	for j := 0; ; j++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		var err error
		switch j % 3 {
		case 0:
			c, sumErr := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(fmt.Appendf(nil, "%d %d", i, j))
			err = errors.Join(sumErr, w.askOnce(ctx, client, "/ipfs/"+c.String()+"?format=car", "", ""))
		case 1:
			err = w.askOnce(ctx, client, "/ipfs/"+s.small.asked[j%len(s.small.asked)].cid.String(), "Range", "bytes=0-"+strings.Repeat(",0-", 5_000))
		case 2:
			err = w.askOnce(ctx, client, "/ipfs/"+s.folder.String()+strings.Repeat("/a", 255), "", "")
		}
		if err != nil {
			return // the server has enough of it
		}
	}
}

// takeNothing asks for the file and reads none of it.
func (w *web) takeNothing(ctx context.Context, s *site) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := fmt.Fprintf(conn, "GET /ipfs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", s.file); err != nil {
		return errors.Join(err, conn.Close())
	}
	<-ctx.Done()
	return conn.Close()
}
