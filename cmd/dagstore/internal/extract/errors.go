package extract

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

var (
	// ErrPath is a CID or a path that cannot be read as one.
	ErrPath = errors.New("neither a CID nor a path")
	// ErrNotFound is a root that the store does not have, or a name that the
	// DAG does not have.
	ErrNotFound = errors.New("not found")
	// ErrMissing is a block of a DAG whose root the store does have.
	ErrMissing = errors.New("the DAG is not complete: no shard has block")
	// ErrKind is a block that is no file, where a file is wanted, or whose
	// links cannot be followed.
	ErrKind = errors.New("cannot be read so")
	// ErrName is an entry of a folder that no file may be called.
	ErrName = errors.New("unsafe name in a folder")
	// ErrExists is something in the place where the result was to go.
	ErrExists = errors.New("exists already")
)

// A watched blockstore remembers the first block that could not be had. The
// packages that follow links look ahead on goroutines of their own, and their
// errors often say no more than that something was not found.
type watched struct {
	blockstore.Blockstore

	mu    sync.Mutex
	first error
}

// Get returns the block of c.
func (w *watched) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	b, err := w.Blockstore.Get(ctx, c)
	// A read that was given up says nothing about the block.
	if err == nil || ctx.Err() != nil {
		return b, err
	}
	if ipld.IsNotFound(err) {
		err = fmt.Errorf("%w %s", ErrMissing, c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = err
	}
	return nil, err
}

// explain returns why the work that gave err has failed.
func (w *watched) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != nil {
		return w.first
	}
	return err
}
