package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// ErrClosed is what a place says after Close.
var ErrClosed = errors.New("segment: place is closed")

// A Kind is what a segment holds. The numbers are part of no format.
type Kind uint8

const (
	Index    Kind = iota + 1 // of one shard, named by its index id
	Layer                    // of the inverted index, named by its number
	Manifest                 // of one shard, named by its number
)

// String returns the name of the kind.
func (k Kind) String() string {
	switch k {
	case Index:
		return "index"
	case Layer:
		return "layer"
	case Manifest:
		return "manifest"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// A Name is the name of a segment: its kind, and a number that is never given
// to two segments of that kind.
type Name struct {
	Kind Kind
	N    uint32
}

// String returns what the log calls it.
func (n Name) String() string { return fmt.Sprintf("%v %08x", n.Kind, n.N) }

// An Entry is one segment in a listing.
type Entry struct {
	Name Name
	Size int64
}

// A Place holds segments. Its methods may be called by many goroutines at
// once; after Close they return [ErrClosed]. Package segmenttest checks an
// implementation.
type Place interface {
	// Create begins a segment. Nothing of it can be seen until it is
	// committed. The error wraps [fs.ErrExist] if the name is taken or being
	// written: no segment is ever replaced.
	Create(ctx context.Context, name Name) (Writer, error)

	// Open opens a segment for reading. The error wraps [fs.ErrNotExist] if
	// it is not there.
	Open(ctx context.Context, name Name) (Reader, error)

	// Remove removes a segment; that it is not there is no error. Readers
	// that have it open may go on. It need not be durable when Remove
	// returns: a crash may bring the segment back, whole.
	Remove(ctx context.Context, name Name) error

	// List yields the segments of a kind in any order; one that comes or
	// goes meanwhile may be missed or seen. What is not a segment is left
	// out. After an error it yields nothing more.
	List(ctx context.Context, kind Kind) iter.Seq2[Entry, error]

	// Close gives the place up. Writers that were not ended are aborted by
	// the next one to open the place; readers stay good until their own Close.
	Close(ctx context.Context) error
}

// A Writer writes one segment. Exactly one of Commit and Abort ends it; after
// that every method returns an error that wraps [fs.ErrClosed]. It is used by
// one goroutine at a time.
type Writer interface {
	io.Writer

	// Commit makes the segment durable and seen. If it fails, the segment
	// must be treated as not there, and the name as used up: a crash might
	// bring it back, whole.
	Commit(ctx context.Context) error

	// Abort gives the segment up and removes what was written.
	Abort() error
}

// A Reader reads one segment. It may be used by many goroutines at once, but
// not during or after Close. It may have a method Bytes() []byte: then it is a
// mapping, whose bytes are read under the guard of package mmap.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
