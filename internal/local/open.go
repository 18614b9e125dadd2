package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An IndexFile is an index that is closed when nobody needs it any more.
type IndexFile interface {
	index.Index
	// Sample is [index.File.Sample].
	Sample(n int) ([]index.Record, error)
	io.Closer
}

// A firstIndex is an index with a method of its own for what every read asks,
// as [index.File] has.
type firstIndex interface {
	First(mh multihash.Multihash) (p index.Position, ok bool, err error)
}

// firstOf returns idx, or what is in it, as a firstIndex if it is one. A step
// less on the way is a line of the cache less.
func firstOf(idx IndexFile) firstIndex {
	if in, ok := idx.(interface{ Inner() *index.File }); ok {
		return in.Inner()
	}
	f, _ := idx.(firstIndex)
	return f
}

// A Spec is what [Open] needs to know of a shard: what its record says.
type Spec struct {
	Key   shard.Key
	ID    index.ID
	URL   string // of the shard, as its record has it; see [Handle.URL]
	Mount mount.Mount

	// Source is how the source was when it was indexed. What is zero in it
	// (Size: -1) is not compared with how the source is now.
	Source mount.Stat

	// Moved says that the CAR is looked for at a place where it was not
	// indexed: it is held against its index whatever its mount says of it.
	Moved bool

	Payload   shard.Extent
	Roots     []cid.Cid // as many as the record keeps; not copied
	RootCount int       // if there are more, all are read from the CAR
	Limits    car.Limits

	// OpenIndex opens the index file. An error that wraps [io/fs.ErrNotExist],
	// [index.ErrDamaged] or [index.ErrVersion] means that it is lost; any
	// other that it may be had another time.
	OpenIndex func(ctx context.Context) (IndexFile, error)

	// Through keeps what is read of a source that lies elsewhere and is of the
	// version that Source has; nil: nothing is kept. It is closed by its maker,
	// once the handle is closed.
	Through Through

	// Count is told of bytes that were read from the source, by whoever reads
	// them. It must not block. May be nil.
	Count func(bytes int)
}

// A LostError says that a shard cannot be opened as it was indexed: its index
// is missing or damaged, or its source is not the one that was indexed. Only
// indexing it anew helps. It unwraps to [shard.ErrIndex] or [shard.ErrChanged].
type LostError struct{ Err error }

// Error says what is lost.
func (e *LostError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// Open opens a shard: in place where its source lies on this machine, by
// ranges where it does not. The caller owns the handle and drops it, or gives
// it to a cache.
//
// A source of the size that it had when it was indexed, whose version or time is
// another, is held against the index: its header, and 16 blocks drawn at random
// and hashed. If they agree it is opened, and [Handle.Confirmed] tells.
//
// It gives a [*LostError] when only indexing the shard anew helps. Any other
// error means that the source or the index cannot be reached now: it wraps
// [shard.ErrSource] if it was the source, and [mount.ErrNoRanges] besides if
// that can be read in neither way. Open returns soon after ctx ends, as far
// as the mount and OpenIndex do.
func Open(ctx context.Context, spec Spec) (*Handle, error) {
	src, doubt, err := openSource(ctx, spec)
	if err != nil {
		return nil, err
	}
	roots, err := openRoots(ctx, src, spec)
	if err != nil {
		return nil, errors.Join(err, src.close())
	}
	idx, err := openIndex(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, src.close())
	}
	if doubt != nil {
		if err := doubt.settle(ctx, src, spec, idx); err != nil {
			return nil, errors.Join(err, idx.Close(), src.close())
		}
	}
	src = readThrough(spec, src, doubt != nil)
	h := &Handle{
		key: spec.Key, id: spec.ID, url: spec.URL, payload: spec.Payload,
		roots: roots, limits: spec.Limits, source: src, index: idx, count: spec.Count,
		near: src.local(), bytes: src.size(),
	}
	h.first = firstOf(idx)
	h.plain = plainOf(src)
	if doubt != nil {
		h.confirmed = &doubt.now
	}
	h.state.Store(1)
	return h, nil
}

// openSource opens the file before it asks how the source is: whatever takes
// the file's place in between is then seen in the answer.
func openSource(ctx context.Context, spec Spec) (_ source, d *doubt, err error) {
	defer caught(&err)
	file, err := mount.OpenFile(ctx, spec.Mount)
	if err != nil && !errors.Is(err, mount.ErrNotLocal) {
		return nil, nil, sourceError(err)
	}
	inPlace := err == nil
	now, err := stat(ctx, spec.Mount)
	if err == nil {
		d, err = doubts(spec, now)
	}
	size := spec.Source.Size
	if size < 0 {
		size = now.Size
	}
	switch {
	case err != nil:
	case size < 0:
		err = fmt.Errorf("%w: nobody knows its size", shard.ErrSource)
	case !inPlace && !now.Ranges:
		err = fmt.Errorf("%w: it can be read neither in place nor by ranges: %w", shard.ErrSource, mount.ErrNoRanges)
	}
	switch {
	case err != nil && inPlace:
		return nil, nil, errors.Join(err, file.Close())
	case err != nil:
		return nil, nil, err
	case inPlace:
		return &fileSource{file: file, bytes: size}, d, nil
	}
	version := spec.Source.Version
	if version == "" || d != nil {
		version = now.Version
	}
	return &rangeSource{mount: spec.Mount, version: version, bytes: size}, d, nil
}

// stat catches a panic by itself: there is a file to close by then.
func stat(ctx context.Context, m mount.Mount) (_ mount.Stat, err error) {
	defer caught(&err)
	st, err := m.Stat(ctx)
	if err != nil {
		return st, sourceError(err)
	}
	return st, nil
}

// openRoots returns all roots, from the CAR's header if spec lacks some.
func openRoots(ctx context.Context, src source, spec Spec) ([]cid.Cid, error) {
	if spec.RootCount <= len(spec.Roots) {
		return spec.Roots, nil
	}
	return readRoots(ctx, src, spec)
}

func openIndex(ctx context.Context, spec Spec) (IndexFile, error) {
	idx, err := spec.OpenIndex(ctx)
	switch {
	case err == nil:
		return idx, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, index.ErrDamaged), errors.Is(err, index.ErrVersion):
		return nil, &LostError{Err: fmt.Errorf("%w: %w", shard.ErrIndex, err)}
	default:
		return nil, fmt.Errorf("index of shard cannot be opened: %w", err)
	}
}
