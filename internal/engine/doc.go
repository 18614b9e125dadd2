// Package engine is the loop that moves shards through their life.
//
// One goroutine, the loop, owns all that is known of shards in memory. It
// drains what waits, asks package lifecycle what each event means, and performs
// the effects. It never does I/O: what takes time (reading a record, fetching
// and indexing a CAR, opening a shard, committing a batch) runs in bounded
// pools and comes back as a message. So no caller is ever held up by another
// one's source or disk.
//
// # Messages
//
// Everything that reaches the loop is a node in one of two intrusive lists
// that are pushed to without a lock: completions, and calls with releases and
// cancellations. A hold and a call carry their nodes with them, so letting go
// neither blocks nor allocates. Completions are looked at first.
//
// # Loading
//
// The lifecycle never sees a shard whose record is unknown. A key that is not
// in memory is looked up in an existence filter; if it may exist, its record
// is read by a worker, and what is asked of this key meanwhile waits behind it
// in order, while other keys pass.
//
// # Commit
//
// What changed is gathered into a batch. One batch is in flight at a time, and
// the next one gathers. The loop runs ahead of the disk: each entry remembers
// the batch of its last change, and its answers, openings and removals wait
// for that batch. If a batch fails, everybody who waits gets the error,
// what memory believed is forgotten, and from then on the engine changes
// nothing; reads of indexed shards go on.
//
// # Results
//
// A call that was accepted is answered exactly once or, when its context ends
// first, not at all; then what it was given is taken back. Results for a full
// channel wait in a queue of their own that one goroutine serves.
package engine
