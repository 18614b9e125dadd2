package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// configured writes a configuration and files beside it that hold a secret
// each, and returns where it is.
func configured(t *testing.T, text string, secrets map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range secrets {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "{"+name+"}", fmt.Sprintf("%q", path))
	}
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// s3Configured is a configuration for the buckets of server, whose secret is in
// a file.
func s3Configured(t *testing.T, server *servertest.S3, more string, secrets map[string]string) string {
	t.Helper()
	all := map[string]string{"s3-secret": server.SecretKey}
	for name, secret := range secrets {
		all[name] = secret
	}
	return configured(t, fmt.Sprintf("[s3.here]\nbuckets = [\"cars\"]\nendpoint = %q\nregion = %q\ncredentials = \"owner\"\n[credentials.owner]\nuser = %q\nfile = {s3-secret}\n%s",
		server.Endpoint, server.Region, server.AccessKey, more), all)
}

// TestMovedByCommand: a folder is served by one process, which ends; its CARs
// are copied to a bucket, "remount --map" takes the shards there, and a second
// process serves all that the folder had while nobody has it any more. The
// command makes no index, and refuses the CAR that was altered.
func TestMovedByCommand(t *testing.T) {
	n, readers := longtest.Runs(40, 1000), longtest.Runs(8, 64)
	altered := n / 2
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	folder := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("%04d.car", i) }
	for i := range n {
		data := cartest.RandomV1(uint64(i), 5, 100)
		if err := os.WriteFile(filepath.Join(folder, name(i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if i == altered {
			data[len(data)-1] ^= 1
		}
		server.Put(t, "/cars/2026/"+name(i), data)
	}
	config := s3Configured(t, server, "", nil)
	r := newReading(t)
	r.must("--config", config, "add", folder)
	before := r.must("--config", config, "ls", "--json")

	code, out, errs := r.run("--config", config, "remount", "--map", folder, "s3://cars/2026/")
	if code != exitPartial || strings.Count(out, "remounted  ") != n-1 || !strings.Contains(errs, fmt.Sprintf("%d remounted, 1 failed", n-1)) {
		t.Fatalf("%d, %d remounted, %s", code, strings.Count(out, "remounted  "), errs)
	}
	for i := range n {
		if i == altered {
			continue
		}
		if err := os.Remove(filepath.Join(folder, name(i))); err != nil {
			t.Fatal(err)
		}
	}
	after := r.must("--config", config, "ls", "--json")
	if strings.Count(after, `"s3://cars/2026/`) != n-1 || strings.Count(before, `"s3://`) != 0 {
		t.Errorf("they lie at:\n%s", after)
	}
	s := start(t, nil, "--repo", r.repo, "--config", config, "serve", "--listen", "127.0.0.1:0")
	address := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	pool := &http.Transport{MaxIdleConnsPerHost: readers}
	defer pool.CloseIdleConnections()
	client := &http.Client{Transport: pool}
	var all sync.WaitGroup
	var reads atomic.Int64
	for reader := range readers {
		random := rand.New(rand.NewPCG(longtest.Seed(), uint64(reader)))
		all.Go(func() {
			for _, i := range random.Perm(n) {
				want := cartest.RandomBlock(uint64(i), random.IntN(5), 100)
				got, err := bodyOf(client, address+"/ipfs/"+want.CID.String()+"?format=raw")
				if err != nil || !bytes.Equal(got, want.Data) {
					t.Errorf("a block of %d: %q, %v", i, got, err)
					return
				}
				reads.Add(1)
			}
		})
	}
	all.Wait()
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("serving ended with %d: %s", code, s.stderr.String())
	}
	longtest.Figure(t, "%d CARs moved by remount --map, then %d blocks by %d readers of the gateway", n-1, reads.Load(), readers)
}

// bodyOf is what a URL has.
func bodyOf(client *http.Client, url string) ([]byte, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

// TestSecretsByCommand: secrets that the configuration names are used, and are in
// nothing that the program prints or leaves behind.
func TestSecretsByCommand(t *testing.T) {
	const token, password, query = "marker-bearer-Zm9v", "marker-password-YmFy", "marker-query-cXV4"
	basic := base64.StdEncoding.EncodeToString([]byte("reader:" + password))
	dir := t.TempDir()
	writeCAR(t, dir, "good.car", "by HTTP")
	writeCAR(t, dir, "other.car", "by HTTP and a password")
	if err := os.WriteFile(filepath.Join(dir, "bad.car"), []byte("no CAR"), 0o600); err != nil {
		t.Fatal(err)
	}
	guarded := func(header string) *servertest.Nginx {
		return servertest.StartNginx(t, dir, fmt.Sprintf(`location / { if ($http_authorization != "%s") { return 401; } }`, header))
	}
	tokens, passwords, closed := guarded("Bearer "+token), guarded("Basic "+basic), guarded("Bearer of another")
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	server.Put(t, "/cars/a.car", carOf("by S3"))
	host := func(n *servertest.Nginx) string { return strings.TrimPrefix(n.URL, "http://") }
	config := s3Configured(t, server, fmt.Sprintf("[credentials.token]\nhosts = [%q, %q]\ncleartext = true\nenv = \"MARKED\"\n"+
		"[credentials.password]\nhosts = [%q]\nuser = \"reader\"\ncleartext = true\nfile = {password}\n", host(tokens), host(closed), host(passwords)),
		map[string]string{"password": password})
	t.Setenv("MARKED", token)
	secrets := []string{token, password, basic, query, server.SecretKey}

	r := newReading(t)
	var said strings.Builder
	try := func(want int, args ...string) {
		t.Helper()
		code, out, errs := r.run(append([]string{"--config", config}, args...)...)
		if code != want {
			t.Errorf("%q: %d, want %d: %s%s", args, code, want, out, errs)
		}
		said.WriteString(out + errs)
	}
	try(exitOK, "add", tokens.URL+"/good.car", passwords.URL+"/other.car", "s3://cars/a.car")
	for _, text := range []string{"by HTTP", "by HTTP and a password", "by S3"} {
		try(exitOK, "block", "get", cartest.Raw([]byte(text)).CID.String())
	}
	try(exitFailed, "add", closed.URL+"/good.car")
	try(exitFailed, "add", tokens.URL+"/bad.car")
	try(exitFailed, "add", passwords.URL+"/absent.car")
	try(exitFailed, "add", "s3://cars/absent.car")
	try(exitFailed, "add", "http://reader:"+query+"@"+host(tokens)+"/good.car")
	try(exitFailed, "add", tokens.URL+"/good.car?X-Amz-Signature="+query)
	try(exitFailed, "add", "s3://owner:"+query+"@cars/a.car")
	try(exitFailed, "add", "s3://cars/a.car?X-Amz-Signature="+query)
	try(exitFailed, "remount", "good", tokens.URL+"/good.car?token="+query)
	try(exitFailed, "replace", "good", closed.URL+"/good.car")
	try(exitFailed, "remount", "--map", tokens.URL, "http://reader:"+query+"@"+host(passwords))
	try(exitOK, "add", "--dry-run", tokens.URL+"/good.car")
	try(exitOK, "ls", "--json")
	try(exitOK, "ls")
	try(exitOK, "gc", "--json")
	for _, secret := range secrets {
		if at := strings.Index(said.String(), secret); at >= 0 {
			t.Errorf("%s was said: …%s…", secret, said.String()[max(0, at-200):at])
		}
	}
	files := 0
	err := filepath.WalkDir(r.repo, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %s", path, secret)
			}
		}
		files++
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files were read: %v", files, err)
	}
}
