package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/client"
)

// A backupObject is what "backup --json" prints.
type backupObject struct {
	Dir         string `json:"dir"`
	Linked      int64  `json:"linked"` // files that share their bytes with the store's
	LinkedBytes int64  `json:"linked_bytes"`
	Copied      int64  `json:"copied"`
	CopiedBytes int64  `json:"copied_bytes"`
}

func (a *app) backupCommand() *cobra.Command {
	var opts dagstore.BackupOptions
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Make a copy of the store, which may be in use",
		Long: `Make a store in the new folder DIR that is this one as it is now: catalogue,
indices, manifests. Nobody has to wait for it. Files that never change share
their bytes with the store's, where DIR is on the same disk and that has hard
links; else they are copied. CARs are not taken along, the backup has their
URLs; local copies of them are with --copies.

DIR is there when it is whole. Until then it is called DIR.partial, which is
removed if the backup cannot be completed, or by the next one. A backup on the
same disk is no help when that is lost: name a folder on another one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			_, before := os.Lstat(dir)
			err = a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				return a.backup(ctx, store, dir, &opts)
			})
			if errors.Is(err, client.ErrUnsure) && errors.Is(err, client.ErrGone) && errors.Is(before, fs.ErrNotExist) {
				return a.afterBackup(dir)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&opts.Copies, "copies", false, "also take the local copies of CARs that lie elsewhere")
	a.jsonFlag(cmd)
	return cmd
}

// afterBackup says what has become of a backup whose process has ended: the folder
// is there when it is whole.
func (a *app) afterBackup(dir string) error {
	if _, there := os.Lstat(dir); there != nil {
		return fmt.Errorf("%w, and there is no backup: run the command again", client.ErrGone)
	}
	a.notef("the process that held the store has ended, and nobody knows the figures: but the backup is whole")
	if a.jsonOut {
		return printJSON(a.stdout, backupObject{Dir: dir})
	}
	_, err := fmt.Fprintf(a.stdout, "backed up to %s\n", showText(dir))
	return err
}

// backup carries out the command "backup".
func (a *app) backup(ctx context.Context, store storage, dir string, opts *dagstore.BackupOptions) error {
	r, err := store.Backup(ctx, dir, opts)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: name a folder that is not there", err)
	case errors.Is(err, fs.ErrInvalid):
		return fmt.Errorf("%w: name a folder outside of it", err)
	case err != nil:
		return err
	}
	if a.jsonOut {
		return printJSON(a.stdout, backupObject{dir, r.Linked, r.LinkedBytes, r.Copied, r.CopiedBytes})
	}
	_, err = fmt.Fprintf(a.stdout, "backed up to %s: %s linked, %s; %d copied, %s\n",
		showText(dir), plural(r.Linked, "file"), showBytes(r.LinkedBytes), r.Copied, showBytes(r.CopiedBytes))
	return err
}
