package settings

import (
	"encoding"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"
)

// A Value is one key of the configuration.
type Value struct {
	Key  string // with dots, such as "serve.listen"
	Text string // as it would stand in the file; "" if it says nothing
	Zero string // as it would stand there if it says nothing: "", 0, false, …
}

// Values yields every key that a file may have, in the order of the file: of
// tables with names, those that are there. Paths are as they count, absolute.
func (f *File) Values() []Value {
	var all []Value
	walk("", reflect.ValueOf(f).Elem(), func(key string, v reflect.Value) {
		all = append(all, Value{Key: key, Text: textOf(v), Zero: zeroOf(v)})
	})
	return all
}

// walk calls leaf for each field that has a key.
func walk(prefix string, v reflect.Value, leaf func(key string, v reflect.Value)) {
	for i := range v.NumField() {
		key, has := v.Type().Field(i).Tag.Lookup("toml")
		if !has {
			continue
		}
		field := v.Field(i)
		switch key = prefix + key; {
		case field.Kind() == reflect.Struct:
			walk(key+".", field, leaf)
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			for i := range field.Len() {
				walk(fmt.Sprintf("%s.%d.", key, i+1), field.Index(i), leaf)
			}
		case field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.Pointer:
			names := make([]string, 0, field.Len())
			for _, name := range field.MapKeys() {
				names = append(names, name.String())
			}
			slices.Sort(names)
			for _, name := range names {
				walk(key+"."+name+".", field.MapIndex(reflect.ValueOf(name)).Elem(), leaf)
			}
		default:
			leaf(key, field)
		}
	}
}

// textOf is a value as it would stand in the file.
func textOf(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch value := v.Interface().(type) {
	case Size:
		text := humanize.IBytes(uint64(max(value, 0)))
		if n, err := ParseSize(text); err != nil || n != int64(value) {
			return strconv.FormatInt(int64(value), 10) // it would be rounded
		}
		return fmt.Sprintf("%q", text)
	case Duration:
		return fmt.Sprintf("%q", time.Duration(value))
	case Span:
		if value == 0 {
			return ""
		}
		return fmt.Sprintf("%q", time.Duration(value))
	case encoding.TextMarshaler:
		text, err := value.MarshalText()
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%q", text)
	case string:
		if value == "" {
			return ""
		}
		return fmt.Sprintf("%q", value)
	case map[string]string:
		if len(value) == 0 {
			return ""
		}
		parts := make([]string, 0, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) {
			parts = append(parts, fmt.Sprintf("%q = %q", name, value[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []string:
		if len(value) == 0 {
			return ""
		}
		parts := make([]string, len(value))
		for i, part := range value {
			parts[i] = fmt.Sprintf("%q", part)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		if v.IsZero() {
			return ""
		}
		return fmt.Sprint(value)
	}
}

// zeroOf is what stands in the file for nothing.
func zeroOf(v reflect.Value) string {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Duration](), reflect.TypeFor[Span]():
		return `"0s"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "false"
	case reflect.Slice:
		return "[]"
	case reflect.Map:
		return "{}"
	case reflect.String:
		return `""`
	default:
		return "0"
	}
}

// KeysIn returns the keys that a file has, which [Load] has taken.
func KeysIn(path string) (map[string]bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	set := map[string]bool{}
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for key, value := range tree {
			set[prefix+key] = true // that a table is there says nothing of a key
			switch below := value.(type) {
			case map[string]any:
				walk(prefix+key+".", below)
			case []any:
				for i, one := range below {
					if table, is := one.(map[string]any); is {
						walk(fmt.Sprintf("%s%s.%d.", prefix, key, i+1), table)
					}
				}
			}
		}
	}
	walk("", tree)
	return set, nil
}
