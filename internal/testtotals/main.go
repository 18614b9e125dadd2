package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	steps := flag.Int("steps", 0, "how many steps of the whole run have failed")
	figures := flag.Bool("figures", false, "print the figures that tests have logged, too")
	flag.Parse()
	if !report(os.Stdout, os.Stderr, *steps, *figures, flag.Args()) {
		os.Exit(1)
	}
}

// report prints the totals of the files, whatever has become of those, and
// whether all is well. A file that cannot be read is a step that failed.
func report(stdout, stderr io.Writer, steps int, figures bool, files []string) bool {
	sum := make(totals)
	for _, name := range files {
		one := make(totals)
		noted, again, err := one.readFile(name)
		sum.add(one)
		for _, t := range again {
			fmt.Fprintf(stdout, "FAILED ONCE, and passed when it was run again: %s %s\n", t.pkg, t.name)
		}
		if err != nil {
			fmt.Fprintln(stderr, "testtotals:", err)
			steps++
		}
		for _, line := range noted {
			if figures {
				fmt.Fprintln(stdout, line)
			}
		}
	}
	passed, failed, skipped := sum.count()
	// A step that is no test, such as a build, shows as one failure.
	if failed == 0 {
		failed = steps
	}
	fmt.Fprintf(stdout, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed == 0 && passed > 0
}

// A result is how a test went; a higher one goes before a lower one.
type result uint8

const (
	skip result = iota + 1
	pass
	fail
)

var results = map[string]result{"skip": skip, "pass": pass, "fail": fail}

// A test is named by its package and its name; the name is empty for the
// package as a whole.
type test struct{ pkg, name string }

// totals holds the highest result of each test.
type totals map[test]result

// An event is what of a line of "go test -json" matters here.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// figureMark is how longtest.Figure begins a line.
const figureMark = "figure: "

// raceMark is how the detector of data races begins a report.
const raceMark = "WARNING: DATA RACE"

// add takes over the results of another run.
func (t totals) add(other totals) {
	for key, how := range other {
		t[key] = max(t[key], how)
	}
}

// readFile reads one run into empty totals. See read.
func (t totals) readFile(name string) (figures []string, again []test, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	figures, again, err = t.read(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return figures, again, nil
}

// read reads one run into empty totals, and returns the figures in it and the
// tests that failed at first and passed when the run tried them again. A data
// race is a failure however the same test went afterwards.
func (t totals) read(r io.Reader) (figures []string, again []test, err error) {
	decoder := json.NewDecoder(r)
	raced := make(map[string]bool) // packages
	for {
		var e event
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			slices.SortFunc(again, func(a, b test) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name)) })
			return figures, slices.Compact(again), nil
		case err != nil:
			return nil, nil, err
		}
		if _, figure, ok := strings.Cut(e.Output, ": "+figureMark); ok {
			figures = append(figures, e.Test+": "+strings.TrimSpace(figure))
		}
		if strings.Contains(e.Output, raceMark) {
			raced[e.Package] = true
		}
		key, how := test{e.Package, e.Test}, results[e.Action]
		switch {
		case how == 0 || t[key] == fail && raced[e.Package]:
		case t[key] == fail && how != fail:
			t[key] = how
			if key.name != "" {
				again = append(again, key)
			}
		default:
			t[key] = max(t[key], how)
		}
	}
}

// count returns the totals. A package counts only if it failed and none of
// its tests did: it did not build, or it crashed.
func (t totals) count() (passed, failed, skipped int) {
	blamed := make(map[string]bool)
	for key, how := range t {
		if key.name == "" {
			continue
		}
		switch how {
		case pass:
			passed++
		case fail:
			failed++
			blamed[key.pkg] = true
		case skip:
			skipped++
		}
	}
	for key, how := range t {
		if key.name == "" && how == fail && !blamed[key.pkg] {
			failed++
		}
	}
	return passed, failed, skipped
}
