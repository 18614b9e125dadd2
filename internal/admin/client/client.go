package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// A Client asks one process. Its methods may be called by many goroutines.
type Client struct {
	base  string
	token string
	http  *http.Transport

	answered atomic.Int64
	met      atomic.Pointer[wire.Store] // who answered first

	// Heard is told of damage that a request has met, of what Events.Fault tells
	// in a process that has the store itself. It may be nil, and must be set
	// before the first request.
	Heard func(dagstore.FaultEvent)
}

// A Place is where an API is served.
type Place struct {
	base, token string
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
}

// Unix is the API that a unix socket leads to.
func Unix(path string) Place {
	return Place{base: "http://localhost", dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}

// HTTP is the API at a URL such as http://127.0.0.1:8448, for who shows token.
func HTTP(base, token string) Place {
	return Place{base: strings.TrimRight(base, "/"), token: token}
}

// New makes a client, and asks nothing.
func New(at Place) *Client {
	return &Client{base: at.base + "/api/v1", token: at.token, http: &http.Transport{
		DialContext: at.dial, MaxIdleConnsPerHost: 16, DisableCompression: true,
	}}
}

// Answered is how many requests have been answered with what they asked for.
func (c *Client) Answered() int64 { return c.answered.Load() }

// Close ends connections that nobody uses.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

const mimeJSON = "application/json"

// A request is one that is to be sent.
type request struct {
	method, path string
	query        url.Values
	body         io.Reader
	kind         string // of the body
	header       http.Header
	once         bool // it is not to be made twice, see [ErrUnsure]
}

// with is r with v as its body.
func (r request) with(v any) (request, error) {
	text, err := json.Marshal(v)
	r.body, r.kind = bytes.NewReader(text), mimeJSON
	return r, err
}

// show adds to a request what lets it in.
func (c *Client) show(r *http.Request) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
}

// send sends r and returns an answer that is no problem. Its body must be closed.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	at := c.base + r.path
	if len(r.query) > 0 {
		at += map[bool]string{false: "?", true: "&"}[strings.Contains(at, "?")] + r.query.Encode()
	}
	given := &source{r: r.body}
	if r.body != nil && r.kind != mimeJSON {
		r.body = given
	}
	request, err := http.NewRequestWithContext(ctx, r.method, at, r.body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		request.Header[name] = values
	}
	if r.kind != "" {
		request.Header.Set("Content-Type", r.kind)
	}
	c.show(request)
	var sent atomic.Bool
	if r.once {
		trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
		request = request.WithContext(httptrace.WithClientTrace(ctx, trace))
	}
	response, err := c.http.RoundTrip(request)
	if cause := given.failed.Load(); cause != nil && err != nil {
		return nil, *cause // there was no more to send
	}
	if err != nil {
		if err = c.broke(ctx, err); sent.Load() && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrUnsure, err)
		}
		return nil, err
	}
	response.Body = &body{ReadCloser: response.Body}
	if response.StatusCode < 300 {
		c.answered.Add(1)
		return response, nil
	}
	defer response.Body.Close()
	return nil, c.problemIn(ctx, response)
}

// bodyOf is the body of an answer that send has returned.
func bodyOf(response *http.Response) *body {
	b, ok := response.Body.(*body)
	if !ok { // it never is another
		b = &body{ReadCloser: response.Body}
	}
	return b
}

// problemIn is the problem that an answer has.
func (c *Client) problemIn(ctx context.Context, response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return c.broke(ctx, err)
	}
	var p wire.Problem
	if err := json.Unmarshal(text, &p); err != nil || p.Type == "" {
		return fmt.Errorf("%w: %s", ErrAnswer, response.Status)
	}
	return p.Err()
}

// readJSON reads one value.
func readJSON(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

// call sends r and reads the answer into v, which may be nil.
func (c *Client) call(ctx context.Context, r request, v any) error {
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if v == nil {
		return nil
	}
	if err := readJSON(response.Body, v); err != nil {
		return c.wrong(ctx, bodyOf(response), err)
	}
	// What is left of the body is read, or the connection could not be used again.
	// All that was wanted is there, whatever comes of this.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10))
	return nil
}

// get is call of a GET.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, v)
}

// post is call of a POST with a body, which may be nil.
func (c *Client) post(ctx context.Context, path string, body, v any) error {
	return c.do(ctx, http.MethodPost, path, nil, body, v)
}

// remove is call of a DELETE, which is not to be made twice: it would not find
// what the first one has removed.
func (c *Client) remove(ctx context.Context, path string, query url.Values) error {
	return c.call(ctx, request{method: http.MethodDelete, path: path, query: query, once: true}, nil)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, v any) (err error) {
	r := request{method: method, path: path, query: query}
	if body != nil {
		if r, err = r.with(body); err != nil {
			return err
		}
	}
	return c.call(ctx, r, v)
}

// segment spells a name as one segment of a path, and where no segment can hold
// it, as "-" with the name in the query.
func segment(param, name string, query url.Values) string {
	switch name {
	case "", ".", "..", "/":
		query.Set(param, name)
		return "-"
	case "-":
		query.Set(param, name) // there may be a query of that name by chance
	}
	return strings.ReplaceAll(url.PathEscape(name), "/", "%2F")
}

// at is the path of a shard, and a query to which more can be added.
func at(key shard.Key, rest string) (string, url.Values) {
	query := make(url.Values)
	return "/shards/" + segment("key", string(key), query) + rest, query
}
