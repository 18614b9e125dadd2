package index

import (
	"context"
	"io"
	"iter"

	"github.com/multiformats/go-multihash"
)

// A Record is one block of a CAR.
type Record struct {
	Multihash multihash.Multihash
	Position
}

// A Position is where a block lies in the CARv1 payload.
type Position struct {
	Offset int64 // of its section, as go-car counts it
	Size   int64 // of its data; -1 if it is not stored: read the section's head
	Head   int   // bytes of varint and CID before the data; 0 if it is not stored
}

// An Index is immutable and may be used by many goroutines at once.
// Package indextest checks an implementation.
type Index interface {
	// Find appends to dst the positions of mh, by rising offset, at most
	// limit of them (all, if limit is 0), and returns the longer slice. That
	// there are none is no error, even if mh is no multihash at all. After an
	// error it returns dst as it was. It does not keep mh.
	Find(dst []Position, mh multihash.Multihash, limit int) ([]Position, error)

	// All yields every record once, by multihash code, digest length, digest,
	// offset. After an error it yields nothing more. A record's Multihash is
	// valid until the next one, and must not be changed.
	All() iter.Seq2[Record, error]

	// Len is the number of records.
	Len() int64
}

// An Indexer reads a CAR from its first byte to its last and emits its
// records in any order. It stops soon after ctx ends. It is named in the
// store's configuration, so that a shard can be indexed again after a restart.
//
// emit is for the goroutine that called the Indexer, until that returns. What
// it refuses it may tell of with a later record, and the shard is not indexed
// then, whatever the Indexer makes of the error.
type Indexer func(ctx context.Context, car io.Reader, emit func(Record) error) error
