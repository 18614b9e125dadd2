package settings

import (
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// EnvName is the variable of the environment for a key: DAGSTORE_SERVE_LISTEN is that
// of "serve.listen". The keys of tables that are many, as [[watch]], have none, and the
// one of "repo" is DAGSTORE_PATH, which is not read here.
func EnvName(key string) string {
	if key == "repo" {
		return "DAGSTORE_PATH"
	}
	return "DAGSTORE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// HasEnv reports whether a key has a variable that [File.Overlay] reads.
func HasEnv(key string) bool {
	table, _, _ := strings.Cut(key, ".")
	return !slices.Contains([]string{"repo", "watch", "credentials", "s3"}, table)
}

// Overlay puts what the environment says in place of what the file does, and returns
// for which keys. An empty variable says nothing. Lists have commas between; paths are
// relative to the current folder. It reports all that is wrong.
func (f *File) Overlay(getenv func(string) string) (map[string]bool, error) {
	set := map[string]bool{}
	var errs []error
	walk("", reflect.ValueOf(f).Elem(), func(key string, v reflect.Value) {
		said := getenv(EnvName(key))
		if said == "" || !HasEnv(key) {
			return
		}
		set[key] = true
		errs = append(errs, f.overlayOne(key, v, said))
	})
	if len(set) == 0 {
		return nil, nil //nolint:nilnil // nothing is said
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	f.relativeTo(dir) // those of the file are absolute
	return set, f.check()
}

// overlayOne reads the value of one key as it would be read in the file.
func (f *File) overlayOne(key string, v reflect.Value, said string) error {
	value, err := valueOf(v.Type(), said)
	var text []byte
	if err == nil {
		table, name, _ := strings.Cut(key, ".")
		text, err = toml.Marshal(map[string]map[string]any{table: {name: value}})
	}
	if err == nil {
		v.SetZero() // a list takes the place of the other
		err = toml.Unmarshal(text, f)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", EnvName(key), said, err)
	}
	return nil
}

// valueOf is a text as a value for a field of that type.
func valueOf(t reflect.Type, said string) (any, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return said, nil
	case t.Kind() == reflect.Bool:
		return strconv.ParseBool(said)
	case t.Kind() == reflect.Int:
		return strconv.Atoi(said)
	case t.Kind() == reflect.Slice:
		parts := strings.Split(said, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return parts, nil
	}
	return said, nil
}
