package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
