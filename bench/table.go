package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
)

// columns are those of the table for programs.
var columns = [...]string{"id", "figure", "unit", "limit", "ratio", "goal", "held"}

func (r *result) cells() [len(columns)]string {
	held := "no"
	if r.held {
		held = "yes"
	}
	return [...]string{r.id, number(r.figure), r.unit, number(r.limit), number(r.ratio), r.goal, held}
}

// number writes v with three digits that mean something; 0 is a dash.
func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// writeTable writes the table for programs, whole or not at all.
func writeTable(name string, results []result) error {
	var b bytes.Buffer
	b.WriteString(strings.Join(columns[:], "\t") + "\n")
	for i := range results {
		cells := results[i].cells()
		b.WriteString(strings.Join(cells[:], "\t") + "\n")
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	aside := name + ".new"
	if err := os.WriteFile(aside, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(aside, name)
}

// printTable prints the table for people, which has the notes, too.
func printTable(w io.Writer, results []result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(columns[:], "\t")+"\tnote")
	for i := range results {
		cells := results[i].cells()
		fmt.Fprintln(tw, strings.Join(cells[:], "\t")+"\t"+strings.ReplaceAll(results[i].note, "\n", "; "))
	}
	return tw.Flush()
}
