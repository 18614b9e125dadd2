// Package segment is where immutable index files lie: the indices of shards
// and the layers of the inverted index.
//
// A [Place] is told a number and keeps bytes under it, once: a segment is whole
// and durable before it can be seen, never changes, and no name is used twice.
// [Folder] is a place on this machine's disk; docs/format/store.md draws it.
package segment
