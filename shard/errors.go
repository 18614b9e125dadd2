package shard

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
)

// The errors of a shard, by the phase in which they arise. They arrive
// wrapped in an [Error]; match them with [errors.Is].
var (
	// Asking.
	ErrKey        = errors.New("invalid shard key")
	ErrUnknown    = errors.New("no such shard")
	ErrExists     = errors.New("shard is registered with this source already")
	ErrKeyUsed    = errors.New("shard key is used for another source")
	ErrHeld       = errors.New("shard is held")
	ErrBusy       = errors.New("shard has work under way")
	ErrDestroying = errors.New("shard is being destroyed")
	ErrFailed     = errors.New("shard has failed and was not recovered") // comes with the failure
	ErrRemote     = errors.New("shard is not on this machine")

	// Reaching the source.
	ErrSource  = errors.New("source cannot be read")
	ErrStalled = errors.New("source made no progress")
	ErrChanged = errors.New("source has changed")
	ErrDenied  = errors.New("source is not allowed")
	ErrQuota   = errors.New("no room for a local copy")

	// Giving up what is here.
	ErrLastCopy = errors.New("the local copy may be the last")

	// Reading its bytes.
	ErrCAR   = errors.New("bad CAR")
	ErrBlock = errors.New("bad block")
	ErrIndex = errors.New("bad index")

	// Losing it.
	ErrDestroyed = errors.New("shard was destroyed") // a forced Destroy ended this hold
)

// An Op is what was being done.
type Op string

const (
	OpRegister Op = "register"
	OpFetch    Op = "fetch"
	OpIndex    Op = "index"
	OpAcquire  Op = "acquire"
	OpRead     Op = "read"
	OpRecover  Op = "recover"
	OpDestroy  Op = "destroy"
	OpInfo     Op = "info"
	OpPin      Op = "pin"
	OpUnpin    Op = "unpin"
	OpPiece    Op = "check piece"
	OpEvict    Op = "evict"
	OpRemount  Op = "remount"
	OpReplace  Op = "replace"
	OpManifest Op = "manifest"
)

// An Error is a failure of one shard. Its text never holds a credential.
type Error struct {
	Key Key
	Op  Op
	Err error // wraps one of the sentinels above, or a context's error
}

// Error names the shard, what was being done and what went wrong.
func (e *Error) Error() string {
	return fmt.Sprintf("%s shard %q: %v", e.Op, string(e.Key), e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Fault says what is wrong with the bytes of a CAR, and where. It unwraps
// to [ErrCAR] when the framing is at fault and nothing of the CAR can be
// trusted, to [ErrBlock] when one block is, and to [ErrIndex] when an index is.
type Fault struct {
	Kind   FaultKind
	Offset int64   // in the file
	CID    cid.Cid // undefined unless a block is at fault
	Detail string
}

// Error names the sentinel, the class, the offset, the block if there is one,
// and the detail.
func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %v at offset %d", f.Unwrap(), f.Kind, f.Offset)
	if f.CID.Defined() {
		fmt.Fprintf(&b, ", block %v", f.CID)
	}
	if f.Detail != "" {
		b.WriteString(": ")
		b.WriteString(f.Detail)
	}
	return b.String()
}

// Unwrap returns [ErrCAR], [ErrBlock] or [ErrIndex].
func (f *Fault) Unwrap() error {
	switch f.Kind {
	case BadHash, BadCID:
		return ErrBlock
	case BadEntry:
		return ErrIndex
	default:
		return ErrCAR
	}
}

// A FaultKind is a class of damage. The numbers are part of the catalogue's format.
type FaultKind uint8

const (
	BadHeader    FaultKind = iota + 1 // cut, too long, not CBOR, wrong version, bad root
	BadSection                        // length over the cap or the file, impossible CID
	BadEnd                            // garbage or, where forbidden, null padding
	BadContainer                      // CARv2 offsets that are out of range or overlap
	NotCAR                            // something else under the name of a CAR
	BadHash                           // bytes that do not match the CID
	BadCID                            // unknown or weak hash function, wrong digest length, oversized identity
	BadEntry                          // an index entry that leads to something else
)

var faultNames = [...]string{
	"", "bad header", "bad section", "bad end", "bad container", "not a CAR",
	"wrong hash", "bad CID", "bad index entry",
}

// String returns what the report calls it.
func (k FaultKind) String() string {
	if k < BadHeader || k > BadEntry {
		return fmt.Sprintf("fault(%d)", uint8(k))
	}
	return faultNames[k]
}
