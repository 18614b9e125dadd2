package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// TestServeDenied: a block of a list is not served, and a list that is changed
// counts without a restart.
func TestServeDenied(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "own.deny")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	bad, good := cartest.Raw([]byte("bad")).CID.String(), cartest.Raw([]byte("good")).CID.String()
	const head = "name: own\n---\n"
	write(head + "/ipfs/" + bad + " gateway_status:451\n")
	s := start(t, nil, "--repo", filepath.Join(dir, "store"), "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--denylist", list, carFile(t, "one.car", "bad", "good"))
	url := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`) + "/ipfs/"
	watch := s.stderr.match(t, `metrics and health on (http://127\.0\.0\.1:\d+)/`)
	s.stdout.match(t, `ready +one`)
	if status, _ := fetch(t, url+bad+"?format=raw"); status != http.StatusUnavailableForLegalReasons {
		t.Errorf("a block that is denied: %d", status)
	}
	if status, _ := fetch(t, url+good+"?format=raw"); status != http.StatusOK {
		t.Errorf("its neighbour: %d", status)
	}
	for path, part := range map[string]string{
		"/metrics": "dagstore_gateway_refused_total", "/healthz": "ok", "/readyz": "ok", "/debug/pprof/": "goroutine",
	} {
		if status, body := fetch(t, watch+path); status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%s: %d %.200q", path, status, body)
		}
	}
	if _, body := fetch(t, watch+"/metrics"); !strings.Contains(body, "dagstore_denylist_rules 1") || !strings.Contains(body, `dagstore_shards{state="available"} 1`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %.2000q", body)
	}
	write(head + "/ipfs/" + bad + " gateway_status:451\n/ipfs/" + good + "\n")
	for end := time.Now().Add(mostWait); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := fetch(t, url+good+"?format=raw"); status == http.StatusGone {
			break
		} else if time.Now().After(end) {
			t.Fatalf("what was appended does not count: %d", status)
		}
	}
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	// It does not start without its list, and makes no store then.
	other := filepath.Join(dir, "other")
	s = start(t, nil, "--repo", other, "serve", "--listen", "127.0.0.1:0", "--denylist", filepath.Join(dir, "none.deny"))
	if code := s.ends(t); code != exitFailed || !strings.Contains(s.stderr.String(), "none.deny") {
		t.Errorf("exit code %d: %s", code, s.stderr.String())
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a store was made")
	}
}

// TestServeTLS: as the configuration says.
func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir)
	config := filepath.Join(dir, "config.toml")
	text := "[serve]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\nmetrics = \"none\"\ndrain = \"10ms\"\ngrace = \"1m\"\n"
	if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, "--config", config, "--repo", filepath.Join(dir, "store"), "serve", "--listen", "127.0.0.1:0", carFile(t, "one.car", "secret"))
	url := s.stderr.match(t, `serving (https://127\.0\.0\.1:\d+)/`)
	s.stdout.match(t, `ready +one`)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // made by this test
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/ipfs/"+cartest.Raw([]byte("secret")).CID.String()+"?format=raw", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ProtoMajor != 2 || string(body) != "secret" {
		t.Errorf("%s %q, %v", resp.Proto, body, err)
	}
	transport.CloseIdleConnections()
	if strings.Contains(s.stderr.String(), "metrics") {
		t.Errorf("metrics where none were asked for: %s", s.stderr.String())
	}
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestServeAddresses: what cannot be listened on.
func TestServeAddresses(t *testing.T) {
	dir := t.TempDir()
	s := start(t, nil, "--repo", filepath.Join(dir, "one"), "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	taken := strings.TrimPrefix(s.stderr.match(t, `metrics and health on (http://127\.0\.0\.1:\d+)/`), "http://")
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"--listen", "127.0.0.1:0", "--metrics", taken}, exitFailed, "choose another address by --metrics"},
		{[]string{"--listen", taken, "--metrics", "none"}, exitFailed, "choose another address by --listen"},
		{[]string{"--listen", "127.0.0.1:0", "--metrics", "nowhere"}, exitUsage, `--metrics "nowhere"`},
	} {
		other := start(t, nil, append([]string{"--repo", filepath.Join(dir, "two"), "serve"}, c.args...)...)
		if code := other.ends(t); code != c.code || !strings.Contains(other.stderr.String(), c.say) {
			t.Errorf("%v: exit code %d: %s", c.args, code, other.stderr.String())
		}
	}
	s.stop()
	s.ends(t)
}

// TestServingIsDocumented: docs/serving.md has the metrics of the gateway.
func TestServingIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range gatewayDescs {
		name, help := described(d.desc)
		kind := map[prometheus.ValueType]string{prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge"}[d.kind]
		if row := "| `" + name + "` | " + kind + " | " + help + " |"; !bytes.Contains(page, []byte(row)) {
			t.Errorf("docs/serving.md does not have %s", row)
		}
	}
}

// described takes the name and the help out of a description, which has no
// other way to tell them.
func described(d *prometheus.Desc) (name, help string) {
	text := d.String()
	_, rest, _ := strings.Cut(text, `fqName: "`)
	name, rest, _ = strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, `help: "`)
	help, _, _ = strings.Cut(rest, `"`)
	return name, help
}
