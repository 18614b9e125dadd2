package s3mount_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

// Keys that no file system has reach the server as they are.
func TestKeysOnTheWire(t *testing.T) {
	var asked string
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		good(w, r)
	})
	c := f.client(t)
	for url, want := range map[string]string{
		"s3://cars//":                 "/cars//",
		"s3://cars//lead":             "/cars//lead",
		"s3://cars/a//b":              "/cars/a//b",
		"s3://cars/../up":             "/cars/../up",
		"s3://cars/./a/../b/.":        "/cars/./a/../b/.",
		"s3://cars/..":                "/cars/..",
		"s3://cars/folder/":           "/cars/folder/",
		"s3://cars/%20":               "/cars/%20",
		"s3://cars/a+b=c&d":           "/cars/a%2Bb%3Dc%26d",
		"s3://cars/%00%0D%0A":         "/cars/%00%0D%0A",
		"s3://cars/%25%2525":          "/cars/%25%2525",
		"s3://cars/a?versionId=x%2By": "/cars/a?versionId=x%2By",
	} {
		m := open(t, c, url)
		if got, err := read(m.Open(t.Context())); m.URL() != url && !strings.Contains(url, "%00") || asked != want || err != nil && !strings.Contains(url, "versionId") || got != content && err == nil {
			t.Errorf("%s: %d bytes, %v, asked for as %s, not %s", url, len(got), err, asked, want)
		}
	}
}

// One request for each thing, and no more.
func TestRequests(t *testing.T) {
	f := newFake(t, good)
	c := f.client(t)
	m := open(t, c, "s3://cars/a.car")
	if f.requests.Load() != 0 {
		t.Error("making a mount sends requests")
	}
	for i, call := range []func() error{
		func() error { _, err := m.Stat(t.Context()); return err },
		func() error { _, err := read(m.Open(t.Context())); return err },
		func() error {
			_, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 3, Length: 9, Version: "etag"}))
			return err
		},
		func() error {
			_, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 3, Length: -1}))
			return err
		},
		func() error { _, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 3})); return err },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		if n := f.requests.Load(); n != int64(i+1) {
			t.Fatalf("%d requests by call %d", n, i+1)
		}
	}
	if got, want := c.Cost(), (s3mount.Cost{Heads: 2, Gets: 3, Bytes: 1000 + 9 + 997}); got != want {
		t.Errorf("the cost is %+v, not %+v", got, want)
	}
}

func TestSigning(t *testing.T) {
	var got http.Header
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		good(w, r)
	})
	public, payer := f.service(), f.service()
	public.Buckets, payer.Buckets = []string{"public"}, []string{"pa?er"}
	public.Credentials = s3mount.Credentials{Anonymous: true}
	payer.RequesterPays = true
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{public, f.service(), payer}})
	for bucket, want := range map[string][3]string{
		"cars":   {"AWS4-HMAC-SHA256 Credential=key/", sessionMarker, ""},
		"public": {"", "", ""},
		"payer":  {"AWS4-HMAC-SHA256 Credential=key/", sessionMarker, "requester"},
	} {
		if _, err := open(t, c, "s3://"+bucket+"/a").Stat(t.Context()); err != nil {
			t.Fatal(err)
		}
		auth := got.Get("Authorization")
		if !strings.HasPrefix(auth, want[0]) || want[0] == "" && auth != "" || got.Get("X-Amz-Security-Token") != want[1] || got.Get("X-Amz-Request-Payer") != want[2] {
			t.Errorf("%s: %v", bucket, got)
		}
		if want[2] != "" && !strings.Contains(auth, "x-amz-request-payer") {
			t.Errorf("%s: that we pay is not signed: %s", bucket, auth)
		}
		if got.Get("Accept-Encoding") != "identity" || got.Get("Cookie") != "" || strings.Contains(fmt.Sprint(got), secretMarker) {
			t.Errorf("%s: %v", bucket, got)
		}
	}
}

// A bucket that lies elsewhere costs one request more, once.
func TestRegion(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"by header": refuse(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-9"),
		"by body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-9</Region></Error>")
		},
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get("Authorization"), "/eu-west-9/s3/") {
				good(w, r)
				return
			}
			answer(w, r)
		})
		c := f.client(t)
		for want := range int64(4) {
			if got, err := read(open(t, c, "s3://cars/a").Open(t.Context())); got != content || err != nil {
				t.Fatalf("%s: %d bytes, %v", name, len(got), err)
			}
			if n := f.requests.Load(); n != want+2 {
				t.Errorf("%s: %d requests for %d GETs", name, n, want+1)
			}
		}
	}
}

// A server that always knows another region, or none, is asked twice at most.
func TestRegionThatIsNone(t *testing.T) {
	n := 0
	for _, region := range []string{"us-east-1", "x-%d", "evil.example.com/", "a b", "", strings.Repeat("x", 64)} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			n++
			name := region
			if strings.Contains(name, "%d") {
				name = fmt.Sprintf(name, n)
			}
			refuse(301, "PermanentRedirect", "X-Amz-Bucket-Region", name)(w, r)
		})
		c := f.client(t)
		_, err := open(t, c, "s3://cars/a").Open(t.Context())
		want := int64(1)
		if strings.Contains(region, "%d") {
			want = 2
		}
		if !is(err, errAny) || !strings.Contains(err.Error(), "region") || f.requests.Load() != want {
			t.Errorf("region %q: %d requests, %v", region, f.requests.Load(), err)
		}
	}
}

func TestCA(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(good))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	trusted := s3mount.Service{Endpoint: s.URL, Credentials: s3mount.Credentials{Anonymous: true}}
	strange := trusted
	strange.Buckets = []string{"strange"}
	trusted.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{trusted, strange}})
	if got, err := read(open(t, c, "s3://cars/a").Open(t.Context())); got != content || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := open(t, c, "s3://strange/a").Open(t.Context()); !is(err, errAny) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that is not trusted gives %v", err)
	}
}

func TestConfig(t *testing.T) {
	type creds = s3mount.Credentials
	for _, c := range []struct {
		why string
		b   s3mount.Service
	}{
		{`an endpoint is "https`, s3mount.Service{Endpoint: "s3.example.com"}},
		{`an endpoint is "https`, s3mount.Service{Endpoint: "ftp://s3.example.com"}},
		{`an endpoint is "https`, s3mount.Service{Endpoint: "https://"}},
		{"an endpoint has no user", s3mount.Service{Endpoint: "https://k:" + secretMarker + "@s3.example.com"}},
		{"an endpoint has no path", s3mount.Service{Endpoint: "https://s3.example.com/cars"}},
		{"an endpoint has no path", s3mount.Service{Endpoint: "https://s3.example.com?" + secretMarker}},
		{"the region", s3mount.Service{Region: "eu west"}},
		{"no bucket is called", s3mount.Service{Name: "a/b", Buckets: []string{"cars"}}},
		{"no bucket is called", s3mount.Service{Buckets: []string{"a"}}},
		{"no bucket is called", s3mount.Service{Buckets: []string{"cars", "a/b"}}},
		{"no bucket is called", s3mount.Service{Buckets: []string{"cars[a"}}},
		{"of one bucket", s3mount.Service{Name: "cars"}},
		{"of one bucket", s3mount.Service{Name: "cars", Buckets: []string{"cars-*"}}},
		{"of one bucket", s3mount.Service{Name: "cars", Buckets: []string{"one", "two"}}},
		{"named twice", s3mount.Service{Buckets: []string{"cars", "cars"}}},
		{"named twice", s3mount.Service{Buckets: []string{"cars-*", "cars-*"}}},
		{"named twice", s3mount.Service{Buckets: []string{"taken"}}},
		{"all other buckets", s3mount.Service{}},
		{"addressing", s3mount.Service{Addressing: 9}},
		{"the CA", s3mount.Service{CA: secretMarker}},
		{"come together", s3mount.Service{Credentials: creds{AccessKey: "k"}}},
		{"come together", s3mount.Service{Credentials: creds{SecretKey: secretMarker}}},
		{"come together", s3mount.Service{Credentials: creds{SessionToken: sessionMarker}}},
		{"not two of them", s3mount.Service{Credentials: creds{AccessKey: "k", SecretKey: secretMarker, Profile: "p"}}},
		{"not two of them", s3mount.Service{Credentials: creds{AccessKey: "k", SecretKey: secretMarker, Anonymous: true}}},
		{"not two of them", s3mount.Service{Credentials: creds{File: "f", Anonymous: true}}},
	} {
		_, err := s3mount.New(&s3mount.Config{Services: []s3mount.Service{{}, {Buckets: []string{"taken"}}, c.b}})
		if err == nil || !strings.Contains(err.Error(), c.why) || !harmless(err) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	// All faults are named at once.
	_, err := s3mount.New(&s3mount.Config{PerHost: -3, Services: []s3mount.Service{
		{Name: "xyz", Region: "X", CA: "x"}, {Buckets: []string{"a"}}, {Credentials: creds{AccessKey: "k"}}}})
	for _, part := range []string{"-3 requests", "service 0", "of one bucket", "the region", "the CA", "service 1", `"a"`, "service 2", "come together"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("of %q nothing is said in %v", part, err)
		}
	}
}

// Who may name buckets reaches none but those that are configured.
func TestOnly(t *testing.T) {
	f := newFake(t, good)
	some := f.service()
	some.Buckets = []string{"cars", "my-*"}
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{some}, Only: true})
	for _, url := range []string{"s3://cars/a", "s3://my-cars/a"} {
		if got, err := read(open(t, c, url).Open(t.Context())); got != content || err != nil {
			t.Errorf("%s: %d bytes, %v", url, len(got), err)
		}
	}
	for _, url := range []string{"s3://other/a", "s3://cars2/a", "s3://CARS/a"} {
		if m, err := c.Open(url); m != nil || !errors.Is(err, mount.ErrDenied) {
			t.Errorf("%s gives %v", url, err)
		}
		if _, err := collect(t.Context(), c, url); !errors.Is(err, mount.ErrDenied) {
			t.Errorf("a listing of %s gives %v", url, err)
		}
	}
}

// Each bucket is of one service, whatever their order.
func TestServices(t *testing.T) {
	var services []s3mount.Service
	var last string
	for _, name := range []string{"", "cars", "cars-*", "cars-2???", "car*", "[m-z]*"} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			last = name
			good(w, r)
		})
		one := f.service()
		if name != "" {
			one.Buckets = []string{name}
		}
		services = append(services, one)
	}
	for range 2 {
		c := newClient(t, &s3mount.Config{Services: services})
		for bucket, want := range map[string]string{
			"cars": "cars", "cars-": "cars-*", "cars-2026": "cars-2???", "cars-2026-05": "cars-*", "cart": "car*", "mine": "[m-z]*", "archive": "", "CARS": "",
		} {
			if _, err := open(t, c, "s3://"+bucket+"/a").Stat(t.Context()); err != nil || last != want {
				t.Errorf("bucket %s is of the service for %q, %v", bucket, last, err)
			}
		}
		slices.Reverse(services)
	}
}

// Streams that are open count, and who waits for one of them may leave.
func TestPerHost(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"etag"`)
		w.Header().Set("Content-Length", "1000")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{f.service()}, PerHost: 2})
	m := open(t, c, "s3://cars/a")
	for range 2 {
		r, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third stream gives %v", err)
	}
	if n := f.requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A server that drips, or says nothing, is given up; one that is slow is not.
func TestPatience(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "silent") {
			<-r.Context().Done()
			return
		}
		w.Header().Set("ETag", `"etag"`)
		w.Header().Set("Content-Length", "1000")
		for i := 0; r.Context().Err() == nil && i < len(content); i++ {
			_, _ = w.Write([]byte(content[i : i+1]))
			w.(http.Flusher).Flush()
			if strings.HasSuffix(r.URL.Path, "drip") {
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}
	})
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{f.service()}, Patience: 100 * time.Millisecond})
	for _, key := range []string{"silent", "drip"} {
		got, err := read(open(t, c, "s3://cars/"+key).Open(t.Context()))
		if !is(err, mount.ErrStalled) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(content, got) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	patient := newClient(t, &s3mount.Config{Services: []s3mount.Service{f.service()}, Patience: -1})
	if got, err := read(open(t, patient, "s3://cars/drip").Open(t.Context())); got != content || err != nil {
		t.Errorf("who is patient gets %d bytes, %v", len(got), err)
	}
}

// However a configuration is shown, it shows no secret.
func TestSecretsAreNotShown(t *testing.T) {
	creds := s3mount.Credentials{AccessKey: "k", SecretKey: secretMarker, SessionToken: sessionMarker}
	cfg := s3mount.Config{Services: []s3mount.Service{{Credentials: creds}}}
	shown := ""
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown += fmt.Sprintf(format, cfg) + fmt.Sprintf(format, &cfg) + fmt.Sprintf(format, creds.SecretKey)
	}
	b, err := json.Marshal(cfg.Services)
	if err != nil {
		t.Fatal(err)
	}
	shown += string(b)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "cfg", cfg, "key", creds.SecretKey)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "cfg", cfg.Services, "key", creds.SecretKey)
	shown += log.String()
	c := newClient(t, &cfg)
	shown += open(t, c, "s3://cars/a").URL()
	if strings.Contains(shown, "MARKER") || strings.Contains(shown, fmt.Sprintf("%x", "MARKER")) || !strings.Contains(shown, "(secret)") {
		t.Error(shown)
	}
}
