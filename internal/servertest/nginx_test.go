package servertest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestNginx(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a b.car"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := StartNginx(t, dir, "location /gone { return 410; }")
	defer http.DefaultClient.CloseIdleConnections()
	ask := func(path, part string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if part != "" {
			r.Header.Set("Range", part)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status + " " + string(body)
	}
	if got := ask("/a%20b.car", "bytes=3-5"); got != "206 Partial Content 345" {
		t.Errorf("a range gives %q", got)
	}
	ask("/gone", "")
	all := server.Requests(t, 2)
	want := Request{Method: "GET", URI: "/a%20b.car", Status: 206, Bytes: 3, Range: "bytes=3-5"}
	if len(all) != 2 || all[0] != want || all[1].Status != 410 || all[1].Range != "" {
		t.Errorf("the log has %+v", all)
	}
}
