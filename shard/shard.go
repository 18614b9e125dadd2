package shard

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// MaxKey is the length in bytes of the longest key.
const MaxKey = 1024

// A Key names a shard. It is opaque: "/" and ".." mean nothing in it, and no
// file is ever named after it. Two keys are the same when their bytes are.
// A key is valid UTF-8, so that it survives JSON, and 1 to [MaxKey] bytes.
type Key string

// Validate returns an error that wraps [ErrKey] unless k is a valid key.
func (k Key) Validate() error {
	switch {
	case k == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(k) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, the most is %d", ErrKey, len(k), MaxKey)
	case !utf8.ValidString(string(k)):
		return fmt.Errorf("%w: it is not valid UTF-8: %q", ErrKey, string(k))
	}
	return nil
}

// A State is where a shard stands in its life; docs/lifecycle.md draws it.
// The zero State is invalid. The numbers are part of the catalogue's format.
type State uint8

const (
	Registered   State = iota + 1 // known, not indexed; the first use indexes it
	Initializing                  // being read and indexed for the first time
	Available                     // indexed, nobody holds it
	Serving                       // indexed, somebody holds it
	Recovering                    // being read and indexed again after a failure
	Draining                      // failed while held: holders may finish, nobody new comes in
	Destroying                    // to be gone when work has stopped and the last holder lets go
	Errored                       // failed, nobody holds it; waits for Recover or Destroy
	Gone                          // destroyed, or never registered; only ever seen in an event
)

var stateNames = [...]string{
	"", "registered", "initializing", "available", "serving", "recovering",
	"draining", "destroying", "errored", "gone",
}

// String returns the name in lower case, as the command line and the admin
// API print it.
func (s State) String() string {
	if s < Registered || s > Gone {
		return fmt.Sprintf("state(%d)", uint8(s))
	}
	return stateNames[s]
}

// ParseState is the inverse of [State.String].
func ParseState(name string) (State, error) {
	if i := slices.Index(stateNames[1:], name); i >= 0 {
		return State(i + 1), nil
	}
	return 0, fmt.Errorf("shard: no state is called %q", name)
}

// A Mode is how the bytes of a shard are brought to this machine. The numbers are
// part of the catalogue's format.
type Mode uint8

const (
	Auto    Mode = iota // the store chooses: InPlace, but what is read again is kept as Sparse has it, as far as there is room; Copy where a source offers no ranges
	InPlace             // read where they lie; nothing is kept here
	Sparse              // what is read is kept here, in pieces of 64 KiB, and read here the next time; for sources elsewhere that offer ranges and have versions
	Copy                // the whole CAR is kept here
)

// Info is what the store knows of one shard at one moment. It is a copy:
// changing it changes nothing, and it does not change by itself.
type Info struct {
	Key    Key
	State  State
	URL    string            // where the CAR lies; never holds a credential
	Labels map[string]string // as given at registration

	// What indexing found. Zero until the shard has been indexed once.
	Version     int       // of the CAR: 1 or 2
	Roots       []cid.Cid // from the header; at most the first 256
	RootCount   int       // how many the header has
	Bytes       int64     // size of the source
	Source      string    // version of the source, as its mount called it when it was last read or confirmed; "" where it has none
	Payload     Extent    // the CARv1 in the source, to which offsets of blocks refer
	Sections    int64     // blocks in the CAR, repeated ones counted each time
	Multihashes int64     // different ones, identity included; without the blocks that are not served
	Trailing    bool      // bytes other than zero follow the null padding that ends the CAR
	Verified    Verified  // how much of it has been held against its CIDs
	VerifiedAt  time.Time
	Claimed     bool    // the index came with the CAR, and not every entry of it has been held against that
	Piece       cid.Cid // piece CID as claimed at registration or by a key that is one; undefined if none

	PieceChecked time.Time // when all its bytes were last found to be that piece; zero: it is a claim

	// What is true of this process only.
	Holders int
	Waiting int // callers parked until the work under way ends

	Local    Local
	Progress *Progress // nil while no work is under way
	Failure  *Failure  // nil unless the last piece of work failed
	Faults   int64     // blocks that are not served, see [Fault]
	Faulty   []Fault   // the first 16 of these

	Registered, Changed time.Time
}

// An Extent is a run of bytes in a source.
type Extent struct{ Offset, Size int64 }

// Verified says how much of a CAR has been checked.
type Verified uint8

const (
	Unverified Verified = iota // framing and section heads only
	Sampled                    // and some blocks hashed
	Full                       // and every block hashed
)

// Known reports whether m is one of the modes.
func (m Mode) Known() bool { return m <= Copy }

// String returns the name in lower case.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case InPlace:
		return "in place"
	case Sparse:
		return "sparse"
	case Copy:
		return "copy"
	default:
		return fmt.Sprintf("mode(%d)", uint8(m))
	}
}

// Local says how much of a shard lies on this machine. It is no part of the
// state: evicting a copy makes a shard slower, never less available.
type Local struct {
	Chosen   Mode  // as it was said when the shard was registered or replaced
	Mode     Mode  // as it comes out: Auto is resolved here as far as that is known: Sparse once something is kept, Copy if the source has proved to offer no ranges
	Bytes    int64 // of the copy that the store keeps; each file counts against the quota in whole blocks of 4 KiB
	Complete bool  // the copy is all of the CAR
	LastCopy bool  // when it was last asked, the source did not answer or had something else: this copy makes no room for others
	Pinned   bool  // nor does this one
}

// Progress is how far a piece of work has come.
type Progress struct {
	Op          Op
	Done, Total int64 // bytes; Total is -1 while unknown
	Started     time.Time
	Rate        float64 // bytes a second since it started
}

// Failure is the last failure, as it survives a restart: Err keeps its
// sentinel and its text, but not the errors that it once wrapped.
type Failure struct {
	Err      *Error
	At       time.Time
	Attempts int // that failed in a row
}

// A Location is one place where a block lies.
type Location struct {
	Shard  Key
	Offset int64 // of the section in the CARv1 payload, as go-car counts it
	Size   int64 // of the block's data, without varint and CID; -1: not known without reading
	Head   int   // bytes of varint and CID before the data; 0: not known without reading
}
