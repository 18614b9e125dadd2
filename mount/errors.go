package mount

import (
	"errors"
	"fmt"
	"time"
)

// The errors of mounts. They arrive wrapped, with the place and the reason.
// That a source is absent, or that it does not let us in (a local file without
// permission, a server that wants other credentials), is matched with
// [io/fs.ErrNotExist] and [io/fs.ErrPermission].
var (
	// Making a mount of a URL.
	ErrScheme = errors.New("mount: no opener for this scheme")
	ErrURL    = errors.New("mount: bad URL")
	ErrDenied = errors.New("mount: source is not allowed")

	// Reaching the source.
	ErrNoRanges    = errors.New("mount: source offers no ranges")
	ErrNotLocal    = errors.New("mount: source is not on this machine")
	ErrRange       = errors.New("mount: range is not in the source")
	ErrChanged     = errors.New("mount: source has changed")
	ErrBusy        = errors.New("mount: source has too much to do") // a [*BusyError]
	ErrStalled     = errors.New("mount: source brings nothing")
	ErrUnreachable = errors.New("mount: host cannot be reached") // an [*UnreachableError]
	ErrAnswer      = errors.New("mount: source does not answer as its protocol demands")
	ErrNotReady    = errors.New("mount: source has to be made ready first") // an archive: nobody here does that

	// Looking beside it.
	ErrNoSiblings = errors.New("mount: nothing can lie beside the source")
)

// An UnreachableError says that a host could not be reached some times in a row
// and is left alone for a while, so that this source was not asked at all. It
// unwraps to [ErrUnreachable] and to Err.
type UnreachableError struct {
	Host         string    // as [Host] has it
	Since, Until time.Time // when it was missed first, and when it is tried again
	Err          error     // what came of the last try
}

// Error says which host, since when, and what came of the last try.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%v: %s, since %s: %v", ErrUnreachable, e.Host, e.Since.UTC().Format(time.RFC3339), e.Err)
}

// Unwrap implements the errors package's convention.
func (e *UnreachableError) Unwrap() []error { return []error{ErrUnreachable, e.Err} }

// A BusyError says that a source works and wants to be asked again later: by
// status 429 or 503 of HTTP, by SlowDown of S3. It unwraps to [ErrBusy] and to
// Err.
type BusyError struct {
	After time.Duration // how long it wants us to wait; 0: it does not say
	Err   error         // what it answered
}

// Error says how long the source wants us to wait.
func (e *BusyError) Error() string {
	if e.After == 0 {
		return fmt.Sprintf("%v: %v", ErrBusy, e.Err)
	}
	return fmt.Sprintf("%v: %v: it wants us to wait for %v", ErrBusy, e.Err, e.After)
}

// Unwrap implements the errors package's convention.
func (e *BusyError) Unwrap() []error { return []error{ErrBusy, e.Err} }
