package settings

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const whole = `
repo = "store"
[serve]
listen = "127.0.0.1:9000"
metrics = "none"
tls_cert = "gw.pem"
tls_key = "/etc/gw.key"
proxies = ["10.1.2.3/8", "::1"]
requests = 9
drain = "5s"
grace = "1m30s"
[gateway]
denylists = ["bad.deny", "/etc/ipfs/denylists"]
public_url = "https://gw.example/"
trustless = true
deserialized_hosts = ["*.gw.example"]
hosts = ["gw.example"]
dnslink = true
dns_server = "192.0.2.1:5353"
ipns = "https://other.example"
[copies]
quota = "1.5 GiB"
[log]
level = "info"
format = "json"
[sources]
files = ["/srv/cars", "cars"]
proxy = true
per_host = 4
known_hosts = ["/etc/ssh/known"]
[credentials.archive]
hosts = ["archive.example", "archive.example:8443"]
user = "ann"
file = "archive.secret"
[credentials.sftp]
hosts = ["files.example"]
user = "ann"
key = "id_ed25519"
[s3.minio]
buckets = ["cars-*"]
endpoint = "https://s3.example"
region = "eu-1"
path_style = true
ca = "ca.pem"
credentials = "archive"
requester_pays = true
[s3.public]
anonymous = true
`

func TestLoad(t *testing.T) {
	path := write(t, "config.toml", whole, 0o644)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	in := func(name string) string { return filepath.Join(dir, name) }
	quota, level := Size(3<<29), slog.LevelInfo
	want := &File{
		Repo: in("store"),
		Serve: Serve{Listen: "127.0.0.1:9000", Metrics: new("none"), TLSCert: in("gw.pem"), TLSKey: "/etc/gw.key",
			Proxies: []string{"10.1.2.3/8", "::1"}, Requests: 9, Drain: new(Duration(5 * time.Second)), Grace: new(Duration(90 * time.Second))},
		Gateway: Gateway{Denylists: []string{in("bad.deny"), "/etc/ipfs/denylists"}, PublicURL: "https://gw.example/",
			Trustless: true, DeserializedHosts: []string{"*.gw.example"}, Hosts: []string{"gw.example"},
			DNSLink: true, DNSServer: "192.0.2.1:5353", IPNS: "https://other.example"},
		Copies: Copies{Quota: &quota},
		Log:    Log{Level: &level, Format: "json"},
		Sources: Sources{Files: []string{"/srv/cars", in("cars")}, Proxy: true, PerHost: 4,
			KnownHosts: []string{"/etc/ssh/known"}},
		Credentials: map[string]*Credential{
			"archive": {Hosts: []string{"archive.example", "archive.example:8443"}, User: "ann", File: in("archive.secret")},
			"sftp":    {Hosts: []string{"files.example"}, User: "ann", Key: in("id_ed25519")},
		},
		S3: map[string]*S3{
			"minio": {Buckets: []string{"cars-*"}, Endpoint: "https://s3.example", Region: "eu-1", PathStyle: true,
				CA: in("ca.pem"), Credentials: "archive", RequesterPays: true},
			"public": {Anonymous: true},
		},
	}
	if runtime.GOOS != "windows" && !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := Load(filepath.Join(dir, "absent")); !IsAbsent(err) {
		t.Errorf("of no file: %v", err)
	}
	if empty, err := Load(write(t, "empty.toml", "", 0o644)); err != nil || !reflect.DeepEqual(empty, new(File)) {
		t.Errorf("an empty file is %+v, %v", empty, err)
	}
}

// A number of bytes may be a number.
func TestQuota(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "4096": 4096, `"0"`: 0, `"1MiB"`: 1 << 20, `"1 MB"`: 1e6} {
		f, err := parse([]byte("[copies]\nquota = " + text))
		if err != nil || f.Copies.Quota == nil || *f.Copies.Quota != want {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
}

// What is wrong is said, all of it, with the line.
func TestMistakes(t *testing.T) {
	for text, want := range map[string][]string{
		"repo = 1":                                    {"line 1"},
		"repo = \"x":                                  {"line 1"},
		"\nrepos = \"x\"\n[serve]\nport = 1":          {`line 2: there is no key "repos"`, `line 4: there is no key "serve.port"`},
		"[credentials.a]\ntoken = \"hush\"":           {`"credentials.a.token"`, "no secret stands in this file"},
		"[credentials.a]\nhosts = [\"a\"]":            {"[credentials.a]", "say where the secret is"},
		"[credentials.a]\nfile = \"a\"\nenv = \"b\"":  {"exclude each other"},
		"[credentials.a]\nsystemd = \"a/b\"":          {"is a path"},
		"[credentials.a]\nenv=\"A\"\nhosts=[\"u@h\"]": {`"u@h" is no host`},
		"[s3.a]\ncredentials = \"b\"":                 {"there is no [credentials.b]"},
		"[credentials.a]\nenv=\"A\"\nuser=\"u\"":      {"[credentials.a]: it is for nobody"},
		"[s3.a]\nprofile = \"b\"\nanonymous = true":   {"exclude each other"},
		"[serve]\ntls_cert = \"x\"":                   {"go together"},
		"[serve]\nrequests = -1":                      {"requests is -1"},
		"[serve]\nproxies = [\"x\"]":                  {"neither an address nor a network"},
		"[serve]\ndrain = \"soon\"":                   {"no length of time"},
		"[serve]\ngrace = \"-1s\"":                    {"no length of time"},
		"[gateway]\npublic_url = \"gw.example\"":      {"a scheme and a host"},
		"[gateway]\npublic_url = \"https://a/b\"":     {"a scheme and a host"},
		"[gateway]\nipns = \"gw.example\"":            {"ipns is", "a scheme and a host"},
		"[gateway]\nipns = \"https://a?b\"":           {"ipns is", "a scheme and a host"},
		"[gateway]\ndns_server = \"192.0.2.1\"":       {"without dnslink"},
		"[gateway]\ndns_server = \"dns.example\"":     {"dns_server is", "without dnslink"},
		"[copies]\nquota = \"much\"":                  {"no number of bytes"},
		"[copies]\nquota = -1":                        {"the least is 0"},
		"[copies]\nquota = \"-1\"":                    {"no number of bytes"},
		"[copies]\nquota = \"8EiB\"":                  {"no number of bytes"},
		"[sources]\nbandwidth = \"1000\"":             {"the least is 1024"},
		"[log]\nformat = \"xml\"":                     {"may be text or json"},
		"[log]\nlevel = \"loud\"":                     {"line 2"},
		"[sources]\nper_host = -1":                    {"the least is 2"},
		strings.Repeat("# long\n", mostBytes/7+1):     {"too long"},
	} {
		_, err := Load(write(t, "config.toml", text, 0o644))
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%.60q: %v; want %q", text, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v tells the secret", text, err)
		}
	}
}

func TestSecret(t *testing.T) {
	env := map[string]string{"TOKEN": "of the environment"}
	loaded := write(t, "loaded", "of systemd\nsecond line", 0o440)
	env["CREDENTIALS_DIRECTORY"] = filepath.Dir(loaded)
	getenv := func(name string) string { return env[name] }
	for _, c := range []struct {
		from Credential
		want string
	}{
		{Credential{Env: "TOKEN"}, "of the environment"},
		{Credential{Systemd: "loaded"}, "of systemd"},
		{Credential{File: write(t, "s", "of a file\r\n", 0o600)}, "of a file"},
		{Credential{Key: "id"}, ""},
	} {
		if got, err := c.from.Secret(getenv); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v", c.from, got, err)
		}
	}
	for _, bad := range []Credential{
		{Env: "NONE"},
		{Systemd: "none"},
		{File: filepath.Join(t.TempDir(), "none")},
		{File: write(t, "s", "\nhush", 0o600)},
		{File: write(t, "s", strings.Repeat("hush", mostSecret), 0o600)},
	} {
		if got, err := bad.Secret(getenv); err == nil || got != "" || strings.Contains(err.Error(), "hush") {
			t.Errorf("%+v: %q, %v", bad, got, err)
		}
	}
	open := Credential{File: write(t, "s", "hush", 0o644)}
	if _, err := open.Secret(getenv); runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "chmod 600")) {
		t.Errorf("a secret that all can read: %v", err)
	}
	env = nil
	if _, err := (&Credential{Systemd: "x"}).Secret(getenv); err == nil || !strings.Contains(err.Error(), "LoadCredential=x") {
		t.Errorf("without systemd: %v", err)
	}
}
