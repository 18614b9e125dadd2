package lifecycle

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew: docs/lifecycle.md, the scripts, the model")

// TestDocs holds docs/lifecycle.md against the table it is printed from.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "lifecycle.md")
	want := document()
	if *rewrite {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s does not show the table; print it with: go test ./internal/lifecycle -run TestDocs -rewrite", path)
	}
}

// document prints the table as a page: a diagram of the transitions, then
// each state with all that happens there.
func document() []byte {
	var b bytes.Buffer
	b.WriteString(`# The life of a shard

This page is printed from the table in internal/lifecycle; the tests of that
package walk every cell and every node that can be reached, and hold this page
against it.

A shard's state is about its index, never about where its bytes lie. Stored are
only the facts Registered, Available and Errored, and the intents to index, to
recover and to destroy, which a restart finishes. Who holds a shard is a fact
about one process and is never written.

Effects are performed from left to right. An answer waits until what was
written before it is on disk.

`)
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, w := range Ways() {
		on := make([]string, len(w.On))
		for i, e := range w.On {
			on[i] = e.String()
		}
		fmt.Fprintf(&b, "  %s --> %s: %s\n", title(w.From), title(w.To), strings.Join(on, ", "))
	}
	b.WriteString("```\n")
	for s := shard.Registered; s <= shard.Gone; s++ {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| event | then | effects |\n|---|---|---|\n", title(s), upper(About(s)))
		var refused []string
		for e := range numEvents {
			switch next, do := look(s, e); {
			case do.Has(Never):
			case do.Has(Reject):
				refused = append(refused, e.String())
			case do == 0:
				fmt.Fprintf(&b, "| %v | %s | – |\n", e, title(next))
			default:
				fmt.Fprintf(&b, "| %v | %s | %s |\n", e, title(next), strings.ReplaceAll(do.String(), "+", ", "))
			}
		}
		if len(refused) > 0 {
			fmt.Fprintf(&b, "\nRefused: %s.\n", strings.Join(refused, ", "))
		}
	}
	return b.Bytes()
}

func title(s shard.State) string { return upper(s.String()) }

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
