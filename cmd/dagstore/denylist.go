package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/internal/denylist"
	"github.com/dagstore/dagstore/internal/piece"
)

func (a *app) denylistCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "denylist",
		Short: "Ask what the gateway does not serve",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.denylistCheckCommand())
	return cmd
}

// denylistFlag adds --denylist to a command.
func denylistFlag(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVar(paths, "denylist", nil, "denylist, or folder of *.deny files; may be given again; instead of those of the configuration")
}

// denylists opens the lists of flags, or else of the configuration, or returns
// nil if there are none.
func (a *app) denylists(flags []string, logger *slog.Logger) (*denylist.Follower, error) {
	paths := flags
	if len(paths) == 0 {
		paths = a.settings.Gateway.Denylists
	}
	if len(paths) == 0 {
		return nil, nil
	}
	return denylist.Open(denylist.Config{Paths: paths, Logger: logger})
}

// A verdictObject is what "denylist check --json" prints.
type verdictObject struct {
	Path   string `json:"path"`
	Denied bool   `json:"denied"`
	Status int    `json:"status,omitempty"` // of the gateway's answer
	List   string `json:"list,omitempty"`   // whose rule counts
	Line   int    `json:"line,omitempty"`
	Rule   string `json:"rule,omitempty"`
}

func (a *app) denylistCheckCommand() *cobra.Command {
	var flags []string
	cmd := &cobra.Command{
		Use:   "check CID|PATH",
		Short: "Say which rule of which denylist is about a CID or a path",
		Long: `Say which rule of which denylist is about a CID, a path that begins with
/ipfs/ or /ipns/, or a piece CID: the list, the line and what it says. The lists
are those of --denylist, or of "denylists" under [gateway] of the configuration.

A path is held against the rules as it is written, and so is its root. The
blocks that it leads over are not known without the store, and are not asked about.

If no rule is about it the exit code is 3.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			lists, err := a.denylists(flags, a.logger(slog.LevelWarn))
			if err != nil {
				return err
			}
			if lists == nil {
				return exitError(exitUsage, errors.New(`there are no denylists: name some by --denylist or by "denylists" under [gateway]`))
			}
			return a.checkDenied(lists.Set(), args[0])
		},
	}
	denylistFlag(cmd, &flags)
	a.jsonFlag(cmd)
	return cmd
}

// checkDenied prints which rule of set is about what was named.
func (a *app) checkDenied(set *denylist.Set, what string) error {
	path := what
	if rest, ok := strings.CutPrefix(path, "ipfs://"); ok {
		path = "/ipfs/" + rest
	} else if !strings.HasPrefix(path, "/") {
		path = "/ipfs/" + path
	}
	m := set.Content(path)
	if rest, ok := strings.CutPrefix(path, "/ipfs/"); ok {
		root, _, _ := strings.Cut(rest, "/")
		c, err := cid.Decode(root)
		if err != nil {
			return exitError(exitUsage, fmt.Errorf("%q is neither a CID nor a path: %w", what, err))
		}
		if block := set.Block(c); block.Denies() && !m.Denies() {
			m = block // no path leads through it
		}
		if id, ok := piece.Parse(c); ok && !m.Denies() {
			if v1 := set.Block(id.V1()); v1.Denies() {
				m = v1 // a piece is denied in both forms
			}
		}
	} else if !strings.HasPrefix(path, "/ipns/") {
		return exitError(exitUsage, fmt.Errorf("%q is neither a CID nor a path", what))
	}
	if m.Line == 0 {
		return exitError(exitNotFound, fmt.Errorf("no denylist has a rule about %s", path))
	}
	return a.printDenied(path, m)
}

func (a *app) printDenied(path string, m denylist.Match) error {
	rule, err := denylist.Line(m.List, m.Line)
	if err != nil {
		return err
	}
	o := verdictObject{Path: path, Denied: m.Denies(), List: m.List, Line: m.Line, Rule: rule}
	verdict := "allowed"
	if o.Denied {
		o.Status = m.Status
		verdict = fmt.Sprintf("denied (%d)", m.Status)
	}
	if a.jsonOut {
		return printJSON(a.stdout, o)
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s  %s\n", verdict, harmless(m.String()), harmless(rule))
	return err
}
