package catalog

import (
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/shard"
)

var (
	// Asking.
	ErrNotFound  = errors.New("catalog: not found")
	ErrConflict  = errors.New("catalog: record has another revision") // comes as a [*ConflictError]
	ErrInvalid   = errors.New("catalog: invalid batch or record")     // a mistake of the caller's
	ErrExhausted = errors.New("catalog: no numbers left")
	ErrClosed    = errors.New("catalog: closed")

	// Opening and reading.
	ErrVersion = errors.New("catalog: written by another version")
	ErrDamaged = errors.New("catalog: damaged") // of a record, comes as a [*DamagedError]

	// ErrBroken says that the disk refused a write, or has refused to give back
	// what is on it until there was no room left for more. From then on the folder
	// is as if the machine had stopped at that moment: every later Apply and
	// Reserve gives this error, and nothing is written until the catalogue is
	// opened again. Reads go on and do not see the batch that was refused. It may
	// or may not be there when the catalogue is opened again, but whole.
	ErrBroken = errors.New("catalog: broken until it is opened again")
)

// A ConflictError says that a record was not what a batch was made for. It
// matches [ErrConflict].
type ConflictError struct {
	Key        shard.Key
	Want, Have uint64 // revisions; 0: no record
}

// Error names the shard and both revisions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: shard %q: want %d, have %d", ErrConflict, string(e.Key), e.Want, e.Have)
}

// Unwrap returns [ErrConflict].
func (e *ConflictError) Unwrap() error { return ErrConflict }

// A DamagedError is a record that is there and cannot be understood. It is
// kept as it is. It matches [ErrDamaged] and what it wraps, which is
// [ErrVersion] if the record may be good but is of a later version.
type DamagedError struct {
	Key shard.Key
	Err error
}

// Error names the shard and what is wrong with its record.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%v: record of shard %q: %v", ErrDamaged, string(e.Key), e.Err)
}

// Unwrap returns [ErrDamaged] and the cause.
func (e *DamagedError) Unwrap() []error { return []error{ErrDamaged, e.Err} }
