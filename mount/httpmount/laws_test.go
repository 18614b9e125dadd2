package httpmount_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

// client makes a client whose connections are closed when the test ends.
func client(t testing.TB, cfg *httpmount.Config) *httpmount.Client {
	t.Helper()
	c, err := httpmount.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func registry(c *httpmount.Client) mount.Registry {
	return mount.Registry{"http": c.Open, "https": c.Open}
}

func open(t testing.TB, c *httpmount.Client, url string) mount.Mount {
	t.Helper()
	m, err := c.Open(url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return m
}

func read(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// contents are what the servers serve, by the name of the file.
func contents() map[string][]byte {
	long := make([]byte, 5000)
	for i := range long {
		long[i] = byte(i * i >> 3)
	}
	return map[string][]byte{
		"empty.car": {}, "one.car": {7}, "photos.car": long,
		"a b#c?d%é\\'.car": []byte("a name that has to be escaped"),
		"100%25.car":       []byte("a name that looks escaped"),
	}
}

func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range contents() {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		// A time of modification in the past, as that of a CAR usually is.
		then := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func checkLaws(t *testing.T, c *httpmount.Client, base string) {
	t.Helper()
	for name, data := range contents() {
		m := open(t, c, base+"/"+mount.EscapePath(name))
		if err := mounttest.Test(t.Context(), registry(c), m, data); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLawsNginx(t *testing.T) {
	server := servertest.StartNginx(t, folder(t))
	checkLaws(t, client(t, nil), server.URL)
}

// Without an ETag the version is of time and size.
func TestLawsNginxWithoutETag(t *testing.T) {
	server := servertest.StartNginx(t, folder(t), "etag off;")
	c := client(t, nil)
	checkLaws(t, c, server.URL)
	st, err := open(t, c, server.URL+"/photos.car").Stat(t.Context())
	if err != nil || !strings.HasPrefix(st.Version, "modified=") || !strings.HasSuffix(st.Version, ";size=5000") {
		t.Errorf("Stat is %+v, %v", st, err)
	}
}

// Where nginx offers no ranges, a mount says so and streams.
func TestLawsNginxWithoutRanges(t *testing.T) {
	server := servertest.StartNginx(t, folder(t), "max_ranges 0;")
	c := client(t, nil)
	checkLaws(t, c, server.URL)
	if st, err := open(t, c, server.URL+"/photos.car").Stat(t.Context()); err != nil || st.Ranges || st.Size != 5000 {
		t.Errorf("Stat is %+v, %v", st, err)
	}
}

func TestLawsFileServer(t *testing.T) {
	server := httptest.NewServer(http.FileServer(http.Dir(folder(t))))
	defer server.Close()
	checkLaws(t, client(t, &httpmount.Config{PerHost: 64}), server.URL)
}

func TestLawsHTTP2(t *testing.T) {
	protocols := make(chan string, 1<<10)
	files := http.FileServer(http.Dir(folder(t)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case protocols <- r.Proto:
		default:
		}
		files.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c := client(t, &httpmount.Config{TLS: trusting(server)})
	defer c.CloseIdle()
	checkLaws(t, c, server.URL)
	if got := <-protocols; got != "HTTP/2.0" {
		t.Errorf("the requests are of %s", got)
	}
}

// trusting has the certificate of a test server.
func trusting(server *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// A source that lies behind a redirect is the same source.
func TestLawsRedirected(t *testing.T) {
	files := httptest.NewServer(http.FileServer(http.Dir(folder(t))))
	defer files.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, files.URL+r.URL.EscapedPath(), http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	c := client(t, &httpmount.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer c.CloseIdle()
	checkLaws(t, c, front.URL)
}

// A server that has neither HEAD, nor ETags, nor times, nor lengths.
func TestLawsBareServer(t *testing.T) {
	data := contents()["photos.car"]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path != "/car":
			w.WriteHeader(http.StatusNotFound)
		default:
			for part := data; len(part) > 0; part = part[min(len(part), 700):] {
				w.Write(part[:min(len(part), 700)])
				w.(http.Flusher).Flush()
			}
		}
	}))
	defer server.Close()
	c := client(t, nil)
	m := open(t, c, server.URL+"/car")
	if err := mounttest.Test(t.Context(), registry(c), m, data); err != nil {
		t.Error(err)
	}
	if st, err := m.Stat(t.Context()); err != nil || st != (mount.Stat{Size: -1}) {
		t.Errorf("Stat is %+v, %v", st, err)
	}
}

// A weak ETag is a part of the version, and no server is asked to match it.
func TestLawsWeakETag(t *testing.T) {
	data := contents()["photos.car"]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/car" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if r.Header.Get("If-Match") != "" {
			t.Errorf("asked to match %s", r.Header.Get("If-Match"))
		}
		w.Header().Set("Etag", `W/"v1"`)
		http.ServeContent(w, r, "car", time.Unix(1.7e9, 0), bytes.NewReader(data))
	}))
	defer server.Close()
	c := client(t, nil)
	m := open(t, c, server.URL+"/car")
	if err := mounttest.Test(t.Context(), registry(c), m, data); err != nil {
		t.Error(err)
	}
	if st, err := m.Stat(t.Context()); err != nil || st.Version != `modified=2023-11-14T22:13:20Z;size=5000;W/"v1"` {
		t.Errorf("Stat is %+v, %v", st, err)
	}
}

// A server that knows conditions need not send what is not wanted.
func TestConditions(t *testing.T) {
	asked := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Clone()
		w.WriteHeader(http.StatusPreconditionFailed)
	}))
	defer server.Close()
	m := open(t, client(t, nil), server.URL)
	for version, want := range map[string]string{
		`"v1"`: `If-Match: "v1"`, `modified=2023-11-14T22:13:20Z;size=5000`: "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:20 GMT",
		`modified=2023-11-14T22:13:20Z;size=5000;W/"v1"`: "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:20 GMT",
		`W/"v1"`: "", "": "", "\"v1\"\r\nX: y": "", `"v1", "v2"`: "", `""`: "", `modified=soon`: "", `v1`: "",
	} {
		_, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: 7, Length: 3, Version: version})
		if (version != "") != errors.Is(err, mount.ErrChanged) {
			t.Errorf("version %q gives %v", version, err)
		}
		header := <-asked
		var got []string
		for _, name := range []string{"If-Match", "If-Unmodified-Since", "X"} {
			if value := header.Get(name); value != "" {
				got = append(got, name+": "+value)
			}
		}
		if strings.Join(got, "; ") != want || header.Get("Range") != "bytes=7-9" || header.Get("Accept-Encoding") != "identity" || header.Get("User-Agent") != "dagstore" {
			t.Errorf("version %q is asked for with %v", version, header)
		}
	}
}

// Each read is one request that moves no byte too many, and requests share
// connections.
func TestRequestsAndBytes(t *testing.T) {
	server := servertest.StartNginx(t, folder(t))
	c := client(t, nil)
	m := open(t, c, server.URL+"/photos.car")
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(10) {
		got, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: i * 100, Length: 50, Version: st.Version}))
		if err != nil || len(got) != 50 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if got, err := read(m.Open(t.Context())); err != nil || len(got) != 5000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	all := server.Requests(t, 12)
	if len(all) != 12 || all[0].Method != http.MethodHead || all[0].Bytes != 0 {
		t.Fatalf("%d requests, the first is %+v", len(all), all[0])
	}
	for i, r := range all[1:11] {
		want := servertest.Request{Method: "GET", URI: "/photos.car", Status: 206, Bytes: 50, Range: fmt.Sprintf("bytes=%d-%d", i*100, i*100+49)}
		if r != want {
			t.Errorf("request %d is %+v, not %+v", i, r, want)
		}
	}
	if last := all[11]; last.Status != 200 || last.Bytes != 5000 || last.Range != "" {
		t.Errorf("the last request is %+v", last)
	}
}
