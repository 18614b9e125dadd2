package settings

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocumented: docs/configuration.md has every key, and its examples are
// taken as they are.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile("../../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(data), "\r\n", "\n")
	var examples strings.Builder
	for i, part := range strings.Split(page, "```") {
		if toml, ok := strings.CutPrefix(part, "toml\n"); ok && i%2 == 1 {
			examples.WriteString(toml)
		}
	}
	if _, err := parse([]byte(examples.String())); err != nil {
		t.Errorf("the examples: %v", err)
	}
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		switch kind := of.Kind(); {
		case kind == reflect.Pointer, kind == reflect.Map, kind == reflect.Slice:
			walk(of.Elem())
		case kind == reflect.Struct:
			for i := range of.NumField() {
				field := of.Field(i)
				key := field.Tag.Get("toml")
				if !strings.Contains(page, "\n"+key+" = ") && !strings.Contains(page, "\n["+key) && !strings.Contains(page, "\n[["+key+"]]") {
					t.Errorf("docs/configuration.md does not have %q", key)
				}
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[File]())
}
