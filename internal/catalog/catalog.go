package catalog

import (
	"context"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// A Catalog is the durable records of a store. Its methods may be called by
// many goroutines at once; after Close they return [ErrClosed].
//
// What is read was acknowledged: a reader sees a batch when Apply has returned
// nil, all of it, and never one that Apply refused. Iterators hold up nobody
// and keep no more than a page in memory; a page is of one moment, two pages
// need not be. After an error they yield nothing more, but for the errors of
// single records that [Catalog.Records] tells of. A Catalog may be changed from within
// the loop over an iterator.
type Catalog interface {
	// Get returns the record of a shard. The error wraps [ErrNotFound] if
	// there is none and is a [*DamagedError] if there is one that cannot be
	// understood. The record is shared: it must not be changed.
	Get(ctx context.Context, key shard.Key) (*Record, error)

	// Owner returns the shard whose current index has the id. The error wraps
	// [ErrNotFound] if none has.
	Owner(ctx context.Context, id index.ID) (shard.Key, error)

	// Owners yields, rising, the ids for which Owner names a shard.
	Owners(ctx context.Context) iter.Seq2[index.ID, error]

	// CopyOf returns the shard whose copy has the number. The error wraps
	// [ErrNotFound] if none has.
	CopyOf(ctx context.Context, id uint32) (shard.Key, error)

	// Copies yields, by rising number, the copies for which CopyOf names a
	// shard.
	Copies(ctx context.Context) iter.Seq2[Copied, error]

	// Apply makes all of a batch durable, or nothing. It returns a
	// [*ConflictError] or one that wraps [ErrInvalid] if the batch does not
	// fit: then nothing has changed and the catalogue goes on. If the disk
	// failed the error wraps [ErrBroken]; see there. ctx governs the waiting
	// for earlier batches; once begun, a batch is not given up. Neither the
	// batch nor what is in it may be changed until Apply returns, and the
	// records never after that.
	Apply(ctx context.Context, b *Batch) error

	// Records yields the records that f selects by rising key. One that
	// cannot be understood is yielded as a [*DamagedError], and the iteration
	// goes on; after any other error it yields nothing more.
	Records(ctx context.Context, f Filter) iter.Seq2[*Record, error]

	// Intents yields the shards whose record has an intent, in the order in
	// which the intents were accepted, after the given number (0: all).
	// Numbers are good until the catalogue is closed.
	Intents(ctx context.Context, after uint64) iter.Seq2[Queued, error]

	// Pieces yields, by rising key, the shards whose piece, as they claim it or
	// as their key is one, is that of the piece CID c: it has the same root,
	// whatever the form of either says of its length. Of any other CID it
	// yields those that claim just that multihash.
	Pieces(ctx context.Context, c cid.Cid) iter.Seq2[shard.Key, error]

	// Pending yields, rising, the ids that the inverted index does not hold
	// durably.
	Pending(ctx context.Context) iter.Seq2[index.ID, error]

	// Dead yields, rising, the ids whose shards have let them go.
	Dead(ctx context.Context) iter.Seq2[index.ID, error]

	// Layers returns the layers of the inverted index by rising number.
	Layers(ctx context.Context) ([]Layer, error)

	// Manifest returns a manifest, which is shared and must not be changed. The
	// error wraps [ErrNotFound] if there is none of that name and is a
	// [*DamagedManifestError] if there is one that cannot be understood.
	Manifest(ctx context.Context, name ManifestName) (*Manifest, error)

	// Manifests yields the manifests of a shard by rising name, or with the key
	// "" those of all shards, of each together. A damaged one is yielded as a
	// [*DamagedManifestError], and the iteration goes on.
	Manifests(ctx context.Context, key shard.Key) iter.Seq2[*Manifest, error]

	// Reserve returns the first of n numbers that are now its caller's. Index
	// ids and layers take theirs from this one counter. No number is given
	// out twice, whatever happens; the first is 1. The error wraps
	// [ErrExhausted] when there are not n left, [ErrBroken] as Apply's does.
	Reserve(ctx context.Context, n uint32) (first uint32, err error)

	// Meta tells what was decided when the catalogue was made.
	Meta() Meta

	// Close waits for what is under way, and closes. ctx bounds the waiting.
	Close(ctx context.Context) error
}

// Meta is fixed when a catalogue is made.
type Meta struct {
	StoreID [16]byte  // random; names the store wherever it lies
	HashKey [16]byte  // random and secret: the key of the inverted index's hash
	Created time.Time // UTC
}

// A Filter selects records. What is set must all hold.
type Filter struct {
	Prefix string
	After  shard.Key // only keys greater than this one
}

// Queued is a shard that waits to have something finished.
type Queued struct {
	Seq uint64
	Key shard.Key
}

// Copied is a shard of which there is a copy.
type Copied struct {
	ID  uint32
	Key shard.Key
}

// A Layer is what is remembered of one layer of the inverted index. It has the
// fields of the layer in package layers, so that one converts to the other.
type Layer struct {
	N           uint32   // its number, given out once
	Length      int64    // of the file, in bytes
	CRC         uint32   // of its footer
	Entries     int64    // pairs of key and id
	Keys        int64    // different keys
	First, Last index.ID // the lowest and the highest id
}

// A Batch is a change that is made whole or not at all. No key may be in it
// twice. Adding what is there and deleting what is not are no errors.
type Batch struct {
	Puts    []Put
	Deletes []Delete

	AddPending, DelPending []index.ID
	AddDead, DelDead       []index.ID
	AddLayers              []Layer
	DelLayers              []uint32

	// PutManifests store manifests in place of those of the same name. The
	// record of the shard must have the index that the manifest was made for,
	// else there is a [*ConflictError]; it may not be in this batch, too.
	PutManifests []*Manifest
	DelManifests []ManifestName

	// DropManifests are shards that lose all their manifests; those whose
	// records are deleted do so anyway.
	DropManifests []shard.Key

	// Freed is set by Apply: the files of manifests that this batch has removed.
	Freed []uint32
}

// AnyRevision as the expected revision means that whatever is there goes, be
// it damaged. It is how a damaged record is replaced or got rid of.
const AnyRevision = ^uint64(0)

// A Put stores a record in place of the one of revision Expect, or of none if
// Expect is 0. The record's own revision must be Expect+1.
type Put struct {
	Record *Record
	Expect uint64
}

// A Delete forgets the record of Key, which must have the revision Expect.
type Delete struct {
	Key    shard.Key
	Expect uint64
}

func (b *Batch) empty() bool {
	return len(b.Puts) == 0 && len(b.Deletes) == 0 &&
		len(b.AddPending) == 0 && len(b.DelPending) == 0 &&
		len(b.AddDead) == 0 && len(b.DelDead) == 0 &&
		len(b.AddLayers) == 0 && len(b.DelLayers) == 0 &&
		len(b.PutManifests) == 0 && len(b.DelManifests) == 0 && len(b.DropManifests) == 0
}
