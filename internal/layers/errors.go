package layers

import (
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/index"
)

// ErrClosed is returned by every method after [Inverted.Close].
var ErrClosed = errors.New("layers: inverted index is closed")

// An Op is what was being done to a layer.
type Op string

const (
	OpOpen   Op = "open"
	OpRead   Op = "read"
	OpWrite  Op = "write"
	OpCommit Op = "commit"
	OpRemove Op = "remove"
)

// An Error is a failure of one layer: if a merge could not read a layer, of that
// one and not of the one that it was writing. It wraps [index.ErrDamaged] when the
// layer's bytes are not what was written, [index.ErrVersion] when another
// version wrote them, and otherwise what the file system or the catalogue said.
type Error struct {
	Op    Op
	Layer uint32
	Err   error
}

// Error names the layer, what was being done and what went wrong.
func (e *Error) Error() string {
	return fmt.Sprintf("%s layer %08x: %v", e.Op, e.Layer, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// damaged returns an error that wraps [index.ErrDamaged].
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", index.ErrDamaged, fmt.Sprintf(format, args...))
}

// otherVersion returns an error that wraps [index.ErrVersion].
func otherVersion(v uint32) error {
	return fmt.Errorf("%w: layer format %d, this program reads %d", index.ErrVersion, v, version)
}
