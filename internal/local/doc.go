// Package local holds what this process has open of a shard: a [Handle] is
// its source and its index file, and a [Cache] keeps handles, one per shard
// however many hold it.
//
// Three things keep a handle's files open, and nothing else does:
//
//   - its owner, which is whoever opened it and later the cache;
//   - holds, one per accessor, which also keep it from being evicted;
//   - pins, one per read in progress.
//
// The files are closed when the last of these ends, by whoever ends it. So a
// file is never closed or unmapped under a reader, and nobody ever waits for
// one: to evict, to remove and to close the store is to let go. [Handle.Sever]
// is for a forced Destroy: it leaves the files alone and makes every read that
// begins afterwards fail.
//
// A lookup in the cache takes no lock; all else takes one short one. The
// package starts no goroutine, except what a mount starts of its own.
package local
