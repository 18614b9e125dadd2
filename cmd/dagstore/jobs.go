package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

func (a *app) jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs of the process that holds the store",
		Long: `List the jobs of the process that holds the store, the newest first: what others
have asked it to add, verify, recover or remove, how far that is, and when it
will end if it goes on as it did. A process that ends forgets its jobs; what they
have done stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withEither(ctx, false, &dagstore.Config{}, func(*holder) error {
				a.notef("no other process holds the store: there are no jobs")
				return nil
			}, func(store farStore) error {
				jobs, err := store.Jobs(ctx)
				if err != nil {
					return err
				}
				return a.printJobs(jobs)
			})
		},
	}
	a.jsonFlag(cmd)
	cmd.AddCommand(a.jobsShowCommand(), a.jobsCancelCommand(), a.jobsVerifyCommand())
	return cmd
}

// withHolder calls f with the process that holds the store.
func (a *app) withHolder(ctx context.Context, f func(farStore) error) error {
	return a.withEither(ctx, false, &dagstore.Config{}, func(*holder) error {
		return exitError(exitNotFound, errors.New(`no other process holds the store, as "dagstore serve" does`))
	}, f)
}

func (a *app) printJobs(jobs []wire.Job) error {
	if a.jsonOut {
		for i := range jobs {
			if err := printJSON(a.stdout, &jobs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(a.stdout)
	for i := range jobs {
		j := &jobs[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", j.ID, j.State, showFigures(j), showTime(j.Started), showText(j.What))
	}
	return t.Flush()
}

// showFigures is how far a job is.
func showFigures(j *wire.Job) string {
	text := fmt.Sprintf("%d of %d", j.Done+j.Failed, j.Items)
	if j.Failed > 0 {
		text += fmt.Sprintf(", %d failed", j.Failed)
	}
	if j.BytesTotal > 0 {
		text += fmt.Sprintf(", %s of %s", showBytes(j.Bytes), showBytes(j.BytesTotal))
	}
	if j.ETA != nil {
		text += fmt.Sprintf(", %s left", time.Until(*j.ETA).Round(time.Second))
	}
	return text
}

// showJob is a job in a line.
func showJob(j *wire.Job) string {
	text := fmt.Sprintf("job %s  %s  %s  %s", j.ID, j.State, showFigures(j), showText(j.What))
	if j.Problem != nil {
		text += "  " + showText(j.Problem.Detail)
	}
	return text
}

func (a *app) jobsShowCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Print the results of a job",
		Long: `Print the results of a job, one a line: how each item went. With --follow it goes
on until the job ends. Items that failed are exit code 4, or 1 if all have.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withHolder(ctx, func(store farStore) error { return a.showResults(ctx, store, args[0], follow) })
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	a.jsonFlag(cmd)
	return cmd
}

// showResults prints the results of a job.
func (a *app) showResults(ctx context.Context, store farStore, id string, follow bool) error {
	var t tally
	var last *wire.Job
	for r, err := range store.Results(ctx, id, 0, follow) {
		if err != nil {
			return err
		}
		if r.Job != nil {
			last = r.Job
			continue
		}
		var failed error
		if r.Problem != nil {
			failed = itemError(r.Problem.Err())
		}
		t.add(failed)
		if err := a.printResult(&r); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if last == nil {
		is, err := store.Job(ctx, id)
		if err != nil {
			return err
		}
		last = &is
	}
	a.notef("%s", showJob(last))
	if last.Problem != nil {
		return last.Problem.Err()
	}
	return t.err()
}

func (a *app) printResult(r *wire.Result) error {
	if a.jsonOut {
		return printJSON(a.stdout, r)
	}
	word, rest := "ok", ""
	switch {
	case r.Problem != nil:
		word, rest = "failed", showText(r.Problem.Detail)
	case r.Plan != "":
		word = r.Plan
	}
	_, err := fmt.Fprintf(a.stdout, "%-9s  %s  %s\n", word, showText(r.Name), rest)
	return err
}

func (a *app) jobsCancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID...",
		Short: "End jobs; what they have done stays",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withHolder(ctx, func(store farStore) error {
				var t tally
				for _, id := range args {
					job, err := store.Cancel(ctx, id)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil {
						a.notef("job %s: %v", id, err)
					} else if a.jsonOut {
						if err := printJSON(a.stdout, &job); err != nil {
							return err
						}
					}
					t.add(err)
				}
				return t.err()
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) jobsVerifyCommand() *cobra.Command {
	var key bool
	cmd := &cobra.Command{
		Use:   "verify [PREFIX]",
		Short: "Have CARs read from end to end and every block hashed, as a job",
		Long: `Have the process that holds the store read the CARs of the shards whose keys
begin with PREFIX, or of all, from end to end, and hash every block. Nothing is
changed by it: a bad block is never served, whether this has found it or not. It
prints the number of the job, whose results "dagstore jobs show" prints.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sel := &wire.SelectJob{}
			switch {
			case key && len(args) == 0:
				return exitError(exitUsage, errors.New("--key wants a key"))
			case key:
				sel.Keys = args
			case len(args) == 1:
				sel.Prefix = args[0]
			}
			ctx := cmd.Context()
			return a.withHolder(ctx, func(store farStore) error {
				job, err := store.Begin(ctx, wire.NewJob{Kind: wire.JobVerify, Verify: sel})
				if err != nil {
					return err
				}
				if a.jsonOut {
					return printJSON(a.stdout, job)
				}
				_, err = fmt.Fprintln(a.stdout, job.ID)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&key, "key", false, "PREFIX is the key of a single shard")
	a.jsonFlag(cmd)
	return cmd
}
