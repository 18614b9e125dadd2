package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/vfs"
)

const (
	// usualPerBlock is what a block takes in an index and in the inverted index of
	// a large store.
	usualPerBlock = 60
	// telling is how many blocks tell what one takes: what a store takes anyway
	// is little beside them.
	telling = 100_000

	// countAgain is how long to wait for a store that is counting its shards.
	countAgain = 10 * time.Millisecond
)

// A statsObject is what "stats --json" prints.
type statsObject struct {
	wire.Stats
	IndexFiles int64 `json:"index_file_bytes"` // of indices that are not in the catalogue; -1 if that is not known
	InvertedIx int64 `json:"inverted_bytes"`   // of the inverted index; likewise
	Catalogue  int64 `json:"catalogue_bytes"`  // likewise
	Free       int64 `json:"free_bytes"`       // on the disk of the store; -1 if that is not known

	Forecast forecast `json:"forecast"`
}

// A forecast says what more blocks would take.
type forecast struct {
	PerBlock float64 `json:"bytes_per_block"` // of indices, inverted index and catalogue
	Measured bool    `json:"measured"`        // in this store; else it has too few blocks, and it is what is usual
	Blocks   int64   `json:"blocks"`          // that were asked about
	Bytes    int64   `json:"bytes"`           // that they would take
	Room     int64   `json:"room"`            // blocks for which there is room; -1 if that is not known
}

func (a *app) statsCommand() *cobra.Command {
	more := "1M"
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show the store in figures, and what more blocks would take",
		Long: `Show the store in figures: shards, blocks, what is on the disk, what has been read
since the store was opened; and a forecast: what an indexed block takes on the
disk so far, and what --more N blocks would take. CARs themselves lie elsewhere
and are not part of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := parseCount(more)
			if err != nil {
				return exitError(exitUsage, fmt.Errorf("--more %q: %w", more, err))
			}
			at, err := locateStore(a.repo, a.settings.Repo, runtime.GOOS, a.getenv)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
				s, err := counted(ctx, store.Statistics)
				if err != nil {
					return err
				}
				o := statsObject{Stats: s}
				o.measure(at.dir)
				o.foresee(n)
				if a.jsonOut {
					return printJSON(a.stdout, o)
				}
				return o.table(a.stdout)
			})
		},
	}
	cmd.Flags().StringVar(&more, "more", more, "how many more blocks, such as 500k, 10M or 1G")
	a.jsonFlag(cmd)
	return cmd
}

// parseCount reads a number such as 500k, 10M or 1G.
func parseCount(text string) (int64, error) {
	value, unit, err := humanize.ParseSI(strings.TrimSpace(text))
	if err != nil || unit != "" || value < 0 || value > 1e15 {
		return 0, errors.New("it is a number, such as 1000000 or 1M")
	}
	return int64(value), nil
}

// counted returns the figures of a store once it has counted its shards.
func counted(ctx context.Context, ask func(context.Context) (wire.Stats, error)) (wire.Stats, error) {
	for {
		s, err := ask(ctx)
		if err != nil || !s.Counting {
			return s, err
		}
		select {
		case <-time.After(countAgain):
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// measure looks at the folder of the store.
func (o *statsObject) measure(dir string) {
	o.IndexFiles = folderBytes(filepath.Join(dir, "index"))
	o.InvertedIx, o.Catalogue = folderBytes(filepath.Join(dir, "top")), folderBytes(filepath.Join(dir, "catalog"))
	o.Free = -1
	if u, err := vfs.Default.GetDiskUsage(dir); err == nil {
		o.Free = signed(u.AvailBytes)
	}
}

// folderBytes is how much the files below a folder have; -1 if that cannot be told.
func folderBytes(dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was removed since
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil:
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return -1
	}
	return n
}

// foresee says what more blocks would take.
func (o *statsObject) foresee(more int64) {
	f := forecast{PerBlock: usualPerBlock, Blocks: more, Room: -1}
	if o.Blocks >= telling && o.IndexFiles >= 0 && o.InvertedIx >= 0 && o.Catalogue >= 0 {
		f.PerBlock, f.Measured = float64(o.IndexFiles+o.InvertedIx+o.Catalogue)/float64(o.Blocks), true
	}
	f.Bytes = int64(float64(more) * f.PerBlock)
	if o.Free >= 0 && f.PerBlock > 0 {
		f.Room = int64(float64(o.Free) / f.PerBlock)
	}
	o.Forecast = f
}

// table prints the figures for people.
func (o *statsObject) table(w io.Writer) error {
	var out strings.Builder
	row := func(name, value, format string, args ...any) {
		line := fmt.Sprintf("%-14s  %13s  %s", name, value, fmt.Sprintf(format, args...))
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("shards", humanize.Comma(o.Total), "%s", o.byStatus())
	row("blocks", humanize.Comma(o.Blocks), "%s", per(o.Blocks, o.Total, "shard", ""))
	row("CARs", showBytes(o.Bytes), "%s", per(o.Bytes, o.Blocks, "block", "B "))
	row("indices", showBytes(o.IndexBytes), "%s", strings.TrimPrefix(per(o.IndexBytes, o.Blocks, "block", "B ")+"; "+knownBytes(o.IndexFiles)+" in files, the rest in the catalogue", "; "))
	row("inverted index", knownBytes(o.InvertedIx), "%s", per(o.InvertedIx, o.Blocks, "block", "B "))
	row("catalogue", knownBytes(o.Catalogue), "%s", per(o.Catalogue, o.Total, "shard", "B "))
	row("copies", showBytes(o.CopyBytes), "of %s; %d complete, %s of them may be the last", showBytes(o.Quota), o.Copies, showBytes(o.LastCopyBytes))
	row("free", knownBytes(o.Free), "")
	row("open", humanize.Comma(int64(o.Handles)), "shards; %d queued, %d being read or opened", o.Queued, o.Working)
	row("read", humanize.Comma(o.Reads), "blocks since the store was opened; %s hits, %s misses, %s", humanize.Comma(o.Hits), humanize.Comma(o.Misses), plural(o.Faults, "fault"))
	f := o.Forecast
	text := fmt.Sprintf("%s more blocks would take %s, at %.1f B each", humanize.Comma(f.Blocks), showBytes(f.Bytes), f.PerBlock)
	if !f.Measured {
		text += " as is usual (this store has too few to tell)"
	}
	if f.Room >= 0 {
		text += fmt.Sprintf("; there is room for about %s", strings.TrimSpace(humanize.SIWithDigits(float64(f.Room), 1, "")))
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", out.String(), text)
	return err
}

// byStatus is "ready 12, lazy 3", without what there is none of.
func (o *statsObject) byStatus() string {
	var parts []string
	for _, name := range []string{"ready", "lazy", "indexing", "failed", "removing"} {
		if n := o.Status[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", name, humanize.Comma(n)))
		}
	}
	return strings.Join(parts, ", ")
}

// per is "14.0 B a block".
func per(what, n int64, noun, unit string) string {
	if n <= 0 || what < 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %sa %s", float64(what)/float64(n), unit, noun)
}

func knownBytes(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return showBytes(n)
}
