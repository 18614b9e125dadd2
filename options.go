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
	Piece   cid.Cid           // piece CID, as the caller claims it; undefined if none
	Labels  map[string]string // shown by Info; the store gives them no meaning. At most 64 KiB, with key and URL
}

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
