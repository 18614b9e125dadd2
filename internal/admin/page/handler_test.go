package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	New().ServeHTTP(w, r)
	return w
}

// TestFiles: every file is served as what it is, under the policy, and is not
// sent twice.
func TestFiles(t *testing.T) {
	paths := []string{"/", "/lifecycle-wide.svg", "/lifecycle-narrow.svg"}
	err := fs.WalkDir(embedded, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != "assets/index.html" {
			paths = append(paths, strings.TrimPrefix(name, "assets"))
		}
		return err
	})
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		w := get(t, "GET", path)
		kind := w.Header().Get("Content-Type")
		want := map[string]string{"/": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", "NSE": "text/plain"}
		for suffix, mime := range want {
			if strings.HasSuffix(path, suffix) && !strings.HasPrefix(kind, mime) {
				t.Errorf("%s is served as %s", path, kind)
			}
		}
		if w.Code != http.StatusOK || w.Body.Len() == 0 || kind == "" {
			t.Errorf("%s: %d, %d bytes of %q", path, w.Code, w.Body.Len(), kind)
		}
		if again := get(t, "GET", path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.Code)
		}
		if head := get(t, "HEAD", path); head.Code != http.StatusOK || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d, %d bytes", path, head.Code, head.Body.Len())
		}
	}
}

// TestPolicy: nothing from elsewhere, nothing inline, in no frame; also where
// there is nothing.
func TestPolicy(t *testing.T) {
	for path, status := range map[string]int{"/": http.StatusOK, "/js/app.js": http.StatusOK, "/nothing": http.StatusNotFound, "/index.html": http.StatusNotFound, "/assets/index.html": http.StatusNotFound} {
		w := get(t, "GET", path)
		if w.Code != status {
			t.Errorf("%s: %d, want %d", path, w.Code, status)
		}
		csp := w.Header().Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, rule+";") {
				t.Errorf("%s: no %s in %s", path, rule, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		if w := get(t, method, "/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// TestNothingElsewhere: no file of ours names another server, has a script or a
// style in it, or takes markup for text.
func TestNothingElsewhere(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\son[a-z]+="|<style|style="|(?:src|href|from|import\(|url\()\s*=?\s*['"(]?(?:https?:)?//`)
	for path, a := range New().(handler) {
		if strings.HasPrefix(path, "/vendor/") {
			continue
		}
		if at := bad.FindIndex(a.data); at != nil {
			t.Errorf("%s: %q", path, a.data[at[0]:min(len(a.data), at[1]+40)])
		}
		if lines := strings.Count(string(a.data), "\n"); lines >= 500 {
			t.Errorf("%s has %d lines", path, lines)
		}
	}
}
