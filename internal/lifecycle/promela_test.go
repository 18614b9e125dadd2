package lifecycle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

const (
	modelFrame = "testdata/frame.pml"     // what is written by hand
	modelFile  = "testdata/lifecycle.pml" // the whole, as it is printed
)

// lowEffects is how many effects go into the first of two numbers: spin's have
// 32 bits.
const lowEffects = 18

// a rules is a table like the one of this package, perhaps a wrong one.
type rules = [gone + 1][numEvents]cell

// model prints t as a model for spin.
func model(t *testing.T, r *rules) []byte {
	t.Helper()
	frame, err := os.ReadFile(modelFrame)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(frame), "@NUMBERS@\n", modelNumbers(), 1)
	// Spin wants an inline before its use.
	const user = "active proctype Machine() {"
	text = strings.Replace(text, "@TABLE@\n", "", 1)
	text = strings.Replace(text, user, modelTable(r)+"\n"+user, 1)
	return []byte(text)
}

// modelNumbers defines the states, the events and the effects.
func modelNumbers() string {
	var b strings.Builder
	for s := shard.Registered; s <= shard.Gone; s++ {
		fmt.Fprintf(&b, "#define %v %d\n", s, s)
	}
	b.WriteByte('\n')
	for e := range numEvents {
		fmt.Fprintf(&b, "#define %v %d\n", e, e)
	}
	b.WriteString("\n// Effects: the first ones are bits of lo, the others of hi.\n")
	for i, name := range effectNames {
		fmt.Fprintf(&b, "#define %s %d\n", name, 1<<(i%lowEffects))
	}
	return b.String()
}

// modelTable is the table as an inline that sets next, lo and hi.
func modelTable(r *rules) string {
	var b strings.Builder
	b.WriteString("// The table.\ninline table() {\n\tif\n")
	for s := shard.Registered; s <= shard.Gone; s++ {
		fmt.Fprintf(&b, "\t:: s == %v ->\n\t\tif\n", s)
		for e := range numEvents {
			c := r[s][e]
			if c.next == stay {
				c.next = s
			}
			fmt.Fprintf(&b, "\t\t:: e == %v -> next = %v; lo = %s; hi = %s\n", e, c.next,
				bits(c.do&(1<<lowEffects-1)), bits(c.do&^(1<<lowEffects-1)))
		}
		b.WriteString("\t\tfi\n")
	}
	b.WriteString("\tfi\n}\n")
	return b.String()
}

func bits(do Effects) string {
	if do == 0 {
		return "0"
	}
	return strings.ReplaceAll(do.String(), "+", " | ")
}

// TestModel holds the model on disk against the table it is printed from.
func TestModel(t *testing.T) {
	want := model(t, &table)
	if *rewrite {
		if err := os.WriteFile(modelFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(modelFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s does not show the table; print it with: go test ./internal/lifecycle -run TestModel -rewrite", filepath.FromSlash(modelFile))
	}
}
