package catalog

import (
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

const (
	// MaxRecord is the size in bytes of the largest record, encoded.
	MaxRecord = 1 << 20

	// MaxGiven is how many of these bytes may be known before the shard is
	// indexed: its key, its URL and its labels. Thousands of such records wait
	// in memory at a time.
	MaxGiven = 64 << 10

	maxRoots  = 256
	maxFaulty = 16
	maxText   = 4 << 10 // of an error that is kept
)

// An Intent is what a restart must finish for a shard. The numbers are part of
// the format.
type Intent uint8

const (
	NoIntent   Intent = iota
	Initialize        // index it for the first time
	Recover           // index it again
	Destroy           // let go of all it has, then of the record
)

// String returns the name of the intent.
func (i Intent) String() string {
	switch i {
	case NoIntent:
		return "none"
	case Initialize:
		return "initialize"
	case Recover:
		return "recover"
	case Destroy:
		return "destroy"
	default:
		return fmt.Sprintf("intent(%d)", uint8(i))
	}
}

// A Policy is how a CAR is read to be indexed. The numbers are part of the
// format.
type Policy uint8

const (
	PolicyAuto   Policy = iota // as is cheapest
	PolicyScan                 // from end to end
	PolicyHop                  // the heads of sections only
	PolicyCheck                // and an index that came with the CAR is held against them
	PolicySample               // not at all, if a sample of such an index proves right
	PolicyAdopt                // not at all, if there is such an index
)

// A Claim is how far an index is one that came with its CAR. The numbers are
// part of the format.
type Claim uint8

const (
	NoClaim      Claim = iota // it was made from the CAR
	ClaimAdopted              // nothing of it was held against the CAR; to be confirmed
	ClaimSampled              // some entries were
	ClaimRefuted              // made from the CAR, since the one that came with it is wrong
)

// Open reports whether the index is one that came with the CAR, and not every
// entry of it has been held against that.
func (c Claim) Open() bool { return c == ClaimAdopted || c == ClaimSampled }

// A Record is what is remembered of one shard. Once it was handed to a
// catalogue or came from one it is shared and never changed: copy it, change
// the copy, raise its revision, and put that.
type Record struct {
	Key      shard.Key
	Revision uint64      // rises by one with each change; the first is 1
	State    shard.State // Registered, Available or Errored: facts, never what goes on
	Intent   Intent

	URL    string
	Verify bool // hash every block while indexing
	Pin    bool // keep the local copy
	// Discard says that a shard whose CAR proves bad is destroyed, not kept.
	Discard bool
	Copy    string // path of a local copy that is not ours: read in place of the source while it is there
	Policy  Policy
	Indexer string // the name of what makes the index; "": the CAR's own sections do

	Serve shard.Mode // how its bytes are brought to this machine

	IndexURL string    // where an index that came with the CAR lies; "": inside or beside of it, if anywhere
	Piece    cid.Cid   // as claimed at registration; undefined if none
	PieceAt  time.Time // when the bytes were last found to be that piece; zero: never
	Labels   map[string]string

	Index IndexRef
	Kept  Kept
	Facts

	Failure *shard.Failure // of the last piece of work; nil if it went well

	Registered, Changed time.Time

	// unknown are fields of a later version, as they were read: whoever
	// copies a record to change it keeps them without knowing.
	unknown []byte
}

// An IndexRef names the index of a shard and says what it must look like. One
// that is small lies in the record itself, and there is no file of it.
type IndexRef struct {
	ID     index.ID // 0: the shard has no index
	Length int64
	CRC    uint32 // of its footer

	// Data is the whole index, which must not be changed; nil if it is a file.
	Data []byte
}

// Kept is the copy that the store keeps of the CAR of a shard, of the bytes that
// were indexed.
type Kept struct {
	ID   uint32    // names its folder; given out as those of indices are. 0: there is none
	Size int64     // -1: it is sparse, only what was read of the CAR
	At   time.Time // when the source was last known to have these bytes
}

// Complete reports whether there is a copy of all of the CAR.
func (k Kept) Complete() bool { return k.ID != 0 && k.Size >= 0 }

// InFile reports whether the index of the shard is a file.
func (r IndexRef) InFile() bool { return r.ID != 0 && r.Data == nil }

// Facts are what indexing found; see [shard.Info].
type Facts struct {
	Version       int
	Roots         []cid.Cid // at most 256
	RootCount     int
	Bytes         int64
	Payload       shard.Extent
	Sections      int64
	Multihashes   int64
	SourceVersion string    // what the mount called the bytes that were read
	SourceTime    time.Time // when they were last changed, as the mount says
	Verified      shard.Verified
	VerifiedAt    time.Time
	Faults        int64
	Faulty        []shard.Fault // at most 16
	Trailing      bool          // bytes other than zero follow the null padding
	Claim         Claim         // the index is one that came with the CAR
}

// CheckGiven returns an error that wraps [ErrInvalid] unless r, of which nothing
// is known but what its maker has given, may be stored, with room left for what
// will be found.
func (r *Record) CheckGiven() error {
	first := *r
	first.Revision, first.State = 1, shard.Registered
	data, err := appendRecord(nil, &first, 0)
	if err != nil {
		return err
	}
	if len(data) > MaxGiven {
		return fmt.Errorf("%w: shard %q: %d bytes are given, the most is %d", ErrInvalid, string(r.Key), len(data), MaxGiven)
	}
	return nil
}

// stored tells the states that are facts about a shard.
func stored(s shard.State) bool {
	return s == shard.Registered || s == shard.Available || s == shard.Errored
}

// validate returns an error that wraps ErrInvalid unless r may be stored.
func (r *Record) validate() error {
	if err := r.Key.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !stored(r.State) {
		return fmt.Errorf("%w: shard %q: state %v is not stored", ErrInvalid, string(r.Key), r.State)
	}
	switch {
	case r.Revision == 0 || r.Revision == AnyRevision:
		return fmt.Errorf("%w: shard %q: revision %d", ErrInvalid, string(r.Key), r.Revision)
	case r.Policy > PolicyAdopt:
		return fmt.Errorf("%w: shard %q: policy %d", ErrInvalid, string(r.Key), r.Policy)
	case !r.Serve.Known():
		return fmt.Errorf("%w: shard %q: %v", ErrInvalid, string(r.Key), r.Serve)
	case r.Kept.Size < -1 || r.Kept.ID == 0 && r.Kept != Kept{}:
		return fmt.Errorf("%w: shard %q: copy %08x of %d bytes", ErrInvalid, string(r.Key), r.Kept.ID, r.Kept.Size)
	case r.Claim > ClaimRefuted:
		return fmt.Errorf("%w: shard %q: claim %d", ErrInvalid, string(r.Key), r.Claim)
	case r.Intent > Destroy:
		return fmt.Errorf("%w: shard %q: %v", ErrInvalid, string(r.Key), r.Intent)
	case len(r.Roots) > maxRoots:
		return fmt.Errorf("%w: shard %q: %d roots, the most is %d", ErrInvalid, string(r.Key), len(r.Roots), maxRoots)
	case r.Index.Data != nil && (r.Index.ID == 0 || int64(len(r.Index.Data)) != r.Index.Length):
		return fmt.Errorf("%w: shard %q: %d bytes for index %08x of %d bytes",
			ErrInvalid, string(r.Key), len(r.Index.Data), uint32(r.Index.ID), r.Index.Length)
	case len(r.Faulty) > maxFaulty:
		return fmt.Errorf("%w: shard %q: %d faults, the most is %d", ErrInvalid, string(r.Key), len(r.Faulty), maxFaulty)
	}
	return nil
}
