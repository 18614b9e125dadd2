package settings

import (
	"os"
	"strings"
	"testing"
)

// examples are all that docs/configuration.md shows of a file.
func examples(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(data), "\r\n", "\n")
	var all strings.Builder
	for i, part := range strings.Split(page, "```") {
		if toml, ok := strings.CutPrefix(part, "toml\n"); ok && i%2 == 1 {
			all.WriteString(toml)
		}
	}
	return all.String()
}

// TestDocumented: the examples of docs/configuration.md are taken as they are.
func TestDocumented(t *testing.T) {
	if _, err := parse([]byte(examples(t))); err != nil {
		t.Errorf("the examples: %v", err)
	}
}
