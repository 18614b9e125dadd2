package settings

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestOverlay: whatever a file may say the environment may say instead, and goes before
// it; what it does not say stays.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if got, err := os.Getwd(); err != nil || got == "" {
		t.Fatal(err)
	} else {
		dir = got // as the system calls it
	}
	var want File
	n := 0
	fill(reflect.ValueOf(&want).Elem(), dir, &n)
	env := map[string]string{}
	count := 0
	for _, v := range want.Values() {
		if !HasEnv(v.Key) {
			continue
		}
		count++
		text := v.Text
		if list, is := strings.CutPrefix(text, "["); is {
			text = strings.TrimSuffix(list, "]")
			text = strings.ReplaceAll(strings.ReplaceAll(text, `", "`, `, `), `\"`, "'")
			env[EnvName(v.Key)] = strings.ReplaceAll(strings.Trim(text, `"`), "'", `"`)
			continue
		}
		env[EnvName(v.Key)] = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`), `\"`, `"`)
	}
	getenv := func(name string) string { return env[name] }
	// Over nothing, and over a file that says something else.
	other, err := Load(write(t, "config.toml", whole, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*File{new(File), other} {
		before := *f
		set, err := f.Overlay(getenv)
		if err != nil {
			t.Fatal(err)
		}
		if len(set) != count || count < 25 {
			t.Errorf("%d of %d keys are set: %v", len(set), count, slices.Sorted(maps.Keys(set)))
		}
		got := *f
		got.Repo, got.Watch, got.Credentials, got.S3 = want.Repo, want.Watch, want.Credentials, want.S3
		if !reflect.DeepEqual(got, want) {
			for i, v := range got.Values() {
				if w := want.Values()[i]; w != v {
					t.Errorf("%+v, want %+v", v, w)
				}
			}
			t.Error("the environment says something else")
		}
		if f.Repo != before.Repo || !reflect.DeepEqual(f.S3, before.S3) || !reflect.DeepEqual(f.Credentials, before.Credentials) {
			t.Error("what the environment does not say was changed")
		}
	}
	if set, err := new(File).Overlay(func(string) string { return "" }); len(set) > 0 || err != nil {
		t.Errorf("of nothing: %v, %v", set, err)
	}
	f := new(File)
	env = map[string]string{"DAGSTORE_SERVE_TLS_CERT": "a.pem", "DAGSTORE_SERVE_TLS_KEY": filepath.Join(dir, "a.key"), "DAGSTORE_GATEWAY_DENYLISTS": "x.deny , y.deny"}
	if _, err := f.Overlay(getenv); err != nil || f.Serve.TLSCert != filepath.Join(dir, "a.pem") || f.Serve.TLSKey != filepath.Join(dir, "a.key") ||
		!slices.Equal(f.Gateway.Denylists, []string{filepath.Join(dir, "x.deny"), filepath.Join(dir, "y.deny")}) {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestOverlayMistakes: what is wrong is said by the name of the variable, all of it.
func TestOverlayMistakes(t *testing.T) {
	env := map[string]string{
		"DAGSTORE_SERVE_REQUESTS": "many", "DAGSTORE_SOURCES_PROXY": "perhaps", "DAGSTORE_COPIES_QUOTA": "much",
		"DAGSTORE_LOG_LEVEL": "loud\n[s3.x]", "DAGSTORE_SERVE_DRAIN": "soon",
	}
	_, err := new(File).Overlay(func(name string) string { return env[name] })
	for name := range env {
		if err == nil || !strings.Contains(err.Error(), name+"=") {
			t.Errorf("%v, want %s", err, name)
		}
	}
	env = map[string]string{"DAGSTORE_LOG_FORMAT": "xml"}
	if _, err := new(File).Overlay(func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), "may be text or json") {
		t.Error(err)
	}
}
