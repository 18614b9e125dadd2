package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// An app is one run of the program: what it was given and where it writes.
type app struct {
	repo    string // --repo
	jsonOut bool   // --json

	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	command string // path of the command that is carried out; "" until the command line proved right
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "dagstore",
		Short: "Any block of many CAR files, one lookup away",
		Long: `dagstore keeps a store of DAGs that lie in many CAR files. It indexes the files
where they are: nothing is imported, copied or unpacked.

The store is the folder that --repo names, else DAGSTORE_PATH, else a folder
in your data directory. Only "add" and "serve" make a new one. One process at
a time can have a store open.`,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			a.command = cmd.CommandPath()
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetHelpTemplate(root.HelpTemplate() + "\n" + exitHelp + "\n")
	root.PersistentFlags().StringVar(&a.repo, "repo", "", "folder of the store")
	root.AddCommand(
		a.addCommand(),
		a.lsCommand(),
		a.findCommand(),
		a.getCommand(),
		a.catCommand(),
		a.blockCommand(),
		a.dagCommand(),
		a.rmCommand(),
		a.serveCommand(),
		a.versionCommand(),
	)
	return root
}

// jsonFlag adds --json to a command that has a form for programs.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.jsonOut, "json", false, "print one JSON object a line")
}

// notef says something to the person, on standard error.
func (a *app) notef(format string, args ...any) {
	text := strings.TrimPrefix(fmt.Sprintf(format, args...), "dagstore: ") // as the errors of the library begin
	fmt.Fprintln(a.stderr, "dagstore: "+harmless(text))
}

// harmless escapes what would steer a terminal, as names of files in errors
// may. Ends of lines stay: some errors have several lines.
func harmless(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// finish reports err and returns the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if a.command == "" { // cobra refused the command line before any command began
		a.notef("%v; see \"dagstore help\"", err)
		return exitUsage
	}
	code := exitCode(err)
	if ctx.Err() != nil && (code == exitFailed || code == exitPartial) {
		code = exitInterrupted
	}
	switch {
	case code == exitInterrupted:
		if !errors.Is(err, context.Canceled) { // it came up beside the interrupt
			a.notef("%v", err)
		}
		a.notef("interrupted")
	case code == exitUsage:
		a.notef("%v; see \"%s --help\"", err, a.command)
	default:
		a.notef("%v", err)
	}
	return code
}
