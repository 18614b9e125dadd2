package settings

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// fill sets every field below v that has a key to something that is not nothing, and
// that the rules of the file allow.
func fill(v reflect.Value, dir string, n *int) {
	for i := range v.NumField() {
		*n++
		field := v.Field(i)
		switch name := v.Type().Field(i).Tag.Get("toml"); {
		case name == "env" || name == "systemd" || name == "header" || name == "url" || name == "profile" || name == "anonymous":
			continue // they exclude others, and are below
		case name == "lazy" || name == "index" && v.Type() == reflect.TypeFor[Watch]():
			continue
		case name == "level":
			field.Set(reflect.ValueOf(new(slog.LevelError)))
		case name == "format":
			field.SetString("json")
		case name == "public_url" || name == "ipns":
			field.SetString("https://gateway.example")
		case name == "dns_server":
			field.SetString("192.0.2.1:53")
		case name == "proxies":
			field.Set(reflect.ValueOf([]string{"10.0.0.0/8", "::1"}))
		case name == "credentials" && field.Kind() == reflect.String:
			field.SetString("a name")
		default:
			fillOne(field, name, dir, n)
		}
	}
}

func fillOne(field reflect.Value, name, dir string, n *int) {
	switch field.Kind() {
	case reflect.Struct:
		fill(field, dir, n)
	case reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		fillOne(field.Elem(), name, dir, n)
	case reflect.Map:
		made := reflect.MakeMap(field.Type())
		value := reflect.New(field.Type().Elem()).Elem()
		fillOne(value, name, dir, n)
		made.SetMapIndex(reflect.ValueOf("a name"), value)
		field.Set(made)
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 2, 2))
		for i := range 2 {
			fillOne(field.Index(i), name, dir, n)
		}
	case reflect.String:
		field.SetString(filepath.Join(dir, fmt.Sprintf("\"ü\" %d", *n)))
		if name == "hosts" {
			field.SetString(fmt.Sprintf("host%d.example", *n))
		}
	case reflect.Bool:
		field.SetBool(true)
	case reflect.Int, reflect.Int64:
		field.SetInt(1_234_567_891 + int64(*n))
	default:
		panic(field.Kind())
	}
	*n++
}

// TestValuesBothWays: what [File.Values] says of each key can be written into a file,
// which then says the same.
func TestValuesBothWays(t *testing.T) {
	dir := t.TempDir()
	for name, more := range map[string]func(f *File){
		"most": func(*File) {},
		"others": func(f *File) {
			c := f.Credentials["a name"]
			c.File, c.Env, c.User, c.Header = "", "A", "", "X-Key"
			for i := range f.Watch {
				f.Watch[i] = Watch{URL: "https://a.example/list.ndjson", Lazy: true, Index: "scan"}
			}
			f.S3["a name"] = &S3{Anonymous: true}
		},
		"nothing, said": func(f *File) {
			zero := Size(0)
			f.Copies.Quota, f.Serve.Drain, f.Admin.Listen, f.Serve.Metrics = &zero, new(Duration), new(string), new(string)
			f.Credentials["a name"] = &Credential{Hosts: []string{"x"}, Systemd: "s"}
			f.S3["a name"] = &S3{Profile: "p"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want File
			n := 0
			fill(reflect.ValueOf(&want).Elem(), dir, &n)
			more(&want)
			got := reparsed(t, &want)
			if !reflect.DeepEqual(got, &want) {
				t.Error("it says something else:")
				for i, v := range got.Values() {
					if w := want.Values(); i < len(w) && w[i] != v {
						t.Errorf("%+v, want %+v", v, w[i])
					}
				}
			}
		})
	}
}

// reparsed is what a file says that is made of the values of f.
func reparsed(t *testing.T, f *File) *File {
	t.Helper()
	set := map[string]bool{"copies.quota": true, "serve.drain": true, "admin.listen": true, "serve.metrics": true}
	var text strings.Builder
	last := ""
	for _, v := range f.Values() {
		if v.Text == "" && !set[v.Key] {
			continue
		}
		table, key := "", v.Key
		if i := strings.LastIndexByte(v.Key, '.'); i >= 0 {
			table, key = v.Key[:i], v.Key[i+1:]
		}
		if table != last {
			last = table
			switch kind, name, _ := strings.Cut(table, "."); {
			case kind == "watch":
				text.WriteString("[[watch]]\n")
			case name != "":
				fmt.Fprintf(&text, "[%s.%q]\n", kind, name)
			default:
				fmt.Fprintf(&text, "[%s]\n", kind)
			}
		}
		value := v.Text
		if value == "" {
			value = v.Zero
		}
		fmt.Fprintf(&text, "%s = %s\n", key, value)
	}
	got, err := Load(write(t, "config.toml", text.String(), 0o600))
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	return got
}

// keysOf are the keys of a type of which each has the tables above it before it, with
// "*" for the name or the number of a table.
func keysOf(prefix string, of reflect.Type) (keys []string) {
	for i := range of.NumField() {
		key := prefix + of.Field(i).Tag.Get("toml")
		switch field := of.Field(i).Type; {
		case field.Kind() == reflect.Struct:
			keys = append(keys, keysOf(key+".", field)...)
		case field.Kind() == reflect.Slice && field.Elem().Kind() == reflect.Struct:
			keys = append(keys, keysOf(key+".*.", field.Elem())...)
		case field.Kind() == reflect.Map && field.Elem().Kind() == reflect.Pointer:
			keys = append(keys, keysOf(key+".*.", field.Elem().Elem())...)
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// TestExamplesHaveAll: the examples of docs/configuration.md have every key, each in
// its own table.
func TestExamplesHaveAll(t *testing.T) {
	set, err := KeysIn(write(t, "examples.toml", examples(t), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for key := range set {
		parts := strings.Split(key, ".")
		if len(parts) == 3 {
			parts[1] = "*"
		}
		shown[strings.Join(parts, ".")] = true
	}
	for _, key := range keysOf("", reflect.TypeFor[File]()) {
		if !shown[key] {
			t.Errorf("no example of docs/configuration.md has %q", key)
		}
	}
}

// TestUnknownRefused: in each table, a key that there is not is refused.
func TestUnknownRefused(t *testing.T) {
	tables := map[string]bool{}
	for _, key := range keysOf("", reflect.TypeFor[File]()) {
		tables[key[:strings.LastIndexByte(key, '.')+1]] = true
	}
	if len(tables) < 9 {
		t.Errorf("there are %v", tables)
	}
	for table := range tables {
		var text string
		switch name := strings.TrimSuffix(table, "."); {
		case name == "":
			text = "nonsense = 1\n"
		case name == "watch.*":
			text = "[[watch]]\npath = \"a\"\nnonsense = 1\n"
		default:
			text = "[" + strings.ReplaceAll(name, "*", "x") + "]\nnonsense = 1\n"
		}
		want := fmt.Sprintf("there is no key %q", strings.ReplaceAll(strings.Replace(table, "watch.*.", "watch.", 1), "*", "x")+"nonsense")
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestSecretsAlone: a file with a secret is for its owner alone; what systemd has
// loaded may be its group's, too.
func TestSecretsAlone(t *testing.T) {
	if os.PathSeparator == '\\' {
		return // modes are those of Unix
	}
	for mode, ok := range map[os.FileMode][2]bool{
		0o600: {true, true}, 0o400: {true, true}, 0o440: {false, true}, 0o640: {false, true}, 0o604: {false, false}, 0o644: {false, false}, 0o660: {false, false}, 0o610: {false, false},
	} {
		path := write(t, "s", "hush", mode)
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		getenv := func(string) string { return filepath.Dir(path) }
		for i, c := range []Credential{{File: path}, {Systemd: "s"}} {
			if got, err := c.Secret(getenv); (err == nil) != ok[i] || err == nil && got != "hush" {
				t.Errorf("%v, %+v: %q, %v", mode, c, got, err)
			}
		}
	}
}
