//go:build unix

package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLinkOfUI: the link of a real process lets one browser in, once, by a cookie
// that no script and no other site has the use of, and that ends.
func TestLinkOfUI(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	p := startProcess(t, "--repo", repo, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "none")
	defer p.signalled(t, syscall.SIGTERM)
	base := p.stderr.match(t, `page and API on (http://127\.0\.0\.1:\d+);`)
	p.stderr.match(t, `serving http`)
	ui := start(t, nil, "--repo", repo, "ui")
	if code := ui.ends(t); code != exitOK {
		t.Fatalf("%d: %s", code, ui.stderr.String())
	}
	code, ok := strings.CutPrefix(strings.TrimSpace(ui.stdout.String()), base+"/#code=")
	if !ok || code == "" {
		t.Fatalf("no link: %s", ui.stdout.String())
	}
	send := func(method, path, body string, header map[string]string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		request.Header.Set("Content-Type", "application/json")
		for name, value := range header {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response
	}
	login := fmt.Sprintf(`{"code":%q}`, code)
	// A page of another site cannot exchange it, and does not use it up.
	if r := send(http.MethodPost, "/api/v1/session", login, map[string]string{"Origin": "http://evil.example"}); r.StatusCode != http.StatusForbidden {
		t.Errorf("for another site: %d", r.StatusCode)
	}
	if r := send(http.MethodGet, "/api/v1/session?code="+code, "", nil); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("by GET: %d", r.StatusCode)
	}
	first := send(http.MethodPost, "/api/v1/session", login, nil)
	if first.StatusCode != http.StatusCreated || len(first.Cookies()) != 1 {
		t.Fatalf("%d, %v", first.StatusCode, first.Cookies())
	}
	cookie := first.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" ||
		cookie.MaxAge != int((12*time.Hour).Seconds()) || cookie.Value == code {
		t.Errorf("the cookie is %+v", cookie)
	}
	second := send(http.MethodPost, "/api/v1/session", login, nil)
	if second.StatusCode != http.StatusUnauthorized || len(second.Cookies()) != 0 {
		t.Errorf("once more: %d, %v", second.StatusCode, second.Cookies())
	}
	shown := map[string]string{"Cookie": cookie.Name + "=" + cookie.Value}
	if r := send(http.MethodPost, "/api/v1/gc", "", shown); r.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %d", r.StatusCode)
	}
	if r := send(http.MethodPost, "/api/v1/links", "", shown); r.StatusCode != http.StatusForbidden {
		t.Errorf("a session makes links: %d", r.StatusCode)
	}
	if r := send(http.MethodDelete, "/api/v1/session", "", shown); r.StatusCode != http.StatusNoContent || r.Cookies()[0].MaxAge >= 0 {
		t.Errorf("its end: %d, %v", r.StatusCode, r.Cookies())
	}
	if r := send(http.MethodGet, "/api/v1/stats", "", shown); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("after its end: %d", r.StatusCode)
	}
}
