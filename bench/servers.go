package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

// A far is a server that CARs lie on.
type far struct {
	name   string
	at     string         // URL of a CAR, up to its name
	mounts mount.Registry // straight to the server
	watch  mount.Registry // for a store whose requests are counted; maybe slower
	idle   func()         // closes connections that nobody uses

	put     func(ctx context.Context, name, path string) error // has the server offer a file
	request func(ctx context.Context, name string) (*http.Request, error)
	client  *http.Client // for what is asked without a store
	asked   func(ctx context.Context) (asked, error)
}

// asked is what a server was asked since it started, and the bytes that it has
// sent for it, headers apart.
type asked struct{ requests, bytes int64 }

func (a asked) since(b asked) asked { return asked{a.requests - b.requests, a.bytes - b.bytes} }

// kindsOfFar start the servers that the rows are measured behind.
var kindsOfFar = []struct {
	name  string
	start func(t *stage, e *env) *far
}{{"nginx", startNginx}, {"versitygw", startS3}}

// behindEach has a row measured behind each server, and returns the result that
// is worse, with the notes of both.
func behindEach(e *env, row func(f *far) (result, error), better func(a, b *result) bool) (worst result, err error) {
	var notes []string
	for i, kind := range kindsOfFar {
		var r result
		err := onStage(func(t *stage) (err error) {
			r, err = row(kind.start(t, e))
			return err
		})
		if err != nil {
			return worst, fmt.Errorf("%s: %w", kind.name, err)
		}
		notes = append(notes, kind.name+": "+r.note)
		if i == 0 || worst.held && !r.held || worst.held == r.held && better(&worst, &r) {
			worst = r
		}
	}
	worst.note = strings.Join(notes, "\n")
	return worst, nil
}

func lowRatio(a, b *result) bool  { return a.ratio < b.ratio }
func highRatio(a, b *result) bool { return a.ratio > b.ratio }

// A stage is the test that servers are started for: what is fatal to it ends
// the row with an error.
type stage struct {
	ends   []func()
	failed bool
}

// endOfRow is what a stage panics with.
type endOfRow struct{ err error }

// onStage calls use and ends what it has started.
func onStage(use func(t *stage) error) (err error) {
	t := new(stage)
	defer func() {
		if p := recover(); p != nil {
			end, ok := p.(endOfRow)
			if !ok {
				panic(p)
			}
			err = end.err
		}
		t.failed = err != nil
		for i := len(t.ends) - 1; i >= 0; i-- {
			t.ends[i]()
		}
	}()
	return use(t)
}

// Helper implements [servertest.T].
func (t *stage) Helper() {}

// Cleanup implements [servertest.T].
func (t *stage) Cleanup(f func()) { t.ends = append(t.ends, f) }

// Failed implements [servertest.T].
func (t *stage) Failed() bool { return t.failed }

// Logf implements [servertest.T].
func (t *stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatal implements [servertest.T].
func (t *stage) Fatal(args ...any) {
	if len(args) == 1 {
		if err, ok := args[0].(error); ok {
			panic(endOfRow{err})
		}
	}
	panic(endOfRow{errors.New(fmt.Sprint(args...))})
}

// Fatalf implements [servertest.T].
func (t *stage) Fatalf(format string, args ...any) { panic(endOfRow{fmt.Errorf(format, args...)}) }

// Skipf implements [servertest.T]: a row without its server is not measured.
func (t *stage) Skipf(format string, args ...any) { t.Fatalf(format, args...) }

// newClient is a client for what is asked without a store.
func newClient(t *stage) *http.Client {
	pool := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(pool.CloseIdleConnections)
	return &http.Client{Transport: pool}
}

// copiesAt is a location under which the server has each of its files as often
// as there are numbers.
const copiesAt = `location ~ ^/copies/[0-9]+/(.*)$ { alias "%s/$1"; }`

// startNginx serves the folder of e. Its log is what it was asked.
func startNginx(t *stage, e *env) *far {
	server := servertest.StartNginx(t, e.dir, fmt.Sprintf(copiesAt, e.dir), fmt.Sprintf(heldAt, e.dir))
	web, err := httpmount.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.CloseIdle)
	f := &far{name: "nginx", at: server.URL + "/", mounts: mount.Registry{"http": web.Open}, idle: web.CloseIdle, client: newClient(t)}
	f.watch = f.mounts
	f.put = func(_ context.Context, name, path string) error {
		if path == filepath.Join(e.dir, name) {
			return nil
		}
		return os.Link(path, filepath.Join(e.dir, name))
	}
	f.request = func(ctx context.Context, name string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, f.at+name, nil)
	}
	marks := 0
	f.asked = func(ctx context.Context) (a asked, err error) {
		// One process answers all, and logs what it has answered at once: what
		// was asked before stands before this in the log.
		marks++
		mark := fmt.Sprintf("mark-%d", marks)
		if _, err := f.download(ctx, io.Discard, mark, ""); !errors.Is(err, errStatus) {
			return a, fmt.Errorf("nginx has a file that nobody has made: %w", err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			a, seen := asked{}, false
			for _, r := range server.Requests(t, marks) {
				if strings.HasPrefix(r.URI, "/mark-") {
					seen = seen || r.URI == "/"+mark
					continue
				}
				a.requests++
				a.bytes += r.Bytes
			}
			if seen {
				return a, nil
			}
			if time.Now().After(deadline) {
				return a, errors.New("nginx does not log what it was asked")
			}
		}
	}
	return f
}

var errStatus = errors.New("bench: the server refuses")

// download copies a file, or a part of it, to w.
func (f *far) download(ctx context.Context, w io.Writer, name, part string) (int64, error) {
	req, err := f.request(ctx, name)
	if err != nil {
		return 0, err
	}
	if part != "" {
		req.Header.Set("Range", part)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is kept
		return 0, fmt.Errorf("%w: %s", errStatus, resp.Status)
	}
	return io.Copy(w, resp.Body)
}

const carBucket = "cars"

// startS3 serves a carBucket. What goes through a proxy before the server is
// counted there.
func startS3(t *stage, _ *env) *far {
	server := servertest.VersityGW(t)
	count, through := startCounting(t, server.Endpoint)
	clients := make([]*s3mount.Client, 2)
	for i, endpoint := range []string{server.Endpoint, through} {
		c, err := s3mount.New(&s3mount.Config{Services: []s3mount.Service{{Endpoint: endpoint, Region: server.Region,
			Credentials: s3mount.Credentials{AccessKey: server.AccessKey, SecretKey: s3mount.Secret(server.SecretKey)}}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseIdle)
		clients[i] = c
	}
	f := &far{name: "versitygw", at: "s3://" + carBucket + "/", client: newClient(t), asked: count,
		mounts: mount.Registry{"s3": clients[0].Open}, watch: mount.Registry{"s3": clients[1].Open}}
	f.idle = func() {
		for _, c := range clients {
			c.CloseIdle()
		}
	}
	f.request = func(ctx context.Context, name string) (*http.Request, error) {
		return signed(ctx, server, http.MethodGet, name, nil, 0)
	}
	f.put = func(ctx context.Context, name, path string) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		return f.send(signed(ctx, server, http.MethodPut, name, file, info.Size()))
	}
	if err := f.send(signed(context.Background(), server, http.MethodPut, "", nil, 0)); err != nil {
		t.Fatal(err)
	}
	return f
}

// signed is a request of the owner of server.
func signed(ctx context.Context, server *servertest.S3, method, name string, body io.Reader, size int64) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, server.Endpoint+"/"+carBucket+"/"+name, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	return signer.SignV4(*req, server.AccessKey, server.SecretKey, "", server.Region), nil
}

// send sends a request whose answer says nothing but whether it was refused.
func (f *far) send(req *http.Request, err error) error {
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %s", errStatus, resp.Status, text)
	}
	return err
}

// startCounting starts a proxy before a server, which counts what goes through.
func startCounting(t *stage, endpoint string) (count func(context.Context) (asked, error), through string) {
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var requests, sent atomic.Int64
	pool := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	proxy := &httputil.ReverseProxy{
		Transport: pool,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			requests.Add(1)
			r.Body = &countedBody{r.Body, &sent}
			return nil
		},
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", servertest.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		pool.CloseIdleConnections()
	})
	return func(context.Context) (asked, error) {
		return asked{requests.Load(), sent.Load()}, nil
	}, "http://" + listener.Addr().String()
}

// countedBody counts what is read of the body of an answer.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
