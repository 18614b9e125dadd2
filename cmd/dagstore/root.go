package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/logfold"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
	"github.com/dagstore/dagstore/mount"
)

// An app is one run of the program: what it was given and where it writes.
type app struct {
	repo    string         // --repo
	config  string         // --config
	quota   *settings.Size // --quota; nil: not given
	jsonOut bool           // --json

	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	fileSystem     func(path string) (kind string, err error) // as doctor.FileSystemOf; nil: nobody knows

	logging    sync.Once        // makes log
	log        *logfold.Handler // what all loggers write to
	fromEnv    map[string]bool  // keys of the configuration for which the environment has said something
	configPath string           // file that the configuration was read from; "" if there is none

	settings *settings.File    // what the configuration says; never nil once a command has begun
	kinds    *kinds            // what mounts is made of
	mounts   mount.Registry    // the kinds of sources that can be reached
	listers  map[string]lister // how what lies below a prefix is listed, by scheme

	command string // path of the command that is carried out; "" until the command line proved right
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "dagstore",
		Short: "Any block of many CAR files, one lookup away",
		Long: `dagstore keeps a store of DAGs that lie in many CAR files. It indexes the files
where they are: nothing is imported, copied or unpacked.

The store is the folder that --repo names, else DAGSTORE_PATH, else "repo" of the
configuration, else a folder in your data directory. Only "add", "import" and
"serve" make a new one. One process at a time has a store open; other commands
use it through that process.`,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.command = cmd.CommandPath()
			return a.configure()
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetHelpTemplate(root.HelpTemplate() + "\n" + exitHelp + "\n")
	root.PersistentFlags().StringVar(&a.repo, "repo", "", "folder of the store")
	root.PersistentFlags().StringVar(&a.config, "config", "", "configuration file")
	root.PersistentFlags().Func("quota", "bytes for copies of CARs that lie elsewhere, as in 100GiB; 0 keeps none", func(text string) error {
		n, err := settings.ParseSize(text)
		size := settings.Size(n)
		a.quota = &size
		return err
	})
	root.AddCommand(a.commands()...)
	root.CompletionOptions.DisableDefaultCmd = true // ours refuses shells that it does not know
	return root
}

// commands are those below the root.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.addCommand(),
		a.exportCommand(),
		a.importCommand(),
		a.lsCommand(),
		a.statCommand(),
		a.findCommand(),
		a.getCommand(),
		a.catCommand(),
		a.blockCommand(),
		a.dagCommand(),
		a.indexCommand(),
		a.manifestCommand(),
		a.pinCommand(),
		a.unpinCommand(),
		a.evictCommand(),
		a.recoverCommand(),
		a.remountCommand(),
		a.replaceCommand(),
		a.rmCommand(),
		a.packCommand(),
		a.unpackCommand(),
		a.gcCommand(),
		a.backupCommand(),
		a.upgradeCommand(),
		a.pieceCommand(),
		a.denylistCommand(),
		a.serveCommand(),
		a.statsCommand(),
		a.configCommand(),
		a.doctorCommand(),
		a.completionCommand(),
		a.jobsCommand(),
		a.watchCommand(),
		a.uiCommand(),
		a.tokenCommand(),
		a.versionCommand(),
	}
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
