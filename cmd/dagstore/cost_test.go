package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// randomCAR is a CAR of n blocks that nothing can compress.
func randomCAR(seed byte, n, size int) []byte {
	random := rand.NewChaCha8([32]byte{seed})
	blocks := make([]cartest.Block, n)
	for i := range blocks {
		data := make([]byte, size)
		_, _ = random.Read(data) // it never fails
		blocks[i] = cartest.Raw(data)
	}
	return cartest.V1(nil, blocks)
}

// foreseen adds up what a dry run says in JSON.
func foreseen(t *testing.T, out string) (read, requests int64) {
	t.Helper()
	for line := range strings.Lines(out) {
		var o wire.Shard
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		read += o.Read
		requests += o.Requests
	}
	return read, requests
}

// TestDryRunCost: a dry run says how many bytes and requests it takes to add
// CARs elsewhere, and nginx then counts as many.
func TestDryRunCost(t *testing.T) {
	dir := t.TempDir()
	cars := map[string][]byte{"small.car": randomCAR(1, 3, 1000), "large.car": randomCAR(2, 8, usualBlock)}
	for name, data := range cars {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := servertest.StartNginx(t, dir)
	counted := 0
	count := func(least int) int { // requests since it was asked last
		all := len(server.Requests(t, counted+least))
		defer func() { counted = all }()
		return all - counted
	}
	for _, flags := range []string{
		"", "--index scan", "--index hop", "--index check", "--index sample", "--index adopt", "--serve copy",
		"--serve sparse", "--serve copy --index check", "--verify", "--lazy",
	} {
		for name, data := range cars {
			args := append(strings.Fields("add --repo "+filepath.Join(t.TempDir(), "store")+" "+flags), server.URL+"/"+name)
			run := func(more ...string) (out, errs string) {
				code, out, errs := (&reading{t: t}).run(append(args, more...)...)
				if code != exitOK {
					t.Fatalf("%q: %d, %s", args, code, errs)
				}
				return out, errs
			}
			out, errs := run("--dry-run", "--json")
			read, requests := foreseen(t, out)
			count(1)
			run()
			took := int64(count(int(requests) - 1))
			exact := flags != "--index hop" && flags != "--index check"
			if took != requests && (exact || took < requests-1 || took > requests+1) {
				t.Errorf("%q, %s: it took %d requests, not %d", flags, name, took, requests)
			}
			if want := int64(len(data)); read != want && (flags != "--lazy" || read != 0) {
				t.Errorf("%q, %s: %d bytes to read, not %d", flags, name, read, want)
			}
			if want := fmt.Sprintf("by about %d requests", requests); !strings.Contains(errs, want) {
				t.Errorf("%q, %s: %q is not said in %s", flags, name, want, errs)
			}
			// Once it has been added, it is only asked how it is.
			if out, _ = run("--dry-run", "--json"); flags != "--lazy" {
				if read, requests = foreseen(t, out); read != 0 || requests != 1 {
					t.Errorf("%q, %s, again: %d bytes by %d requests", flags, name, read, requests)
				}
			}
			count(1)
		}
	}
}

// What is compressed below a prefix is added by zstd+ before it.
func TestPackedPrefix(t *testing.T) {
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	pack, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pack.Close()
	server.Put(t, "/cars/in/a/b.car.zst", pack.EncodeAll(carOf("the first"), nil))
	server.Put(t, "/cars/in/c.car.zst", pack.EncodeAll(carOf("the second"), nil))
	server.Put(t, "/cars/in/plain.car", carOf("the third"))
	endpoint, count := counting(t, server.Endpoint)
	config := bucketConfig(t, server, endpoint)
	r := &reading{t: t, repo: filepath.Join(t.TempDir(), "store")}
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := r.run(append([]string{"--config", config}, args...)...)
		if code != exitOK {
			t.Fatalf("%q: %d, %s%s", args, code, out, errs)
		}
		return out + errs
	}
	if out := run("add", "--dry-run", "zstd+s3://cars/in/"); !strings.Contains(out, "0 B to read and 2 CARs of unknown size, by about 13 requests") {
		t.Errorf("it said:\n%s", out)
	}
	count.Store(0)
	out := run("add", "-j", "1", "zstd+s3://cars/in/")
	if n := count.Load(); n < 12 || n > 15 {
		t.Errorf("it took %d requests", n)
	}
	for _, line := range []string{"ready      a/b ", "ready      c ", "2 added"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not said in:\n%s", line, out)
		}
	}
	if got := run("block", "get", cartest.Raw([]byte("the first")).CID.String()); got != "the first" {
		t.Errorf("the block is %q", got)
	}
}

// A URL of a kind that there is not gets those that there are.
func TestUnknownScheme(t *testing.T) {
	r := &reading{t: t, repo: filepath.Join(t.TempDir(), "store")}
	code, _, errs := r.run("add", "gs://bucket/x.car")
	if want := `"gs"; there are file, ftp, ftpes, ftps, http, https, s3, sftp, and zstd+ before each`; code != exitFailed || !strings.Contains(errs, want) {
		t.Errorf("%d, %s", code, errs)
	}
}

// counting stands before a server and counts its requests.
func counting(t *testing.T, server string) (address string, count *atomic.Int64) {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	count = new(atomic.Int64)
	pool := new(http.Transport)
	t.Cleanup(pool.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: pool, Rewrite: func(r *httputil.ProxyRequest) {
		count.Add(1)
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
		r.Out.URL.Path, r.Out.URL.RawPath = r.In.URL.Path, r.In.URL.RawPath
	}}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return front.URL, count
}

// bucketConfig writes a configuration by which all buckets are those of server,
// at an endpoint that may stand before it.
func bucketConfig(t *testing.T, server *servertest.S3, endpoint string) string {
	t.Helper()
	dir := t.TempDir()
	secret, config := filepath.Join(dir, "secret"), filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("[s3.here]\nendpoint = %q\nregion = %q\ncredentials = \"owner\"\n[credentials.owner]\nuser = %q\nfile = %q\n",
		endpoint, server.Region, server.AccessKey, secret)
	for path, text := range map[string]string{secret: server.SecretKey + "\n", config: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config
}

// The cost of a prefix has that of listing it; what a folder stands for is no
// CAR, and a prefix may be spelled in more than one way.
func TestDryRunCostOfPrefix(t *testing.T) {
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	small, large := randomCAR(1, 2, 1000), randomCAR(2, 3, usualBlock)
	server.Put(t, "/cars/in:é/small.car", small)
	server.Put(t, "/cars/in:é/sub/", nil)
	server.Put(t, "/cars/in:é/sub/large.car", large)
	server.Put(t, "/cars/in:é/readme.txt", []byte("no CAR"))
	endpoint, count := counting(t, server.Endpoint)
	config := bucketConfig(t, server, endpoint)
	r := &reading{t: t, repo: filepath.Join(t.TempDir(), "store")}
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := r.run(append([]string{"--config", config, "add", "--include", "*.car", "--include", "sub"}, args...)...)
		if code != exitOK {
			t.Fatalf("%q: %d, %s%s", args, code, out, errs)
		}
		return out
	}
	const prefix = "S3://cars/%69n%3a%c3%a9/"
	read, requests := foreseen(t, run("--dry-run", "--json", prefix))
	if n := count.Swap(0); read != int64(len(small)+len(large)) || requests != 1+2+4 || n != 1 {
		t.Errorf("%d bytes to read by %d requests, said after %d", read, requests, n)
	}
	if read, requests := foreseen(t, run("--dry-run", "--json", "s3://cars")); read != int64(len(small)+len(large)) || requests != 1+2+4 {
		t.Errorf("of the bucket: %d bytes to read by %d requests", read, requests)
	}
	count.Store(0)
	out := run(prefix)
	if n := count.Load(); n != requests {
		t.Errorf("it took %d requests, not %d", n, requests)
	}
	for _, line := range []string{"ready      small ", "ready      sub/large "} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not said in:\n%s", line, out)
		}
	}
}
