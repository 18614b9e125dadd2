package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// asks asks an API over TCP, and returns the status and the body.
func asks(t *testing.T, method, url, token, kind, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", kind)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestSourcesOfOthers: who lacks the scope sources:private reaches neither this
// machine nor its files, now or after a restart, by whatever route.
func TestSourcesOfOthers(t *testing.T) {
	requests := 0
	data := carOf("private")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.ServeContent(w, r, "a.car", time.Unix(1, 0), strings.NewReader(string(data)))
	}))
	defer server.Close()
	dir := t.TempDir()
	allowed, hidden := filepath.Join(dir, "allowed"), filepath.Join(dir, "hidden")
	for _, folder := range []string{allowed, hidden} {
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "a.car"), carOf(folder), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(hidden, "a.car"), filepath.Join(allowed, "link.car")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte("[sources]\nfiles = [\""+allowed+"\"]\n[admin]\ntokens = \"tokens\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writer := strings.TrimSpace(runs(t, "", "--config", config, "token", "add", "writer", "--scope", "write").stdout)
	owner := strings.TrimSpace(runs(t, "", "--config", config, "token", "add", "owner", "--scope", "write,sources:private").stdout)
	repo := filepath.Join(dir, "store")
	serve := func() (*session, string) {
		s := start(t, nil, "--config", config, "--repo", repo, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
		return s, s.stderr.match(t, `page and API on (http://127\.0\.0\.1:\d+);`) + "/api/v1"
	}
	holder, base := serve()
	put := func(token, key, url string, lazy bool) (int, string) {
		t.Helper()
		body, err := json.Marshal(wire.Registration{Mount: url, Lazy: lazy})
		if err != nil {
			t.Fatal(err)
		}
		return asks(t, "PUT", base+"/shards/"+key, token, "application/json", string(body))
	}
	web := server.URL + "/a.car"
	for key, url := range map[string]string{
		"web": web, "spelled": "outside+" + web, "name": strings.Replace(web, "127.0.0.1", "localhost", 1), "packed": "zstd+" + web,
		"hidden": "file://" + hidden + "/a.car", "link": "file://" + allowed + "/link.car", "up": "file://" + allowed + "/../hidden/a.car",
		"s3": "s3://bucket/a.car", "sftp": "sftp://127.0.0.1/a.car", "ftp": "ftp://127.0.0.1/a.car",
	} {
		if status, text := put(writer, key, url, false); status < 400 {
			t.Errorf("%s was registered: %d %s", url, status, text)
		} else if !strings.Contains(text, "-denied") && key != "up" {
			t.Errorf("%s: %s", url, text)
		}
	}
	if status, text := put(writer, "fine", "file://"+allowed+"/a.car", false); status != http.StatusCreated || !strings.Contains(text, `"mount":"outside+file:`) {
		t.Errorf("in an allowed folder: %d %s", status, text)
	}
	if status, text := put(owner, "owned", web, false); status != http.StatusCreated {
		t.Errorf("with the scope: %d %s", status, text)
	}
	asked := requests
	for what, body := range map[string]string{"remount": `{"mount":"` + web + `"}`, "replace": `{"mount":"` + web + `"}`} {
		if status, text := asks(t, "POST", base+"/shards/owned/"+what, writer, "application/json", body); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	// Lists, and what they name, and paths.
	if err := os.WriteFile(filepath.Join(allowed, "list.ndjson"), []byte(web+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, job := range []wire.AddJob{
		{Sources: []string{web}}, {Sources: []string{hidden}}, {Sources: []string{allowed + "/a.car"}}, {From: allowed + "/list.ndjson"},
		{Sources: []string{"file://" + allowed + "/list.ndjson"}}, {From: server.URL + "/list.ndjson"}, {Sources: []string{"s3://bucket/prefix/"}},
		{Sources: []string{"file://" + allowed + "/a.car"}, Key: "indexed", Index: "check", IndexFile: web},
	} {
		body, err := json.Marshal(wire.NewJob{Kind: wire.JobAdd, Add: &job})
		if err != nil {
			t.Fatal(err)
		}
		status, text := asks(t, "POST", base+"/jobs", writer, "application/json", string(body))
		var begun wire.Job
		if err := json.Unmarshal([]byte(text), &begun); err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s", status, text)
		}
		_, text = asks(t, "GET", base+"/jobs/"+begun.ID+"/results?follow=true", writer, "application/json", "")
		if job.Key != "indexed" && !strings.Contains(text, "not allowed") {
			t.Errorf("%+v: %s", job, text)
		}
	}
	if status, text := asks(t, "POST", base+"/import", writer, "application/x-ndjson", web+"\n"); status != http.StatusAccepted {
		t.Errorf("%d %s", status, text)
	}
	if status, text := asks(t, "POST", base+"/backup", writer, "application/json", `{"dir":"`+dir+`/backup"}`); status != http.StatusForbidden {
		t.Errorf("backup: %d %s", status, text)
	}
	if status, text := put(writer, "later", web, true); status != http.StatusForbidden {
		t.Errorf("lazily, at an address: %d %s", status, text)
	}
	if status, text := put(writer, "later", "file://"+allowed+"/a.car", true); status != http.StatusCreated || !strings.Contains(text, `"mount":"outside+file:`) {
		t.Errorf("lazily: %d %s", status, text)
	}
	holder.stop()
	if code := holder.ends(t); code != exitOK {
		t.Errorf("it ends with %d", code)
	}

	// After a restart it is still the source of somebody from outside, whoever
	// asks for it: where the operator may now read any file, it may none.
	if err := os.WriteFile(config, []byte("[admin]\ntokens = \"tokens\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	holder, base = serve()
	if status, text := put(owner, "owner", "file://"+allowed+"/a.car", false); status != http.StatusCreated {
		t.Errorf("the operator's: %d %s", status, text)
	}
	if status, text := asks(t, "POST", base+"/shards/later/index", owner, "application/json", ""); status != http.StatusForbidden {
		t.Errorf("after a restart: %d %s", status, text)
	}
	if requests != asked {
		t.Errorf("the private server was asked %d times", requests-asked)
	}
	holder.stop()
	holder.ends(t)
}
