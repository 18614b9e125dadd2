// Package vfs is the seam between the store and its disk: everything that
// dagstore must not lose is written through an [FS].
//
// The interface is Pebble's, so that one image of a disk holds the catalogue
// and the segments, and one cut of the power in a test hits both. Package
// vfstest has such disks: one in memory that can crash, and one that fails.
//
// Two rules hold everywhere: a file is complete and synced before it gets the
// name by which it is looked for ([Create], [WriteFile]), and a name is durable
// only when its folder was synced ([SyncDir]).
package vfs
