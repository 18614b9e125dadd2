package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
)

// An upgradeObject is what "upgrade --json" prints.
type upgradeObject struct {
	Store   string `json:"store"`
	Format  int    `json:"format"`  // of the store's folder
	Current int    `json:"current"` // that this program writes
	Changed bool   `json:"changed"`
}

func (a *app) upgradeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring a store to the format of this version",
		Long: `Say which format the store's folder has, and bring it to the one that this
version writes. There is one format so far, so nothing is ever changed: a store
that has it is current, and one of a later format is refused, with exit code 13.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			at, err := locateStore(a.repo, a.settings.Repo, runtime.GOOS, a.getenv)
			if err != nil {
				return err
			}
			return a.upgrade(at)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) upgrade(at place) error {
	n, err := dagstore.FormatOf(at.dir)
	if err == nil && n != dagstore.Format {
		err = fmt.Errorf("%w: it has format %d, this program reads format %d, and has changed nothing", dagstore.ErrVersion, n, dagstore.Format)
	}
	if err != nil {
		return at.explain(err, false)
	}
	if a.jsonOut {
		return printJSON(a.stdout, upgradeObject{Store: at.dir, Format: n, Current: dagstore.Format})
	}
	_, err = fmt.Fprintf(a.stdout, "%s (%s) has format %d, which is current: nothing to do\n", showText(at.dir), at.why, n)
	return err
}
