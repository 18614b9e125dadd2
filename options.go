package dagstore

import (
	"github.com/ipfs/go-cid"
)

// The options of a call may be nil, which is the zero value. They are read
// before the call returns and not kept.

// RegisterOptions is how a shard is registered. All of it survives restarts.
type RegisterOptions struct {
	Lazy    bool              // index on first use
	Verify  bool              // hash every block while indexing
	Discard bool              // if the CAR proves bad, destroy the shard instead of keeping it Errored
	Pin     bool              // keep a local copy, once there is one, from eviction
	Copy    string            // path of a copy on this machine that exists: read in place of the source while it is there and has its size; never changed, never deleted
	Index   IndexPolicy       // how the CAR is read to be indexed; default AutoIndex
	Indexer string            // a name in Config.Indexers; default the CAR's own sections. Not together with Verify or Index
	Piece   cid.Cid           // piece CID, as the caller claims it; undefined if none
	Labels  map[string]string // shown by Info; the store gives them no meaning. At most 64 KiB, with key and URL
}

// An IndexPolicy is how a CAR is read to be indexed. What is found is the same.
type IndexPolicy uint8

const (
	AutoIndex IndexPolicy = iota // on this machine jump over long bodies; elsewhere Scan
	Scan                         // read it from end to end, as one stream
	Hop                          // read the heads of the sections only, a few KiB at a time; elsewhere by ranges, which the source must offer. With Verify every body is read, as by AutoIndex
)

// AcquireOptions is how a shard is acquired.
type AcquireOptions struct {
	LocalOnly bool // shard.ErrRemote instead of reaching a source that is not on this machine

	// Background has what must be done for this call alone (opening, reading
	// and indexing the CAR) wait until nothing is left to be done for calls
	// that are not in the background. A shard that is open comes at once.
	// A call in the foreground for the same shard takes the work with it.
	Background bool
}

// RecoverOptions is how a shard is recovered.
type RecoverOptions struct {
	Background bool // as in [AcquireOptions]
}

// DestroyOptions is how a shard is destroyed.
type DestroyOptions struct {
	Held HeldPolicy // default Refuse
}

// A HeldPolicy is what Destroy does about those who hold the shard.
type HeldPolicy uint8

const (
	Refuse HeldPolicy = iota // give shard.ErrHeld and change nothing
	Wait                     // let nobody new in; go when the last lets go
	Force                    // from now on their reads give shard.ErrDestroyed
)
