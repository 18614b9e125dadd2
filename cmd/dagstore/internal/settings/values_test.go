package settings

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestValues: every key is there once, with what the file says of it.
func TestValues(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	text := `
repo = "store"
[serve]
listen = "127.0.0.1:1"
[copies]
quota = "10 GiB"
[sources]
proxy = false
files = ["a", "b"]
[credentials.z]
hosts = ["x.example"]
env = "Z"
[s3.here]
anonymous = true
[[watch]]
path = "in"
pin = true
labels = {owner = "me", a = "b"}
[[watch]]
url = "s3://bucket/in/"
every = "5m"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	set, err := KeysIn(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Value{}
	for _, v := range f.Values() {
		if _, twice := got[v.Key]; twice {
			t.Errorf("%s is there twice", v.Key)
		}
		got[v.Key] = v
	}
	quoted := func(name string) string { return `"` + filepath.Join(dir, name) + `"` }
	for key, want := range map[string]string{
		"repo": quoted("store"), "serve.listen": `"127.0.0.1:1"`, "copies.quota": `"10 GiB"`,
		"sources.files": "[" + quoted("a") + ", " + quoted("b") + "]", "credentials.z.hosts": `["x.example"]`,
		"credentials.z.env": `"Z"`, "s3.here.anonymous": "true", "sources.proxy": "",
		"watch.1.path": quoted("in"), "watch.1.pin": "true", "watch.1.labels": `{"a" = "b", "owner" = "me"}`, "watch.2.url": `"s3://bucket/in/"`,
	} {
		if v := got[key]; v.Text != want || !set[key] {
			t.Errorf("%s: %+v, want %s", key, v, want)
		}
	}
	for _, key := range []string{"sources.ca", "sources.per_host", "s3.here.region", "credentials.z.file", "watch.2.path"} {
		if v, there := got[key]; !there || set[key] || v.Text != "" {
			t.Errorf("%s: %+v, %v", key, v, there)
		}
	}
	if v := got["watch.2.every"]; v.Text != `"5m0s"` || !set["watch.2.every"] {
		t.Errorf("%+v", v)
	}
	if got["sources.proxy"].Zero != "false" || got["sources.ca"].Zero != `""` || got["sources.per_host"].Zero != "0" || got["gateway.denylists"].Zero != "[]" {
		t.Errorf("%+v", got["sources.proxy"])
	}
	var empty File
	keys := map[string]bool{}
	for _, v := range empty.Values() {
		keys[v.Key] = true
		if v.Text != "" {
			t.Errorf("of no file: %+v", v)
		}
	}
	for key := range got {
		if !keys[key] && !strings.HasPrefix(key, "credentials.") && !strings.HasPrefix(key, "s3.") && !strings.HasPrefix(key, "watch.") {
			t.Errorf("%s is not there without a file: %v", key, slices.Sorted(maps.Keys(keys)))
		}
	}
}
