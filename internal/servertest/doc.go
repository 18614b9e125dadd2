// Package servertest starts the real servers that mounts are tested against:
// each as a process of its own, on loopback, ended with the test.
//
// It runs programs that scripts/servers.sh installs. Where one is missing the
// test is skipped, which the totals of "make test" count.
package servertest
