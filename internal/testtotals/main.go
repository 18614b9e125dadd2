package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
		noted, err := sum.readFile(name)
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

// readFile adds up one file, and returns the figures in it.
func (t totals) readFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	figures, err := t.read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return figures, nil
}

func (t totals) read(r io.Reader) (figures []string, err error) {
	decoder := json.NewDecoder(r)
	for {
		var e event
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return figures, nil
		case err != nil:
			return nil, err
		}
		if _, figure, ok := strings.Cut(e.Output, ": "+figureMark); ok {
			figures = append(figures, e.Test+": "+strings.TrimSpace(figure))
		}
		key := test{e.Package, e.Test}
		t[key] = max(t[key], results[e.Action])
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
