package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// TestServeHosts: files are served for the hosts that the configuration names, and
// for no others; those with subdomains send browsers there.
func TestServeHosts(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.toml")
	const text = "[gateway]\ndeserialized_hosts = [\"files.example\"]\nhosts = [\"files.example\"]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, "--config", config, "--repo", filepath.Join(dir, "store"),
		"serve", "--listen", "127.0.0.1:0", "--metrics", "none", carFile(t, "one.car", "a file"))
	url := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	s.stdout.match(t, `ready +one`)
	c := cartest.Raw([]byte("a file")).CID.String()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for host, want := range map[string]struct {
		status int
		to     string
	}{
		"":                          {http.StatusNotAcceptable, ""}, // 127.0.0.1 is none of them any more
		"other.example":             {http.StatusNotAcceptable, ""},
		"files.example":             {http.StatusMovedPermanently, "http://" + c + ".ipfs.files.example/"},
		c + ".ipfs.files.example":   {http.StatusOK, ""},
		c + ".ipfs.another.example": {http.StatusNotAcceptable, ""},
	} {
		path := "/ipfs/" + c
		if want.status == http.StatusOK {
			path = "/"
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Accept", "text/html")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || resp.Header.Get("Location") != want.to {
			t.Errorf("%q: %d to %q, want %d to %q", host, resp.StatusCode, resp.Header.Get("Location"), want.status, want.to)
		}
	}
}
