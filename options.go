package dagstore

import (
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/shard"
)

// The options of a call may be nil, which is the zero value. They are read
// before the call returns and not kept.

// RegisterOptions is how a shard is registered. All of it survives restarts, but
// for Background.
type RegisterOptions struct {
	Lazy    bool        // index on first use
	Verify  bool        // hash every block while indexing
	Discard bool        // if the CAR proves bad, destroy the shard instead of keeping it Errored
	Pin     bool        // keep a local copy, once there is one, from eviction
	Serve   shard.Mode  // how its bytes are brought to this machine; default Auto. See [Config.Copies]
	Copy    string      // path of a copy on this machine that exists: read in place of the source while it is there and has its size; never changed, never deleted
	Index   IndexPolicy // how the CAR is indexed, and what becomes of an index that came with it; default AutoIndex
	Indexer string      // a name in Config.Indexers; default the CAR's own sections. Not together with Verify, Index or IndexURL

	// IndexURL is where an index of the CAR lies, for the policies that use
	// one: a URL that Config.Mounts opens. Default: inside of the CAR, as a
	// CARv2 may have it, else beside it, under its name with ".idx" behind it.
	IndexURL string

	Piece  cid.Cid           // piece CID, as the caller claims it; undefined if none
	Labels map[string]string // shown by Info; the store gives them no meaning. At most 64 KiB, with key and URL

	Background bool // as in [AcquireOptions], until the next start: what was begun before one is in the background anyway
}

// An IndexPolicy is how a CAR is read to be indexed, and what becomes of an
// index that came with it: go-car's MultihashIndexSorted, bare or as this store
// writes it. (Its older IndexSorted can only be checked: it does not say of
// which hash functions its entries are.) Such an index is a claim of whoever
// made it. It can cost a block that is not found, never a wrong one: every
// block is still held against its CID when it is read.
//
// An index that proves wrong is reported as a [FaultEvent] of kind
// shard.BadEntry and never used again for this revision of the CAR, which is
// read instead; so is a CAR that has none. [RegisterOptions.Verify] has every
// body read and takes no index.
type IndexPolicy uint8

const (
	// AutoIndex does what costs least. A CAR on this machine is read, jumping
	// over long bodies; one that lies elsewhere is read as one stream, unless
	// an index came with it, which is then used as by Sample. An index that
	// IndexURL names for a CAR on this machine is compared with it, as by Check.
	AutoIndex IndexPolicy = iota

	// Scan reads the CAR from end to end, as one stream.
	Scan

	// Hop reads the heads of the sections only, a few KiB at a time; elsewhere
	// by ranges, which the source must offer. With Verify every body is read,
	// as by AutoIndex.
	Hop

	// Check reads the heads of the sections, elsewhere by ranges if the source
	// offers them, and holds every entry of the index against them. What is
	// stored is what the heads say; that the index said something else is reported.
	Check

	// Sample uses the index without reading the CAR, once its bounds and its
	// count have proved possible and 16 entries right that nobody could
	// foresee: their blocks are hashed, and what follows each of them must be
	// listed, too. [shard.Info] says that it is Claimed. It is read anew when
	// a read meets an entry that is wrong; a block that it does not list, and
	// that was not met by the sample, is not found.
	Sample

	// Adopt uses the index at once. The CAR is read later, in the background,
	// after all other work, and the index that is made so takes the place of
	// the claim; at once if a read meets an entry that is wrong.
	Adopt
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

// EvictOptions is how a copy is given back.
type EvictOptions struct {
	LastCopy bool // also if its source did not show within a day, and does not now, that it still has the same bytes
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
