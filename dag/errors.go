package dag

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// What is wrong with a DAG, as a file system. Match them with [errors.Is]; the
// methods of [FS] and [File] wrap them in an [*io/fs.PathError].
var (
	ErrUnixFS  = errors.New("dag: not UnixFS, or broken")
	ErrName    = errors.New("dag: a name that no file can have") // see [FS.ReadDir]
	ErrSymlink = errors.New("dag: a symlink that leads out of the root, or nowhere")
)

// broken says what is wrong with the block of c.
func broken(c cid.Cid, format string, args ...any) error {
	return fmt.Errorf("%w: block %v: %s", ErrUnixFS, c, fmt.Sprintf(format, args...))
}
