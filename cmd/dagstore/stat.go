package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func (a *app) statCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat KEY...",
		Short: "Say all that is known of shards",
		Long: `Say all that is known of shards: where the CAR lies, what is in it, how much of it
was verified and when, what is kept here, what is being done with it, how it
failed, and what has happened to it lately, as far as the process that holds the
store has seen it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			first := true
			return a.eachKey(ctx, &dagstore.Config{}, args, deed{do: func(store storage, key string) error {
				d, err := store.Detail(ctx, shard.Key(key))
				switch {
				case err != nil:
					return err
				case a.jsonOut:
					return printJSON(a.stdout, d)
				case !first:
					fmt.Fprintln(a.stdout)
				}
				first = false
				return printDetail(a.stdout, &d)
			}})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// A table has a name and what is to be said of it in each row.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)} }

// row adds a row, unless there is nothing to be said.
func (t table) row(name, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		fmt.Fprintf(t, "%s\t%s\n", name, text)
	}
}

// printDetail prints a shard for people.
func printDetail(w io.Writer, d *wire.Detail) error {
	t := newTable(w)
	t.row("key", "%s", showKey(shard.Key(d.Key)))
	t.row("status", "%s (%s)", d.Status, d.State)
	t.row("mount", "%s", showText(d.Mount))
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		t.row("label", "%s: %s", showText(name), showText(d.Labels[name]))
	}
	if d.Version != 0 {
		printContent(t, d)
	}
	if d.Piece != "" {
		t.row("piece", "%s", d.Piece)
	}
	printKept(t, d)
	if p := d.Progress; p != nil {
		t.row("work", "%s: %s of %s, since %s", p.Op, showBytes(p.Done), showSize(p.Total), showTime(p.Started))
	}
	if f := d.Failure; f != nil {
		t.row("failure", "%s: %s (%s, %s)", f.Op, showText(f.Error), plural(int64(f.Attempts), "attempt"), showTime(f.At))
	}
	for i := range d.Faulty {
		f := &d.Faulty[i]
		t.row("fault", "%s at offset %d %s %s", f.Kind, f.Offset, f.CID, showDetail(f.Detail))
	}
	if more := d.Faults - int64(len(d.Faulty)); more > 0 {
		t.row("fault", "and %d more", more)
	}
	t.row("registered", "%s", showTime(d.Registered))
	t.row("changed", "%s", showTime(d.Changed))
	for i := range d.Events {
		t.row("event", "%s  %s", showTime(d.Events[i].At), showEvent(&d.Events[i]))
	}
	return t.Flush()
}

// printContent says what is in the CAR.
func printContent(t table, d *wire.Detail) {
	t.row("size", "%s, CARv%d", showBytes(d.Bytes), d.Version)
	t.row("blocks", "%d, %d different ones", d.Sections, d.Multihashes)
	for _, root := range d.Roots {
		t.row("root", "%s", root)
	}
	if more := d.RootCount - len(d.Roots); more > 0 {
		t.row("root", "and %d more", more)
	}
	verified := d.Verified
	if d.VerifiedAt != nil {
		verified += ", " + showTime(*d.VerifiedAt)
	}
	t.row("verified", "%s", verified)
	if d.Claimed {
		t.row("index", "came with the CAR, and is not confirmed")
	}
	t.row("version", "%s", showDetail(d.Source))
	if d.Trailing {
		t.row("note", "bytes follow the null padding at which the CAR ends; they are not read")
	}
}

// printKept says what is on this machine.
func printKept(t table, d *wire.Detail) {
	if d.Serve != "" {
		t.row("served", "%s", d.Serve)
	}
	if d.Local > 0 {
		whole := "a part"
		if d.Complete {
			whole = "whole"
		}
		t.row("copy", "%s, %s", showBytes(d.Local), whole)
	}
	if d.LastCopy {
		t.row("copy", "may be the last: the source did not answer, or had something else")
	}
	if d.Pinned {
		t.row("pinned", "yes")
	}
	if d.Holders+d.Waiting > 0 {
		t.row("held", "by %d, %d wait", d.Holders, d.Waiting)
	}
}

// showDetail is a text that may be empty, and then is.
func showDetail(text string) string {
	if text == "" {
		return ""
	}
	return showText(text)
}

// showTime is a moment as people read it.
func showTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// showEvent is what happened, in a line, without the time.
func showEvent(e *wire.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	add("%s", e.Kind)
	if e.Key != "" {
		add("%s", showKey(shard.Key(e.Key)))
	}
	if e.From != "" {
		add("%s -> %s", e.From, e.To)
	}
	if e.Phase != "" {
		add("%s", e.Phase)
	}
	if p := e.Progress; p != nil && p.Done > 0 {
		add("%s of %s", showBytes(p.Done), showSize(p.Total))
	}
	if e.Bytes > 0 {
		add("%s", showBytes(e.Bytes))
	}
	if f := e.Fault; f != nil {
		add("%s at offset %d %s", f.Kind, f.Offset, showDetail(f.Detail))
	}
	if h := e.Host; h != nil {
		add("%s is %s %s", showText(h.Host), map[bool]string{true: "down", false: "well"}[h.Down], showDetail(h.Error))
	}
	if j := e.Job; j != nil {
		add("%s", showJob(j))
	}
	if e.Error != "" {
		add("%s", showText(e.Error))
	}
	return strings.TrimSpace(strings.Join(parts, "  "))
}
