package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
)

const (
	// goalPage is how long a page of a listing may take, in seconds.
	goalPage = 0.05
	pageRows = 100
)

// page1m asks the admin API for the first page of a store of many shards, and
// compares that with the catalogue alone that reads as many records. What other
// pages take stands in the note.
func page1m(ctx context.Context, e *env) (r result, err error) {
	dir := e.fresh()
	if err := fill(ctx, dir, e.scale.start, catalog.NoIntent); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rounds := max(5, e.scale.rounds)
	limit, err := firstRecords(ctx, dir, rounds)
	if err != nil {
		return r, err
	}
	n := strconv.Itoa(pageRows)
	all, half := e.scale.start, e.scale.start/2
	asks := []pageAsk{
		{url.Values{"limit": {n}}, min(pageRows, all)},
		{url.Values{"limit": {n}, "after": {string(fillKey(half))}}, min(pageRows, all-half-1)},
		{url.Values{"limit": {"1000"}}, min(1000, all)},
		{url.Values{"limit": {n}, "status": {"failed"}}, 0},
	}
	var took []float64
	err = withAPI(ctx, dir, filepath.Join(e.dir, "page.sock"), func(c *client.Client) error {
		for _, ask := range asks {
			seconds, err := ask.measure(ctx, c, rounds)
			if err != nil {
				return err
			}
			took = append(took, seconds)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r = compared(took[0], limit, "s")
	r.goal, r.held = "≤ 50 ms", max(took[0], took[1]) <= goalPage
	r.note = fmt.Sprintf("N = %d, pages of %d, as JSON over a socket; in the middle %.1f ms; of 1,000 %.1f ms; of a status that none has %.1f ms for each part of the search",
		e.scale.start, pageRows, took[1]*1e3, took[2]*1e3, took[3]*1e3)
	return r, nil
}

// A pageAsk is a page that is asked for, and how many shards it has.
type pageAsk struct {
	query url.Values
	rows  int
}

// measure returns the seconds that it takes, in the median.
func (a *pageAsk) measure(ctx context.Context, c *client.Client, rounds int) (seconds float64, err error) {
	var took []float64
	for range rounds {
		began := time.Now()
		p, err := c.Page(ctx, a.query)
		took = append(took, time.Since(began).Seconds())
		if err == nil && len(p.Shards) != a.rows {
			err = fmt.Errorf("a page of %d shards, want %d", len(p.Shards), a.rows)
		}
		if err != nil {
			return 0, err
		}
	}
	return median(took), nil
}

// withAPI calls f with a client of the API of the store in dir.
func withAPI(ctx context.Context, dir, socket string, f func(*client.Client) error) (err error) {
	hub, mounts := admin.NewHub(), mount.Registry{"file": filemount.Open}
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{NoCreate: true, Mounts: mounts, Events: hub.Events()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	api, err := admin.New(s, &admin.Config{Hub: hub, Mounts: mounts})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.Close()) }()
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: api.Local(), ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until it is closed
	}()
	defer func() {
		err = errors.Join(err, server.Close())
		<-ended
	}()
	c := client.New(client.Unix(socket))
	return errors.Join(f(c), c.Close())
}

// firstRecords is the seconds in which the catalogue alone reads a page.
func firstRecords(ctx context.Context, dir string, rounds int) (seconds float64, err error) {
	c, err := catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	var took []float64
	for range rounds {
		began, n := time.Now(), 0
		for _, err := range c.Records(ctx, catalog.Filter{}) {
			if err != nil {
				return 0, err
			}
			if n++; n == pageRows {
				break
			}
		}
		took = append(took, time.Since(began).Seconds())
	}
	return median(took), nil
}
