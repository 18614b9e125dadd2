package front

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func ask(t *testing.T, m *Monitor, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = "127.0.0.1:8449"
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, r)
	return rec
}

func watch(t *testing.T, m *Monitor, path string) int {
	t.Helper()
	return ask(t, m, http.MethodGet, path).Code
}

func TestMonitor(t *testing.T) {
	var sick error
	m := &Monitor{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a_metric 1\n")) }),
		Alive:   func(context.Context) error { return sick },
		Local:   true,
	}
	want := func(path string, status int, part string) {
		t.Helper()
		rec := ask(t, m, http.MethodGet, path)
		if rec.Code != status || !strings.Contains(rec.Body.String(), part) {
			t.Errorf("%s: %d %.80q, want %d and %q", path, rec.Code, rec.Body, status, part)
		}
		if rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept", path)
		}
	}
	want("/metrics", http.StatusOK, "a_metric")
	want("/healthz", http.StatusOK, "ok")
	want("/readyz", http.StatusServiceUnavailable, "starting or stopping")
	m.SetReady(true)
	want("/readyz", http.StatusOK, "ok")
	sick = errors.New("it is sick")
	want("/healthz", http.StatusServiceUnavailable, "it is sick")
	want("/", http.StatusNotFound, "/metrics")

	want("/debug/pprof/", http.StatusOK, "goroutine?debug=1")
	want("/debug/pprof/goroutine?debug=2", http.StatusOK, "TestMonitor")
	want("/debug/pprof/heap?gc=1&debug=1", http.StatusOK, "heap profile")
	want("/debug/pprof/allocs", http.StatusOK, "\x1f\x8b") // compressed
	want("/debug/pprof/profile?seconds=1", http.StatusOK, "\x1f\x8b")
	want("/debug/pprof/trace?seconds=1", http.StatusOK, "go 1.")
	want("/debug/pprof/nothing", http.StatusNotFound, "no such profile")
	want("/debug/pprof/cmdline", http.StatusNotFound, "")
	m.Local = false
	want("/debug/pprof/heap", http.StatusNotFound, "")

	if rec := ask(t, m, http.MethodPost, "/healthz"); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", rec.Code)
	}
}

// TestMonitorIsOurs: a page of another site that is open in a browser here gets
// nothing, whatever it calls this machine.
func TestMonitorIsOurs(t *testing.T) {
	for _, c := range []struct {
		host, site string
		local      bool
		want       int
	}{
		{"127.0.0.1:8449", "", true, http.StatusOK},
		{"localhost:8449", "none", true, http.StatusOK},
		{"[::1]:8449", "same-origin", true, http.StatusOK},
		{"::1", "", true, http.StatusOK},
		{"rebound.example:8449", "", true, http.StatusForbidden},
		{"192.0.2.1:8449", "", true, http.StatusForbidden},
		{"", "", true, http.StatusForbidden},
		{"127.0.0.1:8449", "cross-site", true, http.StatusForbidden},
		{"localhost:8449", "same-site", true, http.StatusForbidden},
		{"metrics.example:8449", "cross-site", false, http.StatusOK},
	} {
		m := &Monitor{Alive: func(context.Context) error { return nil }, Local: c.local}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		rec := httptest.NewRecorder()
		if m.ServeHTTP(rec, r); rec.Code != c.want {
			t.Errorf("%+v: %d", c, rec.Code)
		}
	}
}
