package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/doctor"
	"github.com/dagstore/dagstore/gateway"
)

// TestDoctorBehindProxies: our gateway behind proxies that pass on the name by which
// they were called, and ones that do not.
func TestDoctorBehindProxies(t *testing.T) {
	store, err := dagstore.Open(t.Context(), filepath.Join(t.TempDir(), "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for name, c := range map[string]struct {
		hosts    []string // with subdomains
		files    []string // for which files are served
		told     []string // those of them that we know of
		hides    bool
		forwards bool // X-Forwarded-For and the like
		level    doctor.Level
		what     string
	}{
		"passes":                    {level: doctor.OK, forwards: true, what: "under its own name"},
		"passes, with subdomains":   {hosts: []string{"gateway.example"}, files: []string{"gateway.example", "*.gateway.example"}, level: doctor.OK},
		"hides":                     {hides: true, level: doctor.Fault, what: "lists its shards to everybody"},
		"hides and forwards":        {hides: true, forwards: true, level: doctor.Warning, what: "files are served under the name gateway.example"},
		"hides, with subdomains":    {hosts: []string{"localhost"}, hides: true, forwards: true, level: doctor.Fault, what: "is sent to http://bafkqabten5rxi33s.ipfs.localhost"},
		"files under its name, too": {files: []string{"gateway.example"}, level: doctor.Warning, what: "files are served"},
		"files, as it was told":     {files: []string{"*.example"}, told: []string{"*.example"}, level: doctor.OK},
	} {
		t.Run(name, func(t *testing.T) {
			handler, err := gateway.New(store, &gateway.Config{Hosts: c.hosts, DeserializedHosts: c.files})
			if err != nil {
				t.Fatal(err)
			}
			behind := httptest.NewServer(handler)
			defer behind.Close()
			target, err := url.Parse(strings.Replace(behind.URL, "127.0.0.1", "localhost", 1))
			if err != nil {
				t.Fatal(err)
			}
			to := &http.Transport{DialContext: dialTo(behind.Listener.Addr())}
			defer to.CloseIdleConnections()
			front := httptest.NewServer(&httputil.ReverseProxy{Transport: to, Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target) // and its name
				if !c.hides {
					r.Out.Host = r.In.Host
				}
				if c.forwards {
					r.SetXForwarded()
				}
			}})
			defer front.Close()
			transport := &http.Transport{DialContext: dialTo(front.Listener.Addr())}
			defer transport.CloseIdleConnections()
			if f := doctor.Gateway(t.Context(), "http://gateway.example", c.told, transport); f.Level != c.level || !strings.Contains(f.What, c.what) {
				t.Errorf("%+v, want %s and %q", f, c.level, c.what)
			}
		})
	}
	for _, bad := range []string{"gateway.example", "ftp://gateway.example", "http://%"} {
		if f := doctor.Gateway(t.Context(), bad, nil, nil); f.Level != doctor.Fault || !strings.Contains(f.What, "no address of a gateway") {
			t.Errorf("%q: %+v", bad, f)
		}
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if f := doctor.Gateway(t.Context(), gone.URL, nil, nil); f.Level != doctor.Fault {
		t.Errorf("nobody is there: %+v", f)
	}
}

// dialTo leads all connections to one address.
func dialTo(addr net.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, addr.Network(), addr.String())
	}
}

// TestDoctor: sources on this machine and on servers, some of them gone.
func TestDoctor(t *testing.T) {
	repo, cars := filepath.Join(t.TempDir(), "store"), t.TempDir()
	findings := func(wantCode int) map[string]doctor.Finding {
		t.Helper()
		code, out, errs := command(t, "--repo", repo, "doctor", "--json")
		if code != wantCode {
			t.Fatalf("exit code %d, want %d: %s%s", code, wantCode, out, errs)
		}
		all := map[string]doctor.Finding{}
		for line := range strings.Lines(out) {
			var f doctor.Finding
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			all[f.Check] = f
		}
		return all
	}
	if f := findings(exitOK)["store"]; f.Level != doctor.Warning || !strings.Contains(f.Do, "dagstore add") {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(repo); err == nil {
		t.Error("a store was made")
	}
	served := httptest.NewServer(http.FileServer(http.Dir(cars)))
	for i := range 4 {
		writeCAR(t, cars, fmt.Sprintf("%d.car", i), fmt.Sprint(i))
		if code, _, errs := command(t, "--repo", repo, "add", "--lazy", "--key", fmt.Sprint("far", i), served.URL+fmt.Sprintf("/%d.car", i)); code != exitOK {
			t.Fatal(errs)
		}
	}
	if code, _, errs := command(t, "--repo", repo, "add", cars); code != exitOK {
		t.Fatal(errs)
	}
	all := findings(exitOK)
	for check, what := range map[string]string{"store": "has format 1", "source file": "4 of its 4 shards asked", "source " + served.URL: "3 of its 4 shards asked", "fsync": "durable after"} {
		if f := all[check]; !strings.Contains(f.What, what) {
			t.Errorf("%s: %+v, want %q", check, f, what)
		}
	}
	served.Close()
	if err := os.Remove(filepath.Join(cars, "2.car")); err != nil {
		t.Fatal(err)
	}
	all = findings(exitFailed)
	if f := all["source file"]; f.Level != doctor.Warning || !strings.Contains(f.What, "1 of 4 of its 4 shards asked cannot be reached") {
		t.Errorf("%+v", f)
	}
	if f := all["source "+served.URL]; f.Level != doctor.Fault || !strings.Contains(f.What, "none of ") {
		t.Errorf("%+v", f)
	}
	if err := os.WriteFile(filepath.Join(repo, "VERSION"), []byte("dagstore 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := findings(exitFailed)["store"]; f.Level != doctor.Fault {
		t.Errorf("%+v", f)
	}
}
