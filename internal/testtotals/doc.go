// Command testtotals adds up what several runs of "go test -json" wrote and
// prints one line: passed, failed, skipped. A test that was in more than one
// run counts once, as failed if any run of it failed. If a run tried a test again
// and it passed then, it counts as passed and is named, unless there was a data
// race in its package. It exits with 1 if
// anything failed, and if there was no test at all. With -figures it prints
// before that what tests have logged by longtest.Figure.
package main
