package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
)

// allKeys are the keys of the configuration, those of tables with "N" for a number and
// "NAME" for a name.
func allKeys() map[string]bool {
	whole := settings.File{
		Watch:       []settings.Watch{{}},
		Credentials: map[string]*settings.Credential{"NAME": {}},
		S3:          map[string]*settings.S3{"NAME": {}},
	}
	keys := map[string]bool{}
	for _, v := range whole.Values() {
		keys[strings.Replace(v.Key, "watch.1.", "watch.N.", 1)] = true
	}
	return keys
}

// A keyRow is what docs/configuration.md says of a key.
type keyRow struct {
	without string
	flag    string // with its dashes; "": none
	env     string // a variable; "": none
}

func keyTable(t *testing.T) map[string]keyRow {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(strings.ReplaceAll(string(page), "\r\n", "\n"), "\n## Every key\n")
	if !found {
		t.Fatal("docs/configuration.md has no table of all keys")
	}
	rows := map[string]keyRow{}
	line := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+?) \\|(.*)\\|$")
	for _, m := range line.FindAllStringSubmatch(table, -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s is there twice", m[1])
		}
		row := keyRow{without: strings.ReplaceAll(m[2], "`", "")}
		for _, one := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[3], -1) {
			if strings.HasPrefix(one[1], "--") {
				row.flag = one[1]
			} else {
				row.env = one[1]
			}
		}
		rows[m[1]] = row
	}
	return rows
}

// TestEveryKeyDocumented: the table of docs/configuration.md has every key, with the
// default that "config show" says and with the flag that goes before it.
func TestEveryKeyDocumented(t *testing.T) {
	keys, rows := allKeys(), keyTable(t)
	if len(keys) < 50 {
		t.Errorf("there are %d keys", len(keys))
	}
	for key := range keys {
		row, there := rows[key]
		if !there {
			t.Errorf("docs/configuration.md has no row for %q", key)
			continue
		}
		if want := cmp.Or(defaults[key], "-"); !inTable(key) && key != "repo" && row.without != want {
			t.Errorf("%s: docs/configuration.md says %q without it, \"config show\" %q", key, row.without, want)
		}
	}
	for key := range rows {
		if !keys[key] {
			t.Errorf("docs/configuration.md has a row for %q, and there is no such key", key)
		}
	}
	for key := range defaults {
		if !keys[key] {
			t.Errorf("there is a default of %q, and no such key", key)
		}
	}
	flags := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
		cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk((&app{}).rootCommand())
	named := 0
	for key, row := range rows {
		if row.flag != "" {
			named++
		}
		if row.flag != "" && !flags[row.flag] {
			t.Errorf("%s: no command has %s", key, row.flag)
		}
	}
	if named < 6 {
		t.Errorf("%d keys have a flag", named)
	}
}

// shown is what "config show" says, by key.
func shown(t *testing.T, args ...string) map[string]configObject {
	t.Helper()
	code, out, errs := command(t, append([]string{"config", "show", "--json"}, args...)...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	all := map[string]configObject{}
	for line := range strings.Lines(out) {
		var o configObject
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if _, twice := all[o.Key]; twice {
			t.Errorf("%s is there twice", o.Key)
		}
		all[o.Key] = o
	}
	return all
}

// TestConfigShowAll: every key is shown, with its default or as the file has it, and
// with where that comes from; a default that is a value can stand in the file.
func TestConfigShowAll(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DAGSTORE_PATH", "")
	empty := filepath.Join(dir, "empty.toml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	without := shown(t, "--config", empty)
	var text strings.Builder
	last := ""
	for _, v := range new(settings.File).Values() {
		o, there := without[v.Key]
		if !there || o.From != "default" || o.Where != "" {
			t.Errorf("%s: %+v", v.Key, o)
		}
		if want := defaults[v.Key]; v.Key != "repo" && o.Value != want {
			t.Errorf("%s: %+v, want %s", v.Key, o, want)
		}
		table, key, _ := strings.Cut(v.Key, ".")
		isValue := strings.HasPrefix(o.Value, `"`) || o.Value == "true" || o.Value == "false" || o.Value != "" && strings.Trim(o.Value, "0123456789") == ""
		if key == "" || !isValue {
			continue
		}
		if table != last {
			fmt.Fprintf(&text, "[%s]\n", table)
			last = table
		}
		fmt.Fprintf(&text, "%s = %s\n", key, o.Value)
	}
	file := filepath.Join(dir, "defaults.toml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	for key, o := range shown(t, "--config", file) {
		was := without[key]
		if o.Value != was.Value {
			t.Errorf("%s: the default is %s, written down it is %s", key, was.Value, o.Value)
		}
		if o.From == "file" {
			n++
			was.From, was.Where = "file", file
		}
		if !reflect.DeepEqual(o, was) {
			t.Errorf("%+v, want %+v", o, was)
		}
	}
	if n < 9 || n != strings.Count(text.String(), " = ") {
		t.Errorf("%d keys come from\n%s", n, text.String())
	}
}

// TestConfigShowsNoSecrets: whatever has a secret in it, by mistake or not, is shown
// without.
func TestConfigShowsNoSecrets(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_SECRET", "hush")
	file := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`
[credentials.a]
hosts = ["a.example"]
file = %q
[credentials.b]
hosts = ["b.example"]
env = "A_SECRET"
[s3.a]
endpoint = "https://me:hush@s3.example"
[[watch]]
url = "https://me:hush@a.example/list.ndjson"
[[watch]]
url = "https://a.example/list.ndjson?token=hush"
`, secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "show"}, {"config", "show", "--json"}, {"config", "check"}} {
		_, out, errs := command(t, append(args, "--config", file)...)
		if strings.Contains(out+errs, "hush") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	all := shown(t, "--config", file)
	for key, want := range map[string]string{
		"credentials.a (secret)": mask, "credentials.b (secret)": mask, "s3.a.endpoint": `"https://***@s3.example"`,
		"watch.1.url": `"https://***@a.example/list.ndjson"`, "watch.2.url": `"https://a.example/list.ndjson?***"`,
	} {
		if all[key].Value != want {
			t.Errorf("%s: %+v, want %s", key, all[key], want)
		}
	}
}

// TestConfigCheckAsServe: what "serve" would refuse of the configuration "config check"
// refuses, too, and says which key it is.
func TestConfigCheckAsServe(t *testing.T) {
	for text, want := range map[string]string{
		"[serve]\nlisten = \"nowhere\"":                              "serve.listen",
		"[serve]\nmetrics = \"nowhere\"":                             "serve.metrics",
		"[admin]\nlisten = \"nowhere\"":                              "admin.listen",
		"[admin]\nlisten = \"192.0.2.1:80\"":                         "it can only be on this machine",
		"[[watch]]\npath = \"in\"\nserve = \"often\"":                "[[watch]] 1: ",
		"[[watch]]\npath = \"in\"\nindex = \"often\"":                "[[watch]] 1: ",
		"[[watch]]\nurl = \"https://a.example/cars/\"":               "it cannot be watched",
		"[[watch]]\npath = \"in\"\n[[watch]]\npath = \"in\"":         "it is watched twice",
		"[serve]\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"":       "serve.tls_cert",
		"[gateway]\ndenylists = [\"no.deny\"]":                       "gateway.denylists",
		"[serve]\nmetrics = \"none\"\n[admin]\nlisten = \"none\"":    "",
		"[serve]\nmetrics = \"\"\n[admin]\nlisten = \"localhost:1\"": "",
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := command(t, "--config", file, "config", "check")
		switch {
		case want == "" && (code != exitOK || !strings.Contains(out, "is well")):
			t.Errorf("%s\nexit code %d: %s%s", text, code, out, errs)
		case want != "" && (code != exitUsage || !strings.Contains(errs, want)):
			t.Errorf("%s\nexit code %d: %s%s, want %q", text, code, out, errs, want)
		}
		if want == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var said bytes.Buffer
		args := []string{"--config", file, "--repo", filepath.Join(t.TempDir(), "store"), "serve"}
		if !strings.Contains(text, "listen") {
			args = append(args, "--listen", "127.0.0.1:0")
		}
		if code := run(ctx, args, strings.NewReader(""), &said, &said); code == exitOK {
			t.Errorf("%s\n\"serve\" takes it: %s", text, said.String())
		}
		cancel()
	}
}

// TestConfigOfEnvironment: flags go before the environment, that before the file, for
// every key that has a variable.
func TestConfigOfEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	text := "[serve]\nlisten = \"127.0.0.1:1\"\nrequests = 7\n[copies]\nquota = \"1 GiB\"\n[sources]\nfiles = [\"/a\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DAGSTORE_SERVE_LISTEN", "127.0.0.1:2")
	t.Setenv("DAGSTORE_COPIES_QUOTA", "2 GiB")
	t.Setenv("DAGSTORE_SOURCES_FILES", "/b, /c")
	t.Setenv("DAGSTORE_GATEWAY_PUBLIC_URL", "")
	t.Setenv("DAGSTORE_GATEWAY_TRUSTLESS", "true")
	all := shown(t, "--config", file, "--quota", "3GiB")
	for key, want := range map[string]configObject{
		"serve.listen":       {Value: `"127.0.0.1:2"`, From: "environment", Where: "DAGSTORE_SERVE_LISTEN"},
		"serve.requests":     {Value: "7", From: "file", Where: file},
		"copies.quota":       {Value: `"3.0 GiB"`, From: "flag", Where: "--quota"},
		"sources.files":      {Value: `["/b", "/c"]`, From: "environment", Where: "DAGSTORE_SOURCES_FILES"},
		"gateway.public_url": {From: "default"},
		"gateway.trustless":  {Value: "true", From: "environment", Where: "DAGSTORE_GATEWAY_TRUSTLESS"},
	} {
		if want.Key = key; all[key] != want {
			t.Errorf("%+v, want %+v", all[key], want)
		}
	}
	if o := shown(t, "--config", file)["copies.quota"]; o.Value != `"2.0 GiB"` || o.From != "environment" {
		t.Errorf("%+v", o)
	}
	if code, out, errs := command(t, "config", "check"); code != exitUsage || !strings.Contains(errs, "configuration the environment") || !strings.Contains(errs, "sources.files") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	// Where CARs may lie is heeded: it is more than shown.
	t.Setenv("DAGSTORE_SOURCES_FILES", t.TempDir())
	cars := t.TempDir()
	writeCAR(t, cars, "a.car", "a")
	if code, _, errs := command(t, "--repo", filepath.Join(t.TempDir(), "store"), "add", cars); code != exitFailed || !strings.Contains(errs, "is not allowed") {
		t.Errorf("%d: %s", code, errs)
	}
	t.Setenv("DAGSTORE_SERVE_REQUESTS", "many")
	if code, _, errs := command(t, "version"); code != exitUsage || !strings.Contains(errs, "DAGSTORE_SERVE_REQUESTS=many") {
		t.Errorf("%d: %s", code, errs)
	}
}
