package index

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of an index; match them with [errors.Is].
var (
	// Opening and reading.
	ErrDamaged = errors.New("index: damaged")                    // a [*DamageError]
	ErrVersion = errors.New("index: written by another version") // and not readable by this one

	// Building.
	ErrRecord = errors.New("index: record cannot be stored")
	ErrSpent  = errors.New("index: builder was used already")
)

// A DamageError says where an index cannot be believed or read. It unwraps to
// [ErrDamaged], and to what reading failed with, if that was the damage: the
// page fault of a mapping, or the error of ReadAt.
type DamageError struct {
	Offset int64 // in the file; of the page's first byte, if a page is damaged
	Detail string
	Err    error // may be nil
}

// Error names the offset, the detail and the cause.
func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v at offset %d: %s", ErrDamaged, e.Offset, e.Detail)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns [ErrDamaged] and the cause.
func (e *DamageError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrDamaged}
	}
	return []error{ErrDamaged, e.Err}
}

func damaged(offset int64, format string, args ...any) error {
	return &DamageError{Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
