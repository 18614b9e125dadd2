package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	steps := flag.Int("steps", 0, "how many steps of the whole run have failed")
	flag.Parse()
	if !report(os.Stdout, os.Stderr, *steps, flag.Args()) {
		os.Exit(1)
	}
}

// report prints the totals of the files, whatever has become of those, and
// whether all is well. A file that cannot be read is a step that failed.
func report(stdout, stderr io.Writer, steps int, files []string) bool {
	sum := make(totals)
	for _, name := range files {
		if err := sum.readFile(name); err != nil {
			fmt.Fprintln(stderr, "testtotals:", err)
			steps++
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
}

func (t totals) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.read(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (t totals) read(r io.Reader) error {
	decoder := json.NewDecoder(r)
	for {
		var e event
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
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
