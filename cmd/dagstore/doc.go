// Command dagstore keeps a store of DAGs that lie in many CAR files, and
// serves them.
//
// It is package [github.com/dagstore/dagstore] with a command line around it:
// there is one file for each command, the exit codes stand in exit.go, and
// which store is meant is decided in repo.go. Data goes to standard output,
// everything else to standard error. docs/cli.md describes all of it.
package main
