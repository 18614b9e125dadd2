package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// TestDocumented: docs/cli.md names every command, flag and exit code.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(s string) bool { return bytes.Contains(page, []byte(s)) }
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Runnable() && !cmd.HasSubCommands() {
			name := strings.TrimPrefix(cmd.CommandPath(), "dagstore ")
			if !has("dagstore "+name) && !has(", "+name) {
				t.Errorf("docs/cli.md does not describe %q", cmd.CommandPath())
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !has("--"+f.Name) && (f.Shorthand == "" || !has("-"+f.Shorthand+" ")) {
				t.Errorf("docs/cli.md does not name the flag --%s of %q", f.Name, cmd.CommandPath())
			}
		})
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk((&app{}).rootCommand())
	for _, code := range []int{
		exitOK, exitFailed, exitUsage, exitNotFound, exitPartial, exitNoStore,
		exitInUse, exitNoSpace, exitVersion, exitInterrupted,
	} {
		if !has(fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/cli.md does not explain exit code %d", code)
		}
	}
}

// withoutJSON are the commands that have no --json, and why.
var withoutJSON = map[string]string{
	"block get": "it writes bytes", "cat": "it writes bytes", "dag export": "it writes bytes", "completion": "it writes a script",
	"export": "a list is JSON", "serve": "it prints nothing", "token add": "it prints one word", "token rm": "it prints nothing",
}

// TestJSONEverywhere: every command has a form for programs, but for those that are
// named above.
func TestJSONEverywhere(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, below := range cmd.Commands() {
			walk(below)
		}
		name := strings.TrimPrefix(cmd.CommandPath(), "dagstore ")
		has, without := cmd.Flags().Lookup("json") != nil, withoutJSON[name] != ""
		if !cmd.HasSubCommands() && has == without {
			t.Errorf("%q: --json is there: %v, should be: %v", name, has, !without)
		}
	}
	walk((&app{}).rootCommand())
}

// around is what a reader of the README's first program has to write himself.
const around = `package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	ctx, root := context.Background(), cid.MustParse(os.Args[1])
%s}
`

// TestFirstProgram builds and runs the first Go program of the README, which
// has ten lines.
func TestFirstProgram(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(strings.ReplaceAll(string(page), "\r\n", "\n"), "```go\n")
	program, _, _ = strings.Cut(program, "```")
	if lines := strings.Count(program, "\n"); lines != 10 {
		t.Errorf("it has %d lines", lines)
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "first.exe")
	if err := os.WriteFile(source, fmt.Appendf(nil, around, program), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writeCAR(t, dir, "photos.car", "a photo")
	root := cartest.Raw([]byte("a photo")).CID.String()
	cmd := exec.CommandContext(t.Context(), binary, root)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "7 bytes of "+root+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}
