package longtest

import (
	"fmt"
	"os"
	"strconv"
)

// The names in the environment.
const (
	LongName = "DAGSTORE_LONG"
	SeedName = "DAGSTORE_SEED"
)

// defaultSeed makes a run without a seed the same as the last one.
const defaultSeed = 1

// Long reports whether the long forms are wanted.
func Long() bool { return os.Getenv(LongName) == "1" }

// Runs returns the first number, or in the long form the second.
func Runs(short, long int) int {
	if Long() {
		return long
	}
	return short
}

// Seed returns the seed of this run. It panics if the environment gives one
// that is no number: a run with another seed than was asked for would prove
// nothing.
func Seed() uint64 {
	text := os.Getenv(SeedName)
	if text == "" {
		return defaultSeed
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s is no seed: %v", SeedName, err))
	}
	return n
}

// A Logger is a test, as far as it matters here.
type Logger interface {
	Helper()
	Logf(format string, args ...any)
}

// FigureMark begins a line of a test's log that "make test-long" repeats at
// its end.
const FigureMark = "figure: "

// Figure logs what a test has counted or measured.
func Figure(t Logger, format string, args ...any) {
	t.Helper()
	t.Logf("%s"+format, append([]any{FigureMark}, args...)...)
}
