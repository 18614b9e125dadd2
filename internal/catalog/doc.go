// Package catalog is what survives a restart: a record for every shard, what
// was begun and must be finished, which index files are owed to the inverted
// index and which are dead, and the list of its layers.
//
// [Catalog] is the contract; package catalogtest checks an implementation.
// [Embedded] keeps the catalogue in a folder, in Pebble. There is one commit
// point in the store, and it is [Catalog.Apply]: a file is complete before the
// batch that names it and is removed only after the batch that forgets it.
//
// docs/format/catalog.md draws keys and values.
package catalog
