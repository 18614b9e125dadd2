// Package vfstest has disks for tests: [Disk] lies in memory and can be cut
// off at any moment, and [Faults] makes the operations of any file system fail.
// It does not import testing.
package vfstest
