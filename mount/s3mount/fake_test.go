package s3mount_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/mount/s3mount"
)

// The markers that must appear nowhere. The session token is sent to the
// server, which may say it back to us.
const (
	secretMarker  = "SECRET-MARKER"
	sessionMarker = "SESSION-MARKER"
)

// fake is a server that does what a test wants, and counts.
type fake struct {
	*httptest.Server
	requests atomic.Int64
}

func newFake(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := new(fake)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// service is how f is reached.
func (f *fake) service() s3mount.Service {
	return s3mount.Service{Endpoint: f.URL, Region: "us-east-1", Credentials: s3mount.Credentials{
		AccessKey: "key", SecretKey: secretMarker, SessionToken: sessionMarker,
	}}
}

func (f *fake) client(t *testing.T) *s3mount.Client {
	t.Helper()
	return newClient(t, &s3mount.Config{Services: []s3mount.Service{f.service()}})
}

// content is the object of the fakes: 1,000 bytes that are all different from
// their neighbours.
var content = func() string {
	b := make([]byte, 1000)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return string(b)
}()

// good answers as S3 does for an object that holds content.
func good(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"etag"`)
	http.ServeContent(w, r, "", modified, strings.NewReader(content))
}

// refuse answers as S3 refuses, with a message that says back all it knows.
func refuse(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>%s of %s</Message><RequestId>%[2]s</RequestId></Error>",
			code, r.Header.Get("X-Amz-Security-Token"), r.Header.Get("Authorization"))
	}
}

// raw answers with bytes as they are and closes the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(answer))
		_ = conn.(*net.TCPConn).CloseWrite()
	}
}

// part answers a range request with a range of its own choice.
func part(contentRange string, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"etag"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if contentRange != "" {
			w.Header().Set("Content-Range", contentRange)
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte(body))
	}
}

// chunked answers with a body that does not say how long it is.
func chunked(status int, contentRange, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"etag"`)
		if contentRange != "" {
			w.Header().Set("Content-Range", contentRange)
		}
		w.WriteHeader(status)
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte(body))
	}
}

// endless refuses with a body that has no end.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	for some := bytes.Repeat([]byte("<Code>"), 1000); ; {
		if _, err := w.Write(some); err != nil {
			return
		}
	}
}
