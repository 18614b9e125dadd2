package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// TestBuckets: what lies below a prefix of a real S3 server is added and read
// where it lies, with a secret that stands in a file of its own.
func TestBuckets(t *testing.T) {
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	server.Put(t, "/cars/in/a b.car", carOf("the first"))
	server.Put(t, "/cars/in/sub/c.car", carOf("the second"))
	server.Put(t, "/cars/in/readme.txt", []byte("no CAR"))
	server.Put(t, "/cars/out/d.car", carOf("the third"))
	dir := t.TempDir()
	config, secret := filepath.Join(dir, "config.toml"), filepath.Join(dir, "secret")
	for path, text := range map[string]string{
		secret: server.SecretKey + "\n",
		config: fmt.Sprintf("[s3.here]\nbuckets = [\"car?\"]\nendpoint = %q\nregion = %q\ncredentials = \"owner\"\n[credentials.owner]\nuser = %q\nfile = %q\n",
			server.Endpoint, server.Region, server.AccessKey, secret),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newReading(t)
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := r.run(append([]string{"--config", config}, args...)...)
		if code != want || strings.Contains(out+errs, server.SecretKey) {
			t.Fatalf("%q: %d, %s%s", args, code, out, errs)
		}
		return out + errs
	}
	out := run(exitOK, "add", "-j", "1", "s3://cars/in/")
	for _, line := range []string{"ready      a b ", "ready      sub/c "} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not said in:\n%s", line, out)
		}
	}
	if strings.Contains(out, "readme") || strings.Contains(out, "out/") {
		t.Errorf("it said:\n%s", out)
	}
	if got := run(exitOK, "block", "get", cartest.Raw([]byte("the second")).CID.String()); got != "the second" {
		t.Errorf("the block is %q", got)
	}
	if out := run(exitOK, "add", "s3://cars/in/"); !strings.Contains(out, "unchanged  a b") {
		t.Errorf("again, it said:\n%s", out)
	}
	run(exitFailed, "add", "s3://cars/in/absent.car")
	run(exitFailed, "add", "s3://owner:"+server.SecretKey+"@cars/in/a.car")
}
