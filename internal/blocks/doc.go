// Package blocks reads blocks out of shards and shows nobody a wrong one.
//
// A [Reader] goes from the multihash of a CID to the shards that may have it,
// to the position in one of them, to the bytes; it hashes these and compares
// the hash with the CID. Bytes that do not match, or cannot be read, are
// reported, and the next place that has the block is tried: first in the same
// shard, if it has the block twice, then in the next shard.
//
// Every read is one pread of exactly the section, as far as the index knows
// how long it is. Of a source that is not on this machine more is read at once
// when reads go forward through it, and what was read ahead is kept, within
// bounds over all shards. Handles are pinned for as long as a read of them lasts and
// not while the caller works with what was read, so a slow caller keeps no
// file open, and may close the store. CAR bytes are never read from a mapping: a file that
// shrinks under one kills the process, a pread just comes back short.
//
// The package starts no goroutine.
package blocks
