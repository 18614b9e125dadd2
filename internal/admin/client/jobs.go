package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// follow yields the lines of an answer, as they come.
func follow[T any](ctx context.Context, c *Client, r request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		response, err := c.send(ctx, r)
		if err != nil {
			yield(zero, err)
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		for {
			var v T
			err := decoder.Decode(&v)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(zero, c.wrong(ctx, bodyOf(response), err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Begin begins a job.
func (c *Client) Begin(ctx context.Context, job wire.NewJob) (out wire.Job, err error) {
	err = c.post(ctx, "/jobs", job, &out)
	return out, err
}

// BeginAndFollow begins a job and yields its results, until it ends. The first
// one, and the last, have the job and are about no item.
func (c *Client) BeginAndFollow(ctx context.Context, job wire.NewJob) iter.Seq2[wire.Result, error] {
	r, err := request{method: http.MethodPost, path: "/jobs", query: url.Values{"follow": {"true"}}}.with(job)
	if err != nil {
		return func(yield func(wire.Result, error) bool) { yield(wire.Result{}, err) }
	}
	return c.keepOn(ctx, r, "", 0, true)
}

// keepOn yields the results that r asks for, of the job id, which may not be known
// yet. Who takes long over them is no reason for it to end: it goes on where it was
// broken off, behind number last.
func (c *Client) keepOn(ctx context.Context, r request, id string, last int64, wait bool) iter.Seq2[wire.Result, error] {
	return func(yield func(wire.Result, error) bool) {
		r, id, last := r, id, last // each loop begins anew
		for again := true; again; r = resultsOf(id, last, wait) {
			again = false
			came := false
			for result, err := range follow[wire.Result](ctx, c, r) {
				if errors.Is(err, ErrBroken) && came && id != "" {
					again = true
					break
				}
				if err == nil {
					came = true
					last = max(last, result.Seq)
				}
				// The first line of who has begun it is about the job, and so is the last.
				ended := err == nil && result.Job != nil && id != ""
				if err == nil && result.Job != nil {
					id = result.Job.ID
				}
				if !yield(result, err) || err != nil || ended {
					return
				}
			}
		}
	}
}

// resultsOf asks for the results of a job behind number after.
func resultsOf(id string, after int64, wait bool) request {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "follow": {strconv.FormatBool(wait)}}
	return request{method: http.MethodGet, path: "/jobs/" + url.PathEscape(id) + "/results", query: query}
}

// Jobs are those of the process, the newest first.
func (c *Client) Jobs(ctx context.Context) ([]wire.Job, error) {
	var out wire.Jobs
	err := c.get(ctx, "/jobs", nil, &out)
	return out.Jobs, err
}

// Job is how far a job has come.
func (c *Client) Job(ctx context.Context, id string) (out wire.Job, err error) {
	err = c.get(ctx, "/jobs/"+url.PathEscape(id), nil, &out)
	return out, err
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id string) (out wire.Job, err error) {
	err = c.post(ctx, "/jobs/"+url.PathEscape(id)+"/cancel", nil, &out)
	return out, err
}

// Results yields the results of a job behind number after, until it ends if
// wait is set.
func (c *Client) Results(ctx context.Context, id string, after int64, wait bool) iter.Seq2[wire.Result, error] {
	return c.keepOn(ctx, resultsOf(id, after, wait), id, after, wait)
}

// SendList sends the list of a job, as it is read. A list that comes slowly is
// nothing bad: while there is none of it, the other side hears that there will be.
func (c *Client) SendList(ctx context.Context, id string, list io.Reader) error {
	body := steady(list, beat)
	defer body.Close() //nolint:errcheck // it always succeeds
	return c.call(ctx, request{method: http.MethodPost, path: "/jobs/" + url.PathEscape(id) + "/list", body: body, kind: "application/x-ndjson"}, nil)
}

// Events yields what happens, from now on or behind the event last. It ends
// with ctx, or with the connection: to go on, give the ID of the last event. kinds
// selects some; none: all.
func (c *Client) Events(ctx context.Context, last string, kinds ...string) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		r := request{method: http.MethodGet, path: "/events", query: make(url.Values), header: make(http.Header)}
		set(r.query, "kind", strings.Join(kinds, ","))
		if last != "" {
			r.header.Set("Last-Event-ID", last)
		}
		response, err := c.send(ctx, r)
		if err != nil {
			yield(wire.Event{}, err)
			return
		}
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e wire.Event
			err := json.Unmarshal([]byte(data), &e)
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrAnswer, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err = lines.Err(); err == nil {
			err = io.EOF
		}
		if in := bodyOf(response); in.failed != nil || errors.Is(err, io.EOF) {
			err = c.broke(ctx, err)
		} else {
			err = c.wrong(ctx, in, err)
		}
		yield(wire.Event{}, err)
	}
}
