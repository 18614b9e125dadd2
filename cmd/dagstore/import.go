package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
)

func (a *app) importCommand() *cobra.Command {
	opts := addDefaults()
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the shards that a list of \"export\" names",
		Long: `Add the shards that a list names, as "dagstore export" has written it: a file, a
URL, or - for standard input. It is "dagstore add --from FILE": what is there
already is "unchanged", so that an import that was cut off is repeated. A source
that has another size or version than the list says, or that cannot be reached,
fails, and the rest goes on.

With --with-indices, indices are taken from the folder to which "export
--with-indices" has written them. Of each, the header of the CAR and 16 blocks
are held against it; the CAR is not read. An index that is wrong is told of, and
one that is not there costs nothing else than reading that CAR.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.list = args[0]
			if opts.indices != "" {
				opts.index, opts.policy = "sample", dagstore.Sample
			}
			if err := opts.check(nil); err != nil {
				return exitError(exitUsage, err)
			}
			if opts.lazy && opts.indices != "" {
				return exitError(exitUsage, errors.New("--lazy looks at no index now: leave out --with-indices"))
			}
			return a.add(cmd.Context(), nil, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.indices, "with-indices", "", "take indices from this folder")
	flags.BoolVar(&opts.lazy, "lazy", false, "do not read the CARs now; index each when it is first used")
	flags.IntVarP(&opts.jobs, "jobs", "j", opts.jobs, "how many CARs to read at once")
	flags.BoolVar(&opts.failFast, "fail-fast", false, "stop at the first CAR that fails")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "change nothing, say what would be done")
	a.jsonFlag(cmd)
	return cmd
}
